"""A training that was stopped anywhere goes on to the same end."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from photon_triage.core.common.errors import TrainingError
from photon_triage.core.training.data.images import normalisation_from
from photon_triage.core.training.loop.progress import Progress
from photon_triage.core.training.loop.resume_state import Keeper, Kept
from photon_triage.core.training.tasks.detector.learner import TrainingPlan, train
from photon_triage.core.training.tasks.patches.finder_learner import FindingPlan, train_finder
from photon_triage.core.training.tasks.segmentation.segmentation import SegmentationPlan, train_segmenter
from photon_triage.models.common.registry import create
from photon_triage.models.nets.patch_finder import PatchFinder

from ..builders import scene
from ..tasks.detector.test_detector_job import CPU, detector, disc_examples, preparation
from ..tasks.patches.test_finder_learner import SMALL, marked
from ..tasks.segmentation.test_segmentation import mapped, segmenter

Begun = tuple[nn.Module, Iterator[Progress]]


def a_detector(keeper: Keeper | None) -> Begun:
    torch.manual_seed(0)
    made = detector()
    plan = TrainingPlan(24, 8, check_every=6)
    return made.network, train(made, preparation(), disc_examples(30, 1), plan, CPU, disc_examples(20, 3), keeper)


def a_segmenter(keeper: Keeper | None) -> Begun:
    images = [mapped(seed) for seed in (1, 2, 3)]
    made = segmenter(images)
    return made.network, train_segmenter(made, images, images[-1:], SegmentationPlan(24, 2, 1e-2, 64), CPU, keeper)


def a_unet_with_dropout(keeper: Keeper | None) -> Begun:
    images = [mapped(seed) for seed in (1, 2, 3)]
    torch.manual_seed(0)
    network = create("unet", depth=1, width=4, dropout=0.3, out_channels=2)
    made = segmenter(images)
    made = type(made)(network, made.classes, made.input)  # type: ignore[arg-type]
    return network, train_segmenter(made, images, images[-1:], SegmentationPlan(10, 1, 1e-2, 32), CPU, keeper)


def a_finder(keeper: Keeper | None) -> Begun:
    torch.manual_seed(0)
    images = [marked(scene(seed)) for seed in (1, 2, 3)]
    network = create("lenet", in_channels=1, classes=2, **SMALL)
    made = PatchFinder(network, ("other", "disc"), normalisation_from([each.image for each in images]))  # type: ignore[arg-type]
    return network, train_finder(made, images, images[-1:], FindingPlan(24, 8, 3e-3), CPU, keeper)


@pytest.mark.parametrize("begin", [a_detector, a_segmenter, a_unet_with_dropout, a_finder])
@pytest.mark.parametrize("stop", [3, 9])
def test_a_stopped_training_resumes_to_the_same_loss_curve(
    begin: Callable[[Keeper | None], Begun], stop: int, tmp_path: Path
) -> None:
    whole, steps = begin(None)
    expected = list(steps)

    _, steps = begin(Keeper(tmp_path / "state.safetensors", {}, every_s=0))
    before = list(itertools.islice(steps, stop))
    resumed, steps = begin(Keeper(tmp_path / "state.safetensors", {}, every_s=0))
    after = list(steps)

    assert before + after == expected
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


def test_a_state_that_is_a_while_old_repeats_the_batches_since(tmp_path: Path) -> None:
    expected = list(a_segmenter(None)[1])
    _, steps = a_segmenter(Keeper(tmp_path / "state.safetensors", {}, every_s=1e9))
    list(itertools.islice(steps, 7))
    after = list(a_segmenter(Keeper(tmp_path / "state.safetensors", {}))[1])
    assert after[0].done == 7, "the last check was after batch 6"
    assert after == expected[6:]


def test_a_state_of_other_settings_is_not_gone_on_from(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    Keeper(path, {"rate": 1}).keep(Kept({"done": 3}, {}))
    assert Keeper(path, {"rate": 2}).load() is None
    kept = Keeper(path, {"rate": 1}).load()
    assert kept is not None and kept.facts["done"] == 3


def test_a_damaged_state_is_told(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    path.write_bytes(b"\0" * 100)
    with pytest.raises(TrainingError, match="go on"):
        Keeper(path, {}).load()
