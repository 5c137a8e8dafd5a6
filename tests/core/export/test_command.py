"""The export command: its table of formats, its options, its exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from photon_triage.core.export.formats import FORMATS
from photon_triage.tui import cli

from .builders import candidate_session


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    try:
        code = cli.main(arguments)
    except SystemExit as left:
        code = int(left.code or 0)
    out, err = capsys.readouterr()
    return code, out, err


def test_every_format_is_listed_and_can_be_loaded(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "export", "--formats")
    assert code == 0
    for name, kind in FORMATS.items():
        assert f"{name} " in out and kind.title in out
        assert callable(kind.load())


def test_a_format_that_does_not_exist_is_wrong_usage(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, _, err = run(capsys, "export", str(tmp_path), "--format", "pickle", "--select", "both", "-o", "x")
    assert code == 2 and "crystfel" in err


def test_the_box_size_and_a_folder_reach_the_list(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    session = candidate_session(tmp_path / "s", {"/data/m1.mrc": (1, {0: [(30, 20, 0.9)]})})
    arguments = ("export", str(session.path), "--format", "eman", "--select", "both", "--box-size", "12", "--json")
    code, out, _ = run(capsys, *arguments, "-o", str(tmp_path / "boxes"))
    assert code == 0
    assert json.loads(out) == {
        "path": str(tmp_path / "boxes"),
        "manifest": str(tmp_path / "boxes.json"),
        "written": 1,
    }
    assert (tmp_path / "boxes" / "m1.box").read_text() == "24\t14\t12\t12\n"


def test_a_format_that_does_not_fit_says_which_do(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    session = candidate_session(tmp_path / "s", {"/data/t.rec": (8, {2: [(30, 20, 0.9)]})})
    arguments = ("export", str(session.path), "--format", "eman", "--select", "both", "-o", str(tmp_path / "t.box"))
    code, _, err = run(capsys, *arguments)
    assert code == 1 and "Export as relion, cryolo or imod" in err
    assert not (tmp_path / "t.box").exists() and not (tmp_path / "t.box.json").exists()
