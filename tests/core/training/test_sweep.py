"""A sweep trains every point once, goes on where it was, and names the best on validation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from photon_triage.core.common.errors import UsageError
from photon_triage.core.session.trainings.trainings import read_curve
from photon_triage.core.training.sweep import parse_grid, points_of
from photon_triage.tui.cli import main

from .builders import new_session, write_scenes


def test_points_are_every_combination_with_names_of_their_own() -> None:
    grid = parse_grid(["rate=1e-4,3e-4", "batch=32, 64"])
    points = points_of(grid, ("--model", "hitnet"), "sweep")
    assert [str(point) for point in points] == [
        "rate=1e-4 batch=32", "rate=1e-4 batch=64", "rate=3e-4 batch=32", "rate=3e-4 batch=64",
    ]  # fmt: skip
    assert points == points_of(grid, ("--model", "hitnet"), "sweep")
    others = points_of(grid, ("--model", "msd"), "sweep")
    assert len({point.name for point in (*points, *others)}) == 8


@pytest.mark.parametrize("grid", [[], ["rate"], ["rate="], ["name=a,b"], ["rate=1", "rate=2"], ["seed=" + "1,2," * 40]])
def test_a_grid_that_is_none_is_told(grid: list[str]) -> None:
    if grid == ["seed=" + "1,2," * 40]:  # the same value twice is one
        assert parse_grid(grid) == {"seed": ("1", "2")}
        return
    with pytest.raises(UsageError):
        parse_grid(grid)


def told(asked: list[str], capsys: pytest.CaptureFixture[str]) -> Any:
    with pytest.raises(SystemExit, match="0"):
        main(asked)
    return json.loads(capsys.readouterr().out)


def test_a_sweep_ranks_by_validation_and_repeats_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_scenes(tmp_path, 4)
    session = new_session(tmp_path / "session", "tomo").path
    asked = [
        "sweep", str(session), "--grid", "rate=1e-2,1e-9", "--model", "msd", "--option", "depth=3",
        "--images", str(tmp_path / "images"), "--masks", str(tmp_path / "masks"), "--classes", "background,disc",
        "--iterations", "12", "--crop", "64", "--device", "cpu", "--json",
    ]  # fmt: skip
    report = told(asked, capsys)
    scores = [point["validation_f1"] for point in report["points"]]
    assert scores == sorted(scores, reverse=True) and report["winner"] == report["points"][0]["name"]
    assert report["chosen_by"] == "validation"
    folders = [session / "training" / point["name"] for point in report["points"]]
    best = max(point.f1 for point in read_curve(folders[0]) if point.f1 is not None)
    assert scores[0] == best
    stamps = [(folder / "sweep.json").stat().st_mtime_ns for folder in folders]
    assert told(asked, capsys) == report
    assert [(folder / "sweep.json").stat().st_mtime_ns for folder in folders] == stamps
