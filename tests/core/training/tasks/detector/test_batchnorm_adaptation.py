"""A detector that goes on learning on a beamtime unlike its own has its batch-norms measured anew."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from photon_triage.core.engine.process import start_engine
from photon_triage.core.frames import FrameKey
from photon_triage.core.session.decisions.labels import LabelWriter
from photon_triage.core.session.models.lineage import NEIGHBOURS
from photon_triage.core.session.session import Session
from photon_triage.core.session.trainings.trainings import TRAINED_ON
from photon_triage.core.training.loop.checkpoints import register
from photon_triage.core.training.loop.runs import TrainingRun
from photon_triage.core.training.tasks.detector.batchnorm_adaptation import MEASURED, adapt, images_of, statistics
from photon_triage.core.training.tasks.detector.config import FAR_PART, TrainingJob
from photon_triage.core.training.tasks.detector.detector_job import run_training
from photon_triage.models.common.checkpoint import read_metadata
from photon_triage.models.darknet.darknet import Darknet
from photon_triage.models.darknet.detector import load_detector

from .....builders.detector_files import write_cxi
from .test_detector_job import CFG, CPU, RECIPE, disc_frames, preparation

BRIGHTER, DENSER = 3, 2
"""What another beamtime multiplies counts with, and adds to each pixel."""


def beamtime(folder: Path, *, unlike: bool, count: int = 80) -> tuple[Session, np.ndarray]:
    """A scanned session of frames with discs or spots, as those of the other tests or brighter, and which are discs."""
    folder.mkdir()
    frames, positive = disc_frames(count, 5)
    session = Session.create(folder / "session", RECIPE, "discs")
    write_cxi(folder / "run.cxi", frames * BRIGHTER + DENSER if unlike else frames)
    assert start_engine(session, [folder / "run.cxi"], once=True, patience=1).wait(60) == 0
    return session, positive


def images(counts: np.ndarray) -> torch.Tensor:
    """Counts (n, rows, columns) as the network takes them."""
    return preparation().fit(torch.from_numpy(counts).float())


def learned() -> Darknet:
    """A network whose batch-norms have seen frames of discs and spots."""
    torch.manual_seed(0)
    network = Darknet.from_cfg(CFG, norm_form="cuda").eval()
    network.load_state_dict(statistics(network, images(disc_frames(80, 1)[0])), strict=False)
    return network


def numbers(network: Darknet) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def test_statistics_are_the_moments_of_what_a_norm_sees() -> None:
    network, counts = learned(), disc_frames(40, 3)[0]
    found = statistics(network, images(counts))
    with torch.no_grad():
        seen = network.get_submodule("layers.0.convolution")(images(counts))
    assert torch.allclose(found["layers.0.norm.running_mean"], seen.mean((0, 2, 3)), atol=1e-5)
    assert torch.allclose(found["layers.0.norm.running_var"], seen.var((0, 2, 3)), rtol=1e-3)
    assert {name.rpartition(".")[2] for name in found} == {"running_mean", "running_var"}


@pytest.mark.parametrize("unlike", [False, True])
def test_statistics_are_replaced_on_a_beamtime_unlike_that_of_the_network(tmp_path: Path, unlike: bool) -> None:
    session = beamtime(tmp_path / "data", unlike=unlike)[0]
    network, again = learned(), learned()
    before = numbers(network)
    (folder := session.path / "training" / "x").mkdir(parents=True)
    run = TrainingRun(folder, {})
    shift = adapt(session, network, preparation(), run, CPU, ())
    assert shift is not None and shift.frames == 80 and shift.is_far is unlike
    changed = {name for name, value in numbers(network).items() if not value.equal(before[name])}
    norms = {f"layers.{layer}.norm.running_{what}" for layer in (0, 2) for what in ("mean", "var")}
    assert changed == (norms if unlike else set())
    (tmp_path / "data" / "run.cxi").unlink()
    run.goes_on = True
    assert adapt(session, again, preparation(), run, CPU, ()) == shift, "what was measured when the training began"
    assert all(value.equal(numbers(network)[name]) for name, value in numbers(again).items())
    run.goes_on = False
    assert adapt(session, again, preparation(), run, CPU, ()) is None, "the frames are gone"


def test_frames_that_judge_and_their_neighbours_are_not_measured(tmp_path: Path) -> None:
    session = beamtime(tmp_path / "data", unlike=True)[0]
    key = FrameKey(str(tmp_path / "data" / "run.cxi"), "/entry_1/data_1/data", 40)
    everything, less = (images_of(session, preparation(), CPU, judging) for judging in ((), [key]))
    assert less.equal(torch.cat([everything[: 40 - NEIGHBOURS], everything[41 + NEIGHBOURS :]]))


def test_a_detector_that_goes_on_elsewhere_is_adapted_and_says_so(tmp_path: Path) -> None:
    session, positive = beamtime(tmp_path / "data", unlike=True, count=240)
    file = str(tmp_path / "data" / "run.cxi")
    writer = LabelWriter(session.journal())
    for index, single in enumerate(positive.tolist()):
        writer.decide(FrameKey(file, "/entry_1/data_1/data", index), "accepted" if single else "rejected")
    network = learned()
    register(session.models_path, "discs", network, {"architecture": network.architecture, "classes": ["single"]})
    trained = run_training(TrainingJob(session, name="more", base="discs", iterations=2))
    learned_from = (session.path / "training" / "more" / TRAINED_ON).read_text().splitlines()[1:]
    judged = set(range(len(positive))) - {int(line.rpartition(",")[2].strip('"')) for line in learned_from}
    said = read_metadata(trained.entry.path)["training"]
    assert said["norms"]["adapted"] and said["part"] == FAR_PART
    assert said["norms"]["frames"] <= len(positive) - len(judged), "those that judge are not measured"
    old, new = network.state_dict(), load_detector(trained.entry.path).network.state_dict()
    moved = (new["layers.0.norm.running_mean"] - old["layers.0.norm.running_mean"]).abs().max()
    assert moved > 0.1
    assert not (session.path / "training" / "more" / MEASURED).exists()
    kept = run_training(TrainingJob(session, name="kept", base="discs", iterations=2, freeze="1"))
    assert read_metadata(kept.entry.path)["training"]["norms"] is None, "what is frozen stays as it is"
