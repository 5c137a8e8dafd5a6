from __future__ import annotations

import json
from pathlib import Path

import pytest

from photon_triage.core.common.errors import TrainingError
from photon_triage.core.session.models.catalog import session_models
from photon_triage.tui.commands.training_report import shown_training

from ...tui.commands.test_cli import run
from .builders import write_scenes


def train(capsys: pytest.CaptureFixture[str], folder: Path, *arguments: str) -> tuple[int, str, str]:
    return run(capsys, "train", str(folder / "session"), *arguments, "--device", "cpu", "--quiet")


def test_a_session_is_made_and_a_network_trained_in_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_scenes(tmp_path, 7)
    code, out, err = train(
        capsys, tmp_path, "--recipe", "tomo", "--model", "msd", "--option", "depth=3",
        "--images", str(tmp_path / "images"), "--masks", str(tmp_path / "masks"), "--classes", "background,disc",
        "--only", "1:7", "--iterations", "2", "--crop", "64", "--name", "discs",
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert "Trained discs (msd) on 3 images" in out and "evaluated on 06.tif" in out
    assert all("1 images held out of training" in line for line in out.splitlines() if line.startswith("discs "))
    assert "photon-triage models use" in out and "disc " in out
    assert session_models(tmp_path / "session" / "models")["discs"].metadata["architecture"]["depth"] == 3


def test_json_tells_everything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_scenes(tmp_path, 2)
    code, out, _ = train(
        capsys, tmp_path, "--recipe", "cryoet", "--model", "lenet", "--option", "patch=20", "--option", "widths=3,4",
        "--images", str(tmp_path / "images"), "--masks", str(tmp_path / "masks"), "--iterations", "2", "--json",
    )  # fmt: skip
    report = json.loads(out)
    assert code == 0 and report["scores"][report["name"]]["n"] == 3 and Path(report["path"]).is_file()
    assert report["evaluated_on"] == "1 images held out of training, which chose the checkpoint too"
    assert report["chosen_by_held_back"] and report["iterations"] == 2


def test_scores_that_are_optimistic_say_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_scenes(tmp_path, 2)
    code, out, _ = train(
        capsys, tmp_path, "--recipe", "cryoet", "--model", "lenet", "--option", "patch=20",
        "--images", str(tmp_path / "images"), "--masks", str(tmp_path / "masks"), "--iterations", "1",
    )  # fmt: skip
    assert code == 0 and "optimistic" in out and "patch by patch (n = 120" in out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--only", "3"], "Could not use --only 3"),
        (["--only", "::0"], "Could not use --only ::0"),
        (["--option", "depth"], "Could not use --option depth"),
        (["--recipe", "tomo", "--model", "msd", "--validate", "S"], "--validate S is for detectors"),
    ],
)
def test_wrong_usage_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], complaint: str
) -> None:
    code, _, err = train(capsys, tmp_path, "--recipe", "tomo", *arguments)
    assert code == 2 and complaint in " ".join(err.split())


def test_a_session_that_is_not_there_needs_a_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_scenes(tmp_path, 2)
    code, _, err = train(capsys, tmp_path, "--model", "msd", "--images", str(tmp_path / "images"))
    assert code == 2 and "no recipe was given" in " ".join(err.split())


def interrupted() -> None:
    with shown_training("training", "It was interrupted.", "Give it again.", quiet=False) as told:
        told(1, 2, 0.25, 0.9)
        raise KeyboardInterrupt


def test_an_interruption_is_told_with_what_to_do_next(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(TrainingError, match="was interrupted") as caught:
        interrupted()
    assert (caught.value.title, caught.value.hint) == ("Interrupted", "Give it again.")
    assert "loss 0.2500  F1 0.900" in capsys.readouterr().err
