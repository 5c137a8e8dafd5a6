"""Checkpoints every so many batches, and the last of them as selections."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from photon_triage.core.common.errors import ExportError
from photon_triage.core.compare import KnownFrames, compare
from photon_triage.core.compare import checkpoint_scores as selections
from photon_triage.core.compare.checkpoint_scores import checkpoint_lists
from photon_triage.core.session.session import Session
from photon_triage.core.session.trainings.trainings import read_curve
from photon_triage.core.training.loop.checkpoints import Checkpoints, written
from photon_triage.core.training.loop.resume_state import Keeper
from photon_triage.core.training.tasks.detector.config import TrainingJob
from photon_triage.core.training.tasks.detector.detector_job import run_training
from photon_triage.core.training.tasks.detector.learner import TrainingPlan, train
from photon_triage.models.darknet.detector import load_detector

from ..tasks.detector.test_detector_job import CFG, CPU, detector, disc_examples, labelled, preparation

__all__ = ["labelled"]


def test_the_last_checkpoints_remain_with_the_f1_of_each(tmp_path: Path) -> None:
    torch.manual_seed(0)
    made, folder = detector(), tmp_path / "checkpoints"
    keeper = Keeper(tmp_path / "state", {}, checkpoints=Checkpoints(folder, 3, kept=2))
    plan = TrainingPlan(10, 8, check_every=100)
    steps = list(train(made, preparation(), disc_examples(30, 1), plan, CPU, disc_examples(20, 3), keeper))
    f1 = {step.done: step.f1 for step in steps if step.f1 is not None}
    assert list(f1) == [3, 6, 9, 10]
    assert [(each.iteration, each.f1) for each in written(folder)] == [(6, f1[6]), (9, f1[9])]
    assert load_detector(written(folder)[0].path).classes == ("single",)


def test_a_training_anew_leaves_none_of_the_old_checkpoints(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    for batches, every in ((4, 2), (3, 3)):
        keeper = Keeper(tmp_path / "state", {"every": every}, checkpoints=Checkpoints(folder, every))
        list(train(detector(), preparation(), disc_examples(30, 1), TrainingPlan(batches, 8), CPU, None, keeper))
    assert [each.iteration for each in written(folder)] == [3]


def test_the_last_checkpoints_are_selections_and_are_scored_once(
    labelled: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = tmp_path / "discs.cfg"
    cfg.write_text(CFG)
    run_training(TrainingJob(labelled, name="discs", cfg=str(cfg), seed=3, iterations=12, checkpoint_every=4))
    *each, every, any_of_them = checkpoint_lists(labelled, "discs", 3, 0.3, "cpu")
    assert [one.name for one in each] == ["discs 4", "discs 8", "discs 12"]
    assert every.keys == each[0].keys & each[1].keys & each[2].keys
    assert any_of_them.keys == each[0].keys | each[1].keys | each[2].keys
    assert any_of_them.keys > every.keys or any_of_them.keys == every.keys != frozenset()
    known = KnownFrames.of(labelled)
    compared = compare(known, [every, any_of_them], each)
    assert [row.name for row in compared.lists][:3] == ["discs 4", "discs 8", "discs 12"]
    assert compared.common == every.keys and len(compared.pairs) == 3

    monkeypatch.setattr(selections, "RegionReader", None)
    again = checkpoint_lists(labelled, "discs", 3, 0.3, "cpu")
    assert [one.keys for one in again] == [one.keys for one in (*each, every, any_of_them)]
    assert read_curve(labelled.path / "training" / "discs")[-1].done == 12


def test_too_few_checkpoints_are_told(labelled: Session) -> None:
    with pytest.raises(ExportError, match="0 are there"):
        checkpoint_lists(labelled, "nothing", 5, 0.5)
