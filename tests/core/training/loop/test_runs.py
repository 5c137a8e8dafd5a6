"""Trainings that are killed go on; what is labelled meanwhile does them no harm."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from photon_triage.core.common.errors import TrainingError
from photon_triage.core.frames import FrameKey
from photon_triage.core.session.decisions.labels import LabelWriter
from photon_triage.core.session.session import Session
from photon_triage.core.session.trainings.trainings import read_curve
from photon_triage.core.training.dispatch import run_network_training
from photon_triage.core.training.loop.progress import Note
from photon_triage.core.training.loop.resume_state import Keeper
from photon_triage.core.training.loop.runs import TrainingRun, training_run
from photon_triage.core.training.tasks.detector.config import TrainingJob
from photon_triage.core.training.tasks.detector.detector_job import run_training

from ..builders import write_scenes
from ..tasks.detector.test_detector_job import CFG, labelled
from ..tasks.segmentation.test_segmentation import job

__all__ = ["labelled"]


HOLD = """
import fcntl, sys
file = open(sys.argv[1], "w")
fcntl.lockf(file, fcntl.LOCK_EX)
print("held", flush=True)
input()
"""


def interrupting(at: int) -> Note:
    def note(done: int, planned: int, loss: float, f1: float | None) -> None:
        if done == at:
            raise KeyboardInterrupt

    return note


def test_an_interrupted_training_of_images_goes_on(tmp_path: Path) -> None:
    write_scenes(tmp_path, 4)
    whole = run_network_training(replace(job(tmp_path), name="whole"))
    with pytest.raises(KeyboardInterrupt):
        run_network_training(job(tmp_path), interrupting(15))
    seen: list[int] = []
    resumed = run_network_training(job(tmp_path), lambda done, planned, loss, f1: seen.append(done))
    assert seen[0] == 13, "the last check was after batch 12"
    assert _weights_digest(resumed.entry.path) == _weights_digest(whole.entry.path)
    folder = tmp_path / "session" / "training"
    mine, other = (read_curve(folder / name) for name in ("discs", "whole"))
    checks = [(point.done, point.loss, point.f1) for point in other if point.f1 is not None]
    assert [(point.done, point.loss, point.f1) for point in mine if point.f1 is not None] == checks
    assert not (folder / "discs" / "state.safetensors").exists()


def test_a_label_changed_during_training_does_no_harm(
    labelled: Session,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cfg = tmp_path / "discs.cfg"
    cfg.write_text(CFG)
    asked = TrainingJob(labelled, name="discs", cfg=str(cfg), seed=3, iterations=12)
    whole = run_training(replace(asked, name="whole"))
    monkeypatch.setattr(Keeper, "is_due", lambda keeper, *, checked: True)
    with pytest.raises(KeyboardInterrupt):
        run_training(asked, interrupting(5))
    hits = [label.key for label in labelled.labels().labels.values() if label.verdict == "accepted"]
    for key in hits[:3]:
        LabelWriter(labelled.journal()).decide(key, "rejected")
    LabelWriter(labelled.journal()).decide(FrameKey(str(tmp_path / "new.cxi"), "", 0), "accepted")
    resumed = run_training(asked)
    assert _weights_digest(resumed.entry.path) == _weights_digest(whole.entry.path)
    assert resumed.facts["scores"]["discs"] == whole.facts["scores"]["whole"]
    assert resumed.facts["accepted"] == whole.facts["accepted"]
    changed = run_training(replace(asked, name="after"))
    assert changed.facts["accepted"] < whole.facts["accepted"], "the next training learns from what was said meanwhile"


@pytest.mark.parametrize("changes", [{"rate": 5e-3}, {"anew": True}])
def test_other_settings_or_anew_begin_anew(changes: dict[str, Any], tmp_path: Path) -> None:
    write_scenes(tmp_path, 4)
    with pytest.raises(KeyboardInterrupt):
        run_network_training(job(tmp_path), interrupting(9))
    seen: list[int] = []
    run_network_training(job(tmp_path, **changes), lambda done, planned, loss, f1: seen.append(done))
    assert seen[0] == 1


def test_two_processes_do_not_train_the_same_model(tmp_path: Path) -> None:
    folder = tmp_path / "training" / "discs"
    folder.mkdir(parents=True)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder / "lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdin and holder.stdout and holder.stdout.readline()
    with pytest.raises(TrainingError, match="another process"), training_run(Session(tmp_path), "discs", {}):
        pass
    holder.communicate(b"\n", timeout=10)
    with training_run(Session(tmp_path), "discs", {}) as run:
        assert isinstance(run, TrainingRun)


def _weights_digest(path: Path) -> str:
    """The part of a model's file name that its weights make."""
    return path.stem.rpartition("-")[2]
