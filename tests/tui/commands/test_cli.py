from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from photon_triage.core.common.errors import SourceError, TriageError, UsageError
from photon_triage.models.common.errors import ModelError
from photon_triage.tui import cli
from photon_triage.tui.cli import COMMANDS, main

MODULES_AFTER = """
import sys
from photon_triage.tui.cli import main
try:
    main(sys.argv[1:])
except SystemExit:
    pass
sys.stderr.write("\\n".join(sys.modules))
"""


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    try:
        code = main(arguments)
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 0
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make `recipes` fail with an error."""

    def fail_with(error: Exception) -> None:
        def recipes() -> None:
            raise error

        monkeypatch.setattr(cli, "load", lambda _: recipes)

    return fail_with


@pytest.mark.parametrize(
    "arguments", [["--version"], ["--help"], ["recipes"], ["export", "--help"], ["report", "--help"]]
)
def test_asking_loads_neither_torch_nor_textual(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MODULES_AFTER, *arguments], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = {name.partition(".")[0] for name in done.stderr.split()}
    assert "photon_triage" in loaded
    assert loaded.isdisjoint({"torch", "textual", "h5py", "tifffile", "scipy", "sklearn", "jinja2"})


def test_help_imports_no_command() -> None:
    done = subprocess.run([sys.executable, "-c", MODULES_AFTER, "--help"], capture_output=True, text=True, timeout=60)
    assert not [name for name in done.stderr.split() if name.startswith("photon_triage.tui.commands.")]


def test_the_version_is_that_of_the_distribution(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--version") == (0, f"photon-triage {version('photon-triage')}\n", "")


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--help")
    assert code == 0
    assert all(f"  {command.name} " in out for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_has_help(capsys: pytest.CaptureFixture[str], command: cli.Command) -> None:
    code, out, _ = run(capsys, command.name, "--help")
    assert code == 0
    assert f"photon-triage {command.name}" in out


@pytest.mark.parametrize(
    "arguments", [["nosuch"], ["recipes", "--nosuch"], ["export"], ["metrics", "s", "--threshold", "2"]]
)
def test_wrong_usage_ends_with_2(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err


def test_an_error_says_title_message_and_hint_on_stderr(capsys: pytest.CaptureFixture[str], failing: Any) -> None:
    failing(SourceError("Could not read /a.h5: gone.", "Look again."))
    assert run(capsys, "recipes") == (1, "", "File not readable\nCould not read /a.h5: gone.\nLook again.\n")


def test_an_error_of_the_models_is_told_the_same_way(capsys: pytest.CaptureFixture[str], failing: Any) -> None:
    failing(ModelError("Could not load m: too large.", "Take another."))
    assert run(capsys, "recipes") == (1, "", "Model not usable\nCould not load m: too large.\nTake another.\n")


@pytest.mark.parametrize(("error", "code"), [(UsageError("x"), 2), (TriageError("x"), 1)])
def test_exit_codes_tell_usage_from_findings(
    capsys: pytest.CaptureFixture[str], failing: Any, error: Exception, code: int
) -> None:
    failing(error)
    assert run(capsys, "recipes")[0] == code


def test_markup_and_escapes_in_an_error_are_shown_not_obeyed(capsys: pytest.CaptureFixture[str], failing: Any) -> None:
    failing(SourceError("Could not read run[/red]\x1b[2J.h5."))
    _, _, err = run(capsys, "recipes")
    assert "run[/red]" in err
    assert "\x1b" not in err


def test_a_long_message_is_one_line(capsys: pytest.CaptureFixture[str], failing: Any) -> None:
    failing(SourceError("Could not read " + "x" * 500))
    assert "x" * 500 in run(capsys, "recipes")[2]


def test_a_refusal_of_the_system_names_the_file(capsys: pytest.CaptureFixture[str], failing: Any) -> None:
    failing(PermissionError(13, "Permission denied", "/data/s/recipe.toml"))
    code, _, err = run(capsys, "recipes")
    assert code == 1
    assert "Permission denied: '/data/s/recipe.toml'" in err and "Traceback" not in err


def test_an_unforeseen_error_shows_its_traceback_safely(capsys: pytest.CaptureFixture[str], failing: Any) -> None:
    failing(RuntimeError("odd \x1b[2J name"))
    code, _, err = run(capsys, "recipes")
    assert code == 1
    assert "RuntimeError" in err and "\x1b" not in err


def test_recipes_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "recipes", "--json")
    assert code == 0
    assert {recipe["name"] for recipe in json.loads(out)} >= {"spi", "sfx"}


def test_a_shown_recipe_is_one_that_can_be_used(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    _, text, _ = run(capsys, "recipes", "--show", "spi")
    path = tmp_path / "mine.toml"
    path.write_text(text)
    code, out, _ = run(capsys, "recipes", "--show", str(path), "--json")
    assert code == 0
    assert json.loads(out)["recipe"]["name"] == "spi"


def test_a_recipe_that_is_not_there_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "recipes", "--show", "nosuch")
    assert code == 1
    assert "Shipped recipes are" in err
