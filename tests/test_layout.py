"""The layout of the three packages: few modules, each with a subject that its name says, in layers without a circle."""

from __future__ import annotations

import ast
import re
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

ROOT = Path(__file__).parents[1]
TOPS = ("core", "models", "tui")
LARGE = ("core.session", "core.sources", "core.training", "models", "tui")

MOST_MODULES = 330
MOST_LINES = 400
SMALL_LINES, MOST_SMALL = 50, 25
MOST_SHARED_NAMES = 12
MOST_IMPORTS = 130

PARTICIPLES = {"asked", "begun", "chosen", "found", "given", "held", "known", "made", "shown", "told", "written"}
TERMS = {
    "decoding": "the step after decompression, in every description of a file format",
    "distributed": "PyTorch's name for training in several processes",
    "embed": "a verb, the name of a command",
    "embedding": "a vector that stands for a frame",
    "freezing": "keeping layers as they are in a training",
    "listing": "a noun: the list of frames",
    "matching": "the assignment of predictions to labels",
    "packing": "the layout of weights in memory",
    "pooling": "a kind of layer",
    "pretraining": "training without labels before training with them",
    "scoring": "the evaluation of a model by a metric",
}
"""Terms of the field that end like a participle."""


def modules() -> dict[str, Path]:
    """The modules and packages of the three packages, by dotted name."""
    paths = (path for top in TOPS for path in sorted((ROOT / top).rglob("*.py")))
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}


MODULES = modules()
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in MODULES.items()}
CODE = {name: path for name, path in MODULES.items() if path.name not in ("__init__.py", "__main__.py")}
LINES = {name: path.read_text(encoding="utf-8").splitlines() for name, path in CODE.items()}


def imports(name: str) -> Iterator[str]:
    """The modules that a module imports, anywhere in it."""
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name} imports by a relative name"
            paths = [(f"{node.module}.{alias.name}", f"{node.module}") for alias in node.names]
        elif isinstance(node, ast.Import):
            paths = [(alias.name, alias.name) for alias in node.names]
        else:
            continue
        for found in paths:
            names = [path.removeprefix("photon_triage.") for path in found if path.startswith("photon_triage.")]
            yield from [each for each in names if each in MODULES][:1]


def child_imports(folder: str) -> set[tuple[str, str]]:
    """The pairs of direct children of a folder of which the first imports the second."""
    inside = {name: name.removeprefix(f"{folder}.").split(".")[0] for name in MODULES if name.startswith(f"{folder}.")}
    pairs = {(child, inside[other]) for name, child in inside.items() for other in imports(name) if other in inside}
    return {(child, other) for child, other in pairs if child != other}


def circles(pairs: set[tuple[str, str]]) -> list[tuple[str, str]]:
    """The pairs that reach each other."""
    reached = defaultdict(set)
    for one, other in pairs:
        reached[one].add(other)
    for through in list(reached):
        for others in reached.values():
            if through in others:
                others |= reached[through]
    return [(a, b) for a, b in combinations(sorted(reached), 2) if b in reached[a] and a in reached[b]]


def folders_with_subfolders() -> list[str]:
    """The packages that hold further packages, by dotted name."""
    packages = [name for name, path in MODULES.items() if path.name == "__init__.py"]
    return sorted({name.rpartition(".")[0] for name in packages if "." in name})


def test_modules_are_few_and_neither_long_nor_tiny() -> None:
    long = {name: len(lines) for name, lines in LINES.items() if len(lines) > MOST_LINES}
    small = {name: count for name, lines in LINES.items() if (count := sum(map(bool, lines))) < SMALL_LINES}
    told = f"{len(CODE)} modules, {len(small)} of them small: {small}; too long: {long}"
    assert len(CODE) <= MOST_MODULES and not long and len(small) <= MOST_SMALL, told


def test_modules_are_named_by_nouns() -> None:
    names = {path.stem: name for name, path in CODE.items()}
    wrong = [names[stem] for stem in names if re.search("(ing|ed)$", stem) or stem in PARTICIPLES]
    assert not [name for name in wrong if name.rpartition(".")[2] not in TERMS], wrong


def test_few_file_names_occur_twice_below_a_top_folder() -> None:
    counts = Counter((name.partition(".")[0], path.name) for name, path in CODE.items())
    shared = [key for key, count in counts.items() if count > 1]
    assert len(shared) <= MOST_SHARED_NAMES, f"{len(shared)} names: {shared}"


def test_a_class_name_occurs_once_unless_one_derives_from_the_other() -> None:
    found = defaultdict[str, list[tuple[str, list[str]]]](list)
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                bases = [ast.unparse(base).split("[")[0].split(".")[-1] for base in node.bases]
                found[node.name].append((name, bases))
    twice = {
        cls: [name for name, _ in places]
        for cls, places in found.items()
        if len(places) > 1 + sum(cls in bases for _, bases in places)
    }
    assert not twice, twice


def test_children_of_the_large_folders_import_few_of_one_another() -> None:
    counts = {folder: len(child_imports(folder)) for folder in LARGE}
    assert sum(counts.values()) <= MOST_IMPORTS, counts


def test_no_folder_with_subfolders_has_a_circle() -> None:
    found = {folder: circles(child_imports(folder)) for folder in folders_with_subfolders()}
    assert not any(found.values()), found


def test_every_folder_with_subfolders_has_an_exhaustive_contract() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    held = {
        container.removeprefix("photon_triage.")
        for contract in contracts
        if contract["type"] == "layers" and contract.get("exhaustive")
        for container in contract.get("containers", [])
    }
    assert not set(folders_with_subfolders()) - held


def test_the_tests_mirror_the_packages() -> None:
    folders = (path for top in TOPS for path in (ROOT / "tests" / top).rglob("*") if path.is_dir())
    tested = {path.relative_to(ROOT) for path in folders if path.name != "__pycache__"}
    missing = {str(path) for path in tested if not (ROOT / path.relative_to("tests")).is_dir()}
    material = ("tests/tui/snapshots", "tests/core/session/recorded")
    assert not {path for path in missing if not path.startswith(material)}, "texts of screens, sessions as recorded"
