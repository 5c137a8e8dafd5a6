"""Pre-training without labels: what it learns, that it goes on after a kill, and that a training begins from it."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from photon_triage.core.common.errors import TrainingError
from photon_triage.core.prepare import Preparation
from photon_triage.core.recipe import PrepareTable
from photon_triage.core.session.models.audit_estimate import draw_more
from photon_triage.core.training.loop.resume_state import Keeper
from photon_triage.core.training.tasks.detector.pretraining import PretrainingJob, contrast, pretrain, run_pretraining
from photon_triage.models.common.checkpoint import load, read_metadata
from photon_triage.models.darknet.darknet import Darknet
from photon_triage.models.darknet.representation import Features

from ....embedding.builders import kind_frames, kind_session
from ...loop.test_runs import interrupting
from .test_detector_job import CFG

CPU = torch.device("cpu")


def unit(rows: list[list[float]]) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.tensor(rows), dim=1)


def test_the_loss_is_that_of_the_formula() -> None:
    first, second = unit([[1.0, 0.2], [0.1, 1.0]]), unit([[0.9, 0.4], [-0.3, 1.0]])
    both = torch.cat([first, second])
    terms = []
    for row, partner in enumerate([2, 3, 0, 1]):
        others = [math.exp(float(both[row] @ both[each]) / 0.5) for each in range(4) if each != row]
        terms.append(-math.log(math.exp(float(both[row] @ both[partner]) / 0.5) / sum(others)))
    assert float(contrast(first, second, 0.5)) == pytest.approx(np.mean(terms), rel=1e-5)


def purity(network: Darknet, preparation: Preparation) -> float:
    """How often the nearest other frame, by the network's features, is of the same kind; frames of another seed."""
    frames, kinds = kind_frames(90, 5)
    with torch.inference_mode():
        vectors = Features(network).eval()(preparation.fit(torch.from_numpy(frames).float())).numpy()
    vectors = (vectors - vectors.mean(0)) / vectors.std(0).clip(1e-6)
    away = ((vectors[:, None] - vectors[None]) ** 2).sum(2) + np.diag(np.full(len(vectors), np.inf))
    return float((kinds[away.argmin(1)] == kinds).mean())


def test_pre_training_brings_frames_of_a_kind_together() -> None:
    torch.manual_seed(0)
    network = Darknet.from_cfg(CFG, norm_form="cuda")
    last = network.convolutions()[-1][1].convolution.weight.clone()
    preparation = Preparation(PrepareTable(scale="linear", full_scale=20), (32, 32))
    frames, centers = kind_frames(120)[0], np.full((120, 2), np.nan, np.float32)
    steps = list(pretrain(network, preparation, frames, centers, 40, CPU, batch=32, augmentations=("mirror", "thin")))
    assert steps[-1].loss < steps[0].loss
    assert purity(network, preparation) > 0.95
    assert torch.equal(last, network.convolutions()[-1][1].convolution.weight), "what detects has learned nothing"


@pytest.fixture
def job(tmp_path: Path) -> PretrainingJob:
    (tmp_path / "small.cfg").write_text(CFG)
    session = kind_session(tmp_path)
    return PretrainingJob(session, str(tmp_path / "small.cfg"), name="pre", iterations=8, batch=16, most=50)


def test_an_interrupted_pre_training_goes_on_to_the_same_weights(
    job: PretrainingJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run_pretraining(replace(job, name="whole"))
    monkeypatch.setattr(Keeper, "is_due", lambda keeper, *, checked: True)
    with pytest.raises(KeyboardInterrupt):
        run_pretraining(job, interrupting(4))
    seen: list[int] = []
    resumed = run_pretraining(job, lambda done, planned, loss, f1: seen.append(done))
    assert seen[0] == 5 and resumed.facts["loss"] == whole.facts["loss"]
    states = [load(each.entry.path)[0].state_dict() for each in (whole, resumed)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_the_model_says_what_it_is(job: PretrainingJob) -> None:
    facts = run_pretraining(job).report()
    metadata = read_metadata(facts["path"])
    assert metadata["pretraining"]["frames"] == facts["frames"] == 50
    assert "classes" not in metadata and "does not detect" in metadata["note"]
    assert facts["chance"] == pytest.approx(math.log(31))


def test_frames_of_the_audit_and_those_next_to_them_are_left_out(job: PretrainingJob, tmp_path: Path) -> None:
    draw_more(job.session, job.session.labels(), 0.5, 8)
    (draw,) = job.session.labels().draws
    run_pretraining(replace(job, iterations=1))
    lines = (job.session.path / "training" / "pre" / "trained_on.csv").read_text().splitlines()[1:]
    learned = {int(line.rpartition(",")[2]) for line in lines}
    judging = {drawn.key.index for drawn in draw.frames}
    assert learned and all(abs(one - other) > 2 for one in learned for other in judging)


def test_too_few_frames_are_told(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="only 10 frames reach the network"):
        run_pretraining(PretrainingJob(kind_session(tmp_path, 15), iterations=1))
