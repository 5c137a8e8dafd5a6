from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from photon_triage.core.training.data.classes import VOID
from photon_triage.core.training.data.images import normalisation_from
from photon_triage.core.training.evaluation.pixel_losses import LOSSES, LossName, pixel_loss
from photon_triage.core.training.tasks.segmentation.segmentation import (
    Mapped,
    SegmentationPlan,
    score_segmenter,
    train_segmenter,
)
from photon_triage.models.msd import MSDNet
from photon_triage.models.nets.segmenter import Segmenter

from ..builders import scene

WEIGHTS = [0.5, 2.0, 1.25]


def batch(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 3, 4, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    classes = torch.randint(0, 3, (2, 4, 5), generator=generator)
    classes[:, 0] = VOID
    return logits, classes


def by_hand(name: LossName, logits: NDArray[np.float64], classes: NDArray[np.int64]) -> float:
    """The formula, pixel by pixel."""
    total = weight = 0.0
    products, squares, weights = np.zeros(3), np.zeros(3), np.array(WEIGHTS)
    for image, row, column in np.ndindex(classes.shape):
        true = int(classes[image, row, column])
        if true == VOID:
            continue
        raw = logits[image, :, row, column]
        said = np.exp(raw) / np.exp(raw).sum()
        target = np.eye(3)[true]
        if name == "smoothed":
            loss = -((0.9 * target + 0.1 / 3) * np.log(said)).sum()
        elif name == "bootstrapped":
            loss = -((0.8 * target + 0.2 * np.eye(3)[raw.argmax()]) * np.log(said)).sum()
        elif name == "mse":
            loss = ((said - target) ** 2).sum()
        else:
            loss = -math.log(said[true])
        total, weight = total + WEIGHTS[true] * float(loss), weight + WEIGHTS[true]
        products, squares = products + said * target, squares + said**2 + target**2
    if name == "dice":
        return float(1 - (weights * 2 * products / squares).sum() / weights.sum())
    return total / weight


@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_their_formulas(name: LossName) -> None:
    logits, classes = batch()
    found = pixel_loss(name, logits, classes, torch.tensor(WEIGHTS))
    assert float(found.detach()) == pytest.approx(by_hand(name, logits.detach().numpy(), classes.numpy()), rel=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_void_pixels_give_no_gradient_and_the_others_the_right_one(name: LossName) -> None:
    logits, classes = batch(1)
    weights = torch.tensor(WEIGHTS)
    pixel_loss(name, logits, classes, weights).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None and not logits.grad[:, :, 0].any() and logits.grad[:, :, 1:].any()
    step = torch.zeros_like(logits)
    step[0, 1, 2, 3] = 1e-6
    with torch.no_grad():
        ends = [float(pixel_loss(name, logits + sign * step, classes, weights)) for sign in (1, -1)]
    assert float(logits.grad[0, 1, 2, 3]) == pytest.approx((ends[0] - ends[1]) / 2e-6, abs=1e-8)


@pytest.mark.parametrize("name", LOSSES)
def test_a_batch_of_void_pixels_teaches_nothing(name: LossName) -> None:
    logits, classes = batch()
    loss = pixel_loss(name, logits, torch.full_like(classes, VOID), torch.tensor(WEIGHTS))
    loss.backward()  # type: ignore[no-untyped-call]
    assert float(loss.detach()) == 0 and logits.grad is not None and not logits.grad.any()


def test_a_class_that_is_not_there_does_not_count_in_dice() -> None:
    logits = torch.full((1, 3, 2, 2), -30.0)
    logits[:, 0] = 30
    classes = torch.zeros((1, 2, 2), dtype=torch.int64)
    assert float(pixel_loss("dice", logits, classes, torch.ones(3))) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_a_network_learns_on_each(name: LossName) -> None:
    images = [Mapped(drawn.image(), drawn.discs.astype(np.uint8)) for drawn in map(scene, range(4))]
    torch.manual_seed(0)
    made = Segmenter(MSDNet(depth=5), ("background", "disc"), normalisation_from([each.image for each in images]))
    plan = SegmentationPlan(40, 2, 1e-2, 64, checks=1, loss=name)
    list(train_segmenter(made, images[:3], images[3:], plan, torch.device("cpu")))
    assert score_segmenter(made, images[3:], torch.device("cpu"))["f1"] > 0.4
