"""Rules that hold for every file: tests do not sleep, and what a text names exists."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOPS = ("core", "models", "tui")

SLEEPS = {
    "tests/waiting.py": "the helper that waits for a condition",
    "tests/tui/driver.py": "the helper that waits for a condition of a screen",
    "tests/faults/test_kills.py": "the subject is a kill at a random instant",
    "tests/faults/test_order.py": "the subject is a kill at a random instant",
    "tests/faults/test_writers.py": "a writer that holds its file open as long as a detector's does between two frames",
}
"""The files that may let time pass, each with its reason."""


def code_of_tests() -> list[Path]:
    """The files of the tests."""
    return sorted((ROOT / "tests").rglob("*.py"))


def sleeps(tree: ast.AST) -> Iterator[int]:
    """The lines that call `sleep`, or a screen's `pause` with a time; in programs within strings too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
            if called == "sleep" or (called == "pause" and node.args):
                yield node.lineno
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and re.search(r"\bsleep\(", node.value):
            yield node.lineno


def relative(path: Path) -> str:
    """The path from the top of the project."""
    return str(path.relative_to(ROOT))


def test_tests_wait_for_conditions_and_do_not_sleep() -> None:
    found = {relative(path): list(sleeps(ast.parse(path.read_text(encoding="utf-8")))) for path in code_of_tests()}
    found = {name: lines for name, lines in found.items() if lines and name != relative(Path(__file__))}
    assert not {name: lines for name, lines in found.items() if name not in SLEEPS}
    assert sorted(found) == sorted(SLEEPS), "an exception is needed no more"


@pytest.mark.parametrize(
    "code",
    ["import time\ntime.sleep(1)", "async def f():\n    await pilot.pause(0.1)", "CODE = 'import time; time.sleep(9)'"],
)
def test_a_sleep_is_noticed(code: str) -> None:
    assert list(sleeps(ast.parse(code)))


FILE_NAMES = {path.name for top in (*TOPS, "tests", "benchmarks", "docs") for path in (ROOT / top).rglob("*.py")}


def texts() -> list[Path]:
    """The documents, the code of the packages and benchmarks, and the scripts that build and check."""
    code = (path for top in (*TOPS, "benchmarks") for path in (ROOT / top).rglob("*.py"))
    documents = [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "docs").glob("*.sh"),
    ]
    return sorted([*code, *documents, *(ROOT / ".ci").iterdir(), ROOT / "Makefile", ROOT / "pyproject.toml"])


def stale_mentions(text: str) -> Iterator[str]:
    """The paths and modules of the project that a text names and that do not exist.

    A path with a suffix of code is one of the project, and so is one into its folders; `models/` is a folder of each
    session, too.
    """
    for match in re.finditer(r"(?<![\w./~-])(?:core|models|tui|tests|benchmarks|docs|\.ci)/[\w./-]*\w", text):
        path = match.group()
        if not (ROOT / path).exists() and (path.endswith((".py", ".sh", ".toml", ".md")) or path[:6] != "models"):
            yield path
    for match in re.finditer(r"\bphoton_triage\.((?:core|models|tui)(?:\.[a-z_]\w*)*)", text):
        if not _is_module_or_member(match.group(1).split(".")):
            yield match.group()
    for match in re.finditer(r"`(\w+\.py)`", text):
        if match.group(1) not in FILE_NAMES:
            yield match.group(1)


def _is_module_or_member(parts: list[str]) -> bool:
    for length in range(len(parts), 0, -1):
        path = ROOT.joinpath(*parts[:length])
        source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if source.exists():
            return (
                length == len(parts)
                or re.search(rf"\b{parts[length]}\b", source.read_text(encoding="utf-8")) is not None
            )
    return False


def test_paths_and_modules_that_are_named_exist() -> None:
    found = {relative(path): list(stale_mentions(path.read_text(encoding="utf-8"))) for path in texts()}
    assert not {name: mentions for name, mentions in found.items() if mentions}


@pytest.mark.parametrize(
    "text", ["`core/nothing.py`", "see tui/nowhere/", "photon_triage.core.nothing", "`nothing_at_all.py`"]
)
def test_a_stale_mention_is_noticed(text: str) -> None:
    assert list(stale_mentions(text))


@pytest.mark.parametrize(
    "text", ["`core/recipe.py`", "tests/core", "photon_triage.core.recipe.parse_recipe", "models/a.safetensors"]
)
def test_a_mention_of_what_exists_is_right(text: str) -> None:
    assert not list(stale_mentions(text))
