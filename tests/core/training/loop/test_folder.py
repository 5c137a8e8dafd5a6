"""By what a training that was interrupted is known again: all that it follows from, and nothing else."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from photon_triage.core.session.session import Session
from photon_triage.core.training.loop.folder import digest_of, settings_of
from photon_triage.core.training.model.job import NetworkJob
from photon_triage.core.training.tasks.detector.batch_sampler import Balance
from photon_triage.core.training.tasks.detector.config import TrainingJob
from photon_triage.core.training.tasks.detector.pretraining import PretrainingJob

from ..builders import new_session

BESIDE: dict[str, Any] = {
    "name": "x", "device": "cuda:1", "command": "photon-triage train S", "note": "ice", "anew": True,
    "checkpoints_kept": 3, "remarks": {"freeze": "2"},
}  # fmt: skip
"""What changes nothing in the weights."""

COMMON: dict[str, Any] = {
    "base": "hitnet-spi", "init": "a.weights", "freeze": "2", "iterations": 7, "epochs": 2.0, "rate": 1e-5, "batch": 3,
    "seed": 4, "sources": ("labels",), "negatives": "hard", "checkpoint_every": 5,
}  # fmt: skip
OF_DETECTORS: dict[str, Any] = COMMON | {
    "cfg": "hitnet", "validation": Session(Path("v")), "test": Session(Path("t")), "simulated": 3, "augment": ("thin",),
    "balance": Balance(0.5, {"water": 2.0}),
}  # fmt: skip
OF_NETWORKS: dict[str, Any] = COMMON | {
    "network": "msd", "options": {"depth": 5}, "images": (Path("i"),), "masks": (Path("m"),), "points": Path("p.csv"),
    "within": (Path("w"),), "margin": 3, "only": slice(0, 4), "classes": ("a", "b"), "void": 3, "normalise": "frame",
    "crop": 64, "loss": "dice", "weighted": False,
}  # fmt: skip
OF_PRETRAINING: dict[str, Any] = {
    "cfg": "yolov2-seeds", "init": "a.weights", "iterations": 7, "batch": 3, "most": 20, "augment": ("thin",), "seed": 4
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "changes"),
    [(TrainingJob, OF_DETECTORS), (NetworkJob, OF_NETWORKS), (PretrainingJob, OF_PRETRAINING)],
)
def test_every_option_that_changes_a_training_tells_it_from_others(
    kind: type[TrainingJob | NetworkJob | PretrainingJob], changes: dict[str, Any], tmp_path: Path
) -> None:
    usual = kind(new_session(tmp_path / "session"))
    names = {each.name for each in fields(usual)} - {"session"}
    assert names - set(BESIDE) == set(changes), "an option is to be in one of the two tables"
    before = digest_of(settings_of(usual))
    digests = {name: digest_of(settings_of(replace(usual, **{name: value}))) for name, value in changes.items()}
    assert len({before, *digests.values()}) == len(changes) + 1, digests
    beside = {name: value for name, value in BESIDE.items() if name in names}
    assert digest_of(settings_of(replace(usual, **beside))) == before


@pytest.mark.parametrize("balance", [Balance(balanced=True), Balance(0.5), Balance(None), Balance(None, {"a": 2.0})])
def test_class_weights_and_the_balance_tell_a_training_from_others(balance: Balance, tmp_path: Path) -> None:
    usual = TrainingJob(new_session(tmp_path / "session"))
    assert digest_of(settings_of(usual)) != digest_of(settings_of(replace(usual, balance=balance)))


def test_the_recipe_and_what_follows_from_the_session_belong_to_it(tmp_path: Path) -> None:
    session = new_session(tmp_path / "session")
    usual = settings_of(TrainingJob(session), base="a-12345678.safetensors")
    assert usual == settings_of(TrainingJob(Session(session.path)), base="a-12345678.safetensors")
    assert usual != settings_of(TrainingJob(session), base="a-87654321.safetensors")
    session.recipe_path.write_text(session.recipe_path.read_text() + "# another\n")
    assert usual != settings_of(TrainingJob(session), base="a-12345678.safetensors")
