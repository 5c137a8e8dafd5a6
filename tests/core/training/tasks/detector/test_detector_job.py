from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from photon_triage.core.common.errors import TrainingError
from photon_triage.core.engine.process import start_engine
from photon_triage.core.frames import Box, FrameKey, Geometry
from photon_triage.core.prepare import Preparation
from photon_triage.core.recipe import PrepareTable, load_recipe, parse_recipe
from photon_triage.core.session.decisions.labels import LabelWriter
from photon_triage.core.session.models.catalog import find_model
from photon_triage.core.session.session import Session
from photon_triage.core.training.data.augment import augment
from photon_triage.core.training.data.examples import Examples, gather, pattern_box
from photon_triage.core.training.tasks.detector.config import TrainingJob
from photon_triage.core.training.tasks.detector.detector_job import run_training
from photon_triage.core.training.tasks.detector.learner import TrainingPlan, class_indices, score, train
from photon_triage.models.common.checkpoint import read_metadata
from photon_triage.models.darknet.darknet import Darknet
from photon_triage.models.darknet.detector import Detector

from .....builders.detector_files import write_cxi

CFG = """[net]
batch=16
width=32
height=32
channels=1
learning_rate=0.02
max_batches=60
momentum=0.9
decay=0.0005
[convolutional]
batch_normalize=1
filters=8
size=3
stride=2
pad=1
activation=leaky
[maxpool]
size=2
stride=2
[convolutional]
batch_normalize=1
filters=16
size=3
stride=2
pad=1
activation=leaky
[convolutional]
filters=6
size=3
stride=1
pad=1
activation=linear
[region]
anchors=2,2
classes=1
coords=4
num=1
softmax=1
object_scale=5
noobject_scale=1
class_scale=1
coord_scale=1
thresh=.6
"""

RECIPE = """name = "discs"
[prepare]
scale = "linear"
full_scale = 20
[[stages]]
kind = "lit-pixels"
min_lit_pixels = 5
"""

CPU = torch.device("cpu")


def disc_frames(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Frames (count, 48, 64) int16 with a bright disc in the middle, or four faint spots of as many photons."""
    rng = np.random.default_rng(seed)
    positive = rng.random(count) < 0.4
    y, x = np.mgrid[:48, :64]
    rate = np.full((count, 48, 64), 0.1)
    for index, single in enumerate(positive):
        centers = [(24, 32)] if single else [(10, 12), (10, 52), (38, 12), (38, 52)]
        for cy, cx in centers:
            rate[index] += 10 / len(centers) * ((y - cy) ** 2 + (x - cx) ** 2 < 64)
    return rng.poisson(rate).astype(np.int16), positive


def disc_examples(count: int, seed: int) -> Examples:
    counts, positive = disc_frames(count, seed)
    boxes = np.tile(np.array([0.5, 0.5, 0.3, 0.4], np.float32), (count, 1))
    keys = tuple(FrameKey(f"f{seed}", "", index) for index in range(count))
    return Examples(keys, counts, positive, np.array([""] * count), boxes, np.array(["run"] * count), 0, 0)


def detector() -> Detector:
    return Detector(Darknet.from_cfg(CFG), ("single",))


def preparation() -> Preparation:
    return Preparation(PrepareTable(scale="linear", full_scale=20), (32, 32))


def test_training_learns_to_tell_discs_from_spots() -> None:
    torch.manual_seed(0)
    model, judged = detector(), disc_examples(60, 2)
    steps = list(
        train(
            model, preparation(), disc_examples(120, 1), TrainingPlan(60, 16, check_every=20), CPU, disc_examples(40, 3)
        )
    )
    assert [step.done for step in steps if step.f1 is not None] == [20, 40, 60]
    assert steps[-1].loss < steps[0].loss
    scores = score(model, preparation(), judged, CPU)
    assert scores[judged.positive].min() > scores[~judged.positive].max()
    assert model.network.seen == 60 * 16


def test_training_needs_both_kinds() -> None:
    examples = disc_examples(20, 1)
    with pytest.raises(TrainingError, match="0 rejected"):
        next(train(detector(), preparation(), examples.take(examples.positive), TrainingPlan(1), CPU))


def test_a_rate_too_high_is_told() -> None:
    with pytest.raises(TrainingError, match="diverged"):
        list(train(detector(), preparation(), disc_examples(30, 1), TrainingPlan(60, 16, rate=1e6), CPU))


def test_frozen_norms_keep_their_statistics() -> None:
    model = detector()
    before = {
        name: value.clone() for name, value in model.network.state_dict().items() if "running" in name or "mean" in name
    }
    list(train(model, preparation(), disc_examples(30, 1), TrainingPlan(3, 8, rate=1e-3, frozen_norm=True), CPU))
    assert before and all(torch.equal(model.network.state_dict()[name], value) for name, value in before.items())


def test_rejected_frames_teach_the_class_they_were_given() -> None:
    examples = replace(
        disc_examples(5, 1),
        positive=np.array([True, False, False, False, False]),
        categories=np.array(["", "water", "ice", "", "single"]),
    )
    names = ("single", "multiple", "water", "streak", "other")
    five = Detector(Darknet.from_cfg(CFG, classes=5), names)
    assert class_indices(examples, five).tolist() == [0, 2, 4, -1, -1]
    assert class_indices(examples, detector()).tolist() == [0, -1, -1, -1, -1]


def test_mirrored_frames_have_mirrored_boxes() -> None:
    counts = np.zeros((40, 4, 10), np.float32)
    counts[:, 0, 2] = 1
    boxes = np.tile(np.array([0.25, 0.1, 0.1, 0.1], np.float32), (40, 1))
    turned, moved = augment(counts, boxes, np.random.default_rng(0))
    columns = turned.argmax(2)[:, 0]
    assert {*columns.tolist()} == {2, 7}
    assert np.allclose(moved[:, 0], (columns + 0.5) / 10)


def test_thinning_keeps_whole_photons_and_at_least_a_part() -> None:
    counts = np.full((200, 20, 20), 10, np.int16)
    thinned, _ = augment(counts, np.zeros((200, 4), np.float32), np.random.default_rng(0))
    kept = thinned.mean((1, 2)) / 10
    assert np.array_equal(thinned, thinned.round()) and thinned.max() <= 10
    assert 0.4 < np.mean(kept == 1) < 0.6 and 0.25 < kept.min() < 0.4


def test_pattern_boxes_follow_the_size_and_stay_in_the_region() -> None:
    recipe = load_recipe("spi")
    geometry = recipe.geometry.geometry()
    small, large = (pattern_box(geometry, diameter, recipe, (512, 1024)) for diameter in (84.0, 60.0))
    assert small.width < large.width and small.y == large.y == 0
    assert small.x + small.width / 2 == pytest.approx(512) and large.width <= 240
    assert pattern_box(Geometry(), None, recipe, (512, 1024)) == Box(392, 0, 240, 123)


@pytest.fixture
def labelled(tmp_path: Path) -> Session:
    """A session of two runs with a label on every frame."""
    session = Session.create(tmp_path / "session", RECIPE, "discs")
    frames, positive = disc_frames(60, 5)
    for run in range(2):
        write_cxi(tmp_path / f"run_{run}.cxi", frames[30 * run : 30 * run + 30])
    assert start_engine(session, [tmp_path], once=True, patience=1).wait(60) == 0
    writer = LabelWriter(session.journal())
    reader = session.results()
    for file in reader.files():
        first = 30 * int(Path(file.path).stem[-1])
        for index in range(30):
            verdict = "accepted" if positive[first + index] else "rejected"
            writer.decide(FrameKey(file.path, file.dataset, index), verdict)  # type: ignore[arg-type]
    writer.decide(FrameKey(str(tmp_path / "gone.cxi"), "", 0), "accepted")
    reader.close()
    return session


def test_labels_become_examples(labelled: Session) -> None:
    examples = gather(labelled, Preparation(labelled.recipe().prepare, (32, 32)))
    frames, positive = disc_frames(60, 5)
    assert len(examples) == 60 and examples.unreachable == 1 and set(examples.runs) == {"run_0007"}
    assert np.array_equal(examples.positive, positive)
    assert examples.counts.dtype == np.int16
    usable = examples.counts != 0
    assert np.array_equal(examples.counts[usable], frames[usable])


def test_a_session_trains_a_model_and_then_continues_it(labelled: Session, tmp_path: Path) -> None:
    cfg = tmp_path / "discs.cfg"
    cfg.write_text(CFG)
    job = TrainingJob(labelled, name="discs", cfg=str(cfg), seed=3, command="photon-triage train S")
    first = run_training(job)
    report = first.report()
    assert report["trained_on"] >= 25 and report["held_back"] >= 20 and list(report["scores"]) == ["discs"]
    metadata = read_metadata(first.entry.path)
    assert metadata["command"] == "photon-triage train S" and metadata["scores"]["n"] == report["held_back"]
    assert report["evaluated_on"].startswith(f"{report['held_back']} ranked labels held out of training; not an")
    assert metadata["data"]["evaluated_on"] == report["evaluated_on"]
    assert first.entry.path.name.startswith("discs-") and find_model("discs", labelled.models_path) == first.entry
    second = run_training(replace(job, name=None, cfg=None, base="discs", iterations=5)).report()
    assert second["name"] == "discs-2" and second["parent"] == "discs"
    assert list(second["scores"]) == ["discs", "discs-2"]
    assert second["scores"]["discs"]["f1"] == report["scores"]["discs"]["f1"], "the same held-back labels"


def test_too_few_labels_are_told(tmp_path: Path) -> None:
    session = Session.create(tmp_path / "session", RECIPE, "discs")
    write_cxi(tmp_path / "run.cxi", disc_frames(4, 1)[0])
    assert start_engine(session, [tmp_path / "run.cxi"], once=True, patience=1).wait(60) == 0
    with pytest.raises(TrainingError, match="no classify stage"):
        run_training(TrainingJob(session))
    with pytest.raises(TrainingError, match="of its 0 labels none"):
        run_training(TrainingJob(session, cfg="hitnet"))
    writer = LabelWriter(session.journal())
    writer.decide(FrameKey(str(tmp_path / "run.cxi"), "/entry_1/data_1/data", 0), "accepted")
    with pytest.raises(TrainingError, match="only 1 labelled frames"):
        run_training(TrainingJob(session, cfg="hitnet"))


def test_the_recipe_of_the_tests_is_a_recipe() -> None:
    assert parse_recipe(RECIPE, "discs").stages_before_network == 1
