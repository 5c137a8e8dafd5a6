"""Networks on radial profiles, from a session's labels to what the engine does with them."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from photon_triage.core.common.errors import TrainingError
from photon_triage.core.engine.process import start_engine
from photon_triage.core.frames import FrameKey
from photon_triage.core.session.decisions.labels import Label, LabelWriter
from photon_triage.core.session.session import Session
from photon_triage.core.session.trainings.trainings import trainings_path
from photon_triage.core.training.dispatch import run_network_training, trains_network
from photon_triage.core.training.loop.checkpoints import FOLDER, written
from photon_triage.core.training.model.job import NetworkJob
from photon_triage.core.training.tasks.profiles.profile_learner import (
    ProfilePlan,
    Profiles,
    read_profiles,
    score_profiles,
    thinned,
    train_classifier,
)
from photon_triage.models.common.checkpoint import read_metadata
from photon_triage.models.nets.radial_net import ProfileClassifier, RadialNet, load_profile_classifier

from .....builders.detector_files import write_cxi
from ..detector.test_detector_job import CPU, RECIPE, disc_frames, labelled

__all__ = ["labelled"]

SMALL = {"bins": 16, "q_max": 0.16, "widths": [4, 8], "hidden": 8}


def classifier() -> ProfileClassifier:
    torch.manual_seed(0)
    return ProfileClassifier(RadialNet(bins=16, q_max=0.16, widths=(4, 8), hidden=8), ("other", "single"))


def profiles(count: int, seed: int) -> Profiles:
    """Profiles with as many photons, in the inner rings where accepted, else in all; a tenth has no pixels."""
    rng = np.random.default_rng(seed)
    accepted = rng.random(count) < 0.4
    rate = np.where(accepted[:, None], np.where(np.arange(16) < 4, 80.0, 2.0), 21.5)
    keys = tuple(FrameKey("f", "", place) for place in range(count))
    usable = rng.random((count, 16)) < 0.9
    counts = np.where(usable, rng.poisson(rate), 0).astype(np.float32)
    return Profiles(keys, ("run",) * count, counts, 100 * usable.astype(np.float32), accepted)


def job(session: Session) -> NetworkJob:
    return NetworkJob(
        session, network="radial", options=SMALL, iterations=80, batch=16, rate=1e-2, name="rings", device="cpu"
    )


def test_a_network_learns_to_tell_profiles_apart() -> None:
    made, judged = classifier(), profiles(60, 2)
    steps = list(train_classifier(made, profiles(80, 1), ProfilePlan(60, 16, 1e-2), CPU))
    scores = score_profiles(made, judged)
    assert len(steps) == 60 and scores[judged.accepted].min() > 0.5 > scores[~judged.accepted].max()


def test_thinning_loses_photons_of_half_of_the_profiles_and_makes_none() -> None:
    rng, counts = np.random.default_rng(0), np.full((400, 16), 1000, np.float32)
    kept = thinned(counts, rng)
    shares = kept.mean(1) / 1000
    assert np.array_equal(kept, np.rint(kept)) and 0.4 < np.mean(shares == 1) < 0.6
    assert shares.max() == 1 and 0.28 < shares.min() < 0.35
    scaled = thinned(counts + 0.5, rng)
    assert np.allclose(scaled / scaled[:, :1], 1) and scaled.max() == 1000.5


def test_labels_train_a_network_that_then_goes_on(labelled: Session) -> None:
    first = run_network_training(replace(job(labelled), checkpoint_every=40))
    report = first.report()
    assert report["trained_on"] + report["held_back"] <= 60 and report["unreachable"] == 1
    assert report["scores"]["rings"]["f1"] > 0.8 and report["training"]["sources"] == {"labels": report["trained_on"]}
    assert report["evaluated_on"].startswith(f"{report['held_back']} ranked labels held out of training; not an")
    metadata = read_metadata(first.entry.path)
    assert metadata["data"]["evaluated_on"] == report["evaluated_on"]
    assert metadata["architecture"]["bins"] == 16 and metadata["data"]["accepted"] == report["accepted"]
    assert report["representation"]["learned"] == report["trained_on"]
    checkpoints = written(trainings_path(labelled) / "rings" / FOLDER)
    assert [each.iteration for each in checkpoints] == [40, 80]
    assert load_profile_classifier(checkpoints[0].path).classes == ("other", "single")
    go_on = NetworkJob(labelled, base="rings", iterations=2, device="cpu")
    assert trains_network(go_on)
    second = run_network_training(go_on).report()
    assert second["parent"] == "rings" and list(second["scores"]) == ["rings", "rings-2"]
    assert second["scores"]["rings"] == report["scores"]["rings"], "the same held-back labels"


def test_what_is_learned_from_does_not_judge(labelled: Session) -> None:
    run_network_training(replace(job(labelled), iterations=2))
    lines = (trainings_path(labelled) / "rings" / "trained_on.csv").read_text().splitlines()[1:]
    learned = {(file, int(index)) for file, _, index in (line.split(",") for line in lines)}
    decided = {(key.file, key.index) for key in labelled.labels().labels}
    near = {(file, index + step) for file, index in learned for step in (-2, -1, 1, 2)}
    held = decided - learned - near
    assert learned < decided and held, "some labels are held back, and not next to what is learned"


def test_the_engine_scores_as_the_training_did(labelled: Session, tmp_path: Path) -> None:
    made = run_network_training(job(labelled))
    recipe = f'{RECIPE}[[stages]]\nkind = "classify"\nmodel = "{made.entry.path}"\n'
    session = Session.create(tmp_path / "new", recipe, "rings")
    frames, positive = disc_frames(40, 9)
    path = write_cxi(tmp_path / "other.cxi", frames)
    assert start_engine(session, [path], once=True, patience=1).wait(60) == 0
    with closing(session.results()) as reader:
        rows = sorted(reader.all_frames(), key=lambda row: row.key.index)
    trained = load_profile_classifier(made.entry.path)
    labels = [Label(row.key, "accepted", "ada", 1.0) for row in rows]
    expected = score_profiles(trained, read_profiles(session, trained.network, labels))
    found = np.array([row.score for row in rows], np.float32)
    assert len(rows) == 40 and np.allclose(found, expected, atol=1e-5)
    assert np.mean((found >= 0.5) == positive) > 0.9


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"images": (Path("a.tif"),)}, "learns from a session's labels"),
        ({"sources": ("labels", "simulated")}, "learns from a session's labels"),
        ({"loss": "dice"}, "--loss was given, of which this training has no use"),
        ({"weighted": False}, "--class-weights was given, of which"),
        ({"masks": (Path("a.tif"),)}, "--masks was given, of which"),
    ],
)
def test_what_a_radial_network_has_no_use_for_is_told(changes: dict[str, Any], told: str, tmp_path: Path) -> None:
    session = Session.create(tmp_path / "session", RECIPE, "discs")
    with pytest.raises(TrainingError, match=told):
        run_network_training(replace(job(session), **changes))


def test_too_few_labels_are_told(tmp_path: Path) -> None:
    session = Session.create(tmp_path / "session", RECIPE, "discs")
    write_cxi(tmp_path / "run.cxi", disc_frames(4, 1)[0])
    assert start_engine(session, [tmp_path / "run.cxi"], once=True, patience=1).wait(60) == 0
    LabelWriter(session.journal()).decide(FrameKey(str(tmp_path / "run.cxi"), "/entry_1/data_1/data", 0), "accepted")
    with pytest.raises(TrainingError, match="only 1 labelled frames reach the network"):
        run_network_training(job(session))
