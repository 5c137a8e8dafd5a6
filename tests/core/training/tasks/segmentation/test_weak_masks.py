from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image as Picture

from photon_triage.core.common.errors import TrainingError
from photon_triage.core.session.session import Session
from photon_triage.core.training.data.classes import VOID
from photon_triage.core.training.model.job import NetworkJob
from photon_triage.core.training.tasks.segmentation.segmentation import Mapped
from photon_triage.core.training.tasks.segmentation.weak_masks import doubts
from photon_triage.core.training.tasks.segmentation.weak_rounds import (
    ROUNDS,
    WeakJob,
    WeakRound,
    append_round,
    read_rounds,
    run_weak_round,
)
from photon_triage.models.nets.segmenter import load_segmenter
from photon_triage.tui.cli import main

from ...builders import new_session, scene, write_mask, write_scenes

WRONG = ("02", "04")


def job(folder: Path, **changes: Any) -> WeakJob:
    """Six doubtful masks, two of which show nothing where the discs are, and two clean ones."""
    weak, clean = folder / "weak", folder / "clean"
    if not weak.exists():
        write_scenes(weak, 6)
        write_scenes(clean, 2, first=20)
        for name in WRONG:
            mask = np.zeros((96, 96), np.uint8)
            mask[5:25, 5:25] = 255
            write_mask(weak / "masks" / f"{name}.png", mask)
    session = folder / "session"
    network = NetworkJob(
        Session.open(session) if session.exists() else new_session(session, "tomo"),
        network="msd", options={"depth": 5}, images=(weak / "images",), masks=(weak / "masks",),
        classes=("background", "disc"), iterations=60, rate=1e-2, batch=2, crop=64, loss="bootstrapped", device="cpu",
    )  # fmt: skip
    return replace(WeakJob(network, (clean / "images",), (clean / "masks",), worst=2), **changes)


@pytest.fixture(scope="module")
def rounds(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, WeakRound, WeakRound]:
    """A round, and another after the masks that it had proposed were corrected."""
    folder = tmp_path_factory.mktemp("rounds")
    first = run_weak_round(job(folder))
    corrected = folder / "session" / "training" / "corrected"
    corrected.mkdir()
    for each in first.record["worst"]:
        write_mask(corrected / f"{each['image']}.png", scene(int(each["image"])).discs * np.uint8(255))
    return folder, first, run_weak_round(job(folder))


def test_wrong_masks_are_the_most_doubtful(rounds: tuple[Path, WeakRound, WeakRound]) -> None:
    _, first, _ = rounds
    assert {each.name for each in first.ranked[:2]} == set(WRONG) and len(first.ranked) == 6
    disagreements = [each.disagreement for each in first.ranked]
    assert disagreements == sorted(disagreements, reverse=True)


def test_proposals_have_the_values_of_the_masks(rounds: tuple[Path, WeakRound, WeakRound]) -> None:
    _, first, _ = rounds
    for each, doubt in zip(first.record["worst"], first.ranked, strict=False):
        proposal = np.asarray(Picture.open(each["proposal"]))
        assert proposal.shape == (96, 96) and np.array_equal(proposal, doubt.said * np.uint8(255))


def test_corrections_are_learned_from_and_their_gain_on_the_clean_set_is_recorded(
    rounds: tuple[Path, WeakRound, WeakRound],
) -> None:
    folder, first, second = rounds
    assert second.record["corrected"] == dict.fromkeys(WRONG, "folder")
    assert second.record["newly_corrected"] == list(WRONG) and not first.record["corrected"]
    assert {each.name for each in second.ranked} == {"00", "01", "03", "05"}
    assert first.record["evaluated_on"].endswith("images of the clean set")
    assert first.record["gain"] is None
    gain = second.record["f1"] - first.record["f1"]
    assert second.record["gain"] == second.record["gain_since_first"] == pytest.approx(gain)
    kept = read_rounds(folder / "session" / "training")
    assert kept == [json.loads(json.dumps(each.record)) for each in (first, second)]
    assert [each["model"] for each in kept] == ["weak-1", "weak-2"]
    segmenter = load_segmenter(second.trained.entry.path)
    assert segmenter.classes == ("background", "disc")


def test_what_scores_is_not_learned_from(tmp_path: Path) -> None:
    made = job(tmp_path)
    tifffile.imwrite(tmp_path / "weak" / "images" / "03.tif", scene(20).pixels)
    record = run_weak_round(replace(made, network=replace(made.network, iterations=1))).record
    assert record["left_out"] == ["03"] and record["images"] == 5


def test_a_correction_without_an_image_is_told(tmp_path: Path) -> None:
    made = job(tmp_path, corrected=tmp_path / "mine")
    with pytest.raises(TrainingError, match="no such folder"):
        run_weak_round(made)
    (tmp_path / "mine").mkdir()
    write_mask(tmp_path / "mine" / "77.png", np.zeros((96, 96), np.uint8))
    with pytest.raises(TrainingError, match="no image is called 77"):
        run_weak_round(made)


def test_void_pixels_raise_no_doubt_and_rejected_masks_come_first(rounds: tuple[Path, WeakRound, WeakRound]) -> None:
    _, _, second = rounds
    segmenter = load_segmenter(second.trained.entry.path)
    drawn, wrong = scene(7), np.full((96, 96), VOID, np.uint8)
    wrong[:4] = 1
    right = Mapped(drawn.image(), drawn.discs.astype(np.uint8))
    half = Mapped(drawn.image(), np.where(np.arange(96)[:, None] < 4, VOID, right.classes).astype(np.uint8))
    found = doubts(segmenter, {"right": right, "wrong": Mapped(drawn.image(), wrong)}, torch.device("cpu"), {"right"})
    assert [each.name for each in found] == ["right", "wrong"] and found[1].disagreement > found[0].disagreement
    assert found[1].share > 0.9
    assert doubts(segmenter, {"half": half}, torch.device("cpu"))[0].share < 0.1


def code_of(*arguments: object) -> int | str | None:
    try:
        return main([*map(str, arguments)])
    except SystemExit as ended:
        return ended.code


def test_the_command_does_a_round(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = job(tmp_path)
    weak, clean = tmp_path / "weak", tmp_path / "clean"
    told = [
        "weak", made.network.session.path, "--images", weak / "images", "--masks", weak / "masks",
        "--clean-images", clean / "images", "--clean-masks", clean / "masks", "--classes", "background,disc",
        "--option", "depth=5", "--crop", 64, "--iterations", 2, "--loss", "dice", "--worst", 1, "--device", "cpu",
    ]  # fmt: skip
    assert code_of(*told, "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert record["loss"] == "dice" and len(record["worst"]) == 1 and len(record["ranked"]) == 6
    assert code_of(*told, "--quiet") == 0
    out = capsys.readouterr().out
    assert "Round 2: weak-2 learned from 6 masks, 0 of them corrected" in out and "over the round before" in out
    assert code_of(*told, "--quiet", "--loss", "hinge") == 2


def killed_before_the_record(made: WeakJob, monkeypatch: pytest.MonkeyPatch) -> None:
    """A round that ends once its model is registered, before it is recorded."""

    def killed(training: Path, record: dict[str, Any]) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("photon_triage.core.training.tasks.segmentation.weak_rounds.append_round", killed)
        with pytest.raises(KeyboardInterrupt):
            run_weak_round(made)


def test_a_round_killed_before_its_record_is_finished_by_the_same_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = job(tmp_path)
    made = replace(made, network=replace(made.network, iterations=2))
    killed_before_the_record(made, monkeypatch)
    assert run_weak_round(made).record["round"] == 1
    assert [each["model"] for each in read_rounds(tmp_path / "session" / "training")] == ["weak-1"]
    assert len(list(made.network.session.models_path.glob("weak-*.safetensors"))) == 1


def test_a_round_with_other_masks_does_not_take_the_number_of_a_killed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = job(tmp_path)
    made = replace(made, network=replace(made.network, iterations=2))
    killed_before_the_record(made, monkeypatch)
    write_mask(tmp_path / "weak" / "masks" / "02.png", scene(2).discs * np.uint8(255))
    record = run_weak_round(made).record
    assert (record["round"], record["model"], record["gain"]) == (2, "weak-2", None)


def test_a_torn_record_does_not_tear_the_next_one(tmp_path: Path) -> None:
    (tmp_path / ROUNDS).write_text('{"round": 1, "clean": "a"}\n{"round": 2, "cl')
    append_round(tmp_path, {"round": 3})
    append_round(tmp_path, {"round": 4})
    assert [each["round"] for each in read_rounds(tmp_path)] == [1, 3, 4]
