"""Losses of networks: of pixels' classes, where void pixels do not count, and of decisions on frames."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

from photon_triage.core.common.errors import UsageError
from photon_triage.core.training.data.classes import VOID
from photon_triage.models.darknet.detector import Detector, best_of_class

CLOSEST = 1e-6
"""Scores are at least so far from 0 and 1, where their odds are not defined."""
LossName = Literal["cross-entropy", "dice", "mse", "smoothed", "bootstrapped"]
LOSSES: tuple[LossName, ...] = get_args(LossName)
SMOOTHING = 0.1
OWN_OPINION = 0.2
PixelLoss = Callable[[Tensor, Tensor, Tensor], Tensor]


def decision_loss(
    outputs: Sequence[Tensor], detector: Detector, index: int, accepted: Tensor, threshold: float
) -> Tensor:
    """The cross-entropy of decisions, a scalar: a frame whose score is the threshold is accepted with even odds.

    outputs: the network's raw heads. index: the class whose score is the frame's. accepted: (batch,) bool. So the
    threshold keeps its meaning however few labels there are. A rejected frame, of which nobody said what it shows, need
    not show nothing: its boxes may stand, only not as that class.
    """
    scores = best_of_class(outputs, detector, index).scores.float().clamp(CLOSEST, 1 - CLOSEST)
    odds = torch.logit(scores) - math.log(threshold / (1 - threshold))
    return functional.binary_cross_entropy_with_logits(odds, accepted.to(odds))


def pixel_loss(name: LossName, logits: Tensor, classes: Tensor, weights: Tensor) -> Tensor:
    """The loss of a batch, a scalar; 0 with gradients of 0 where all pixels are void.

    logits: (batch, classes, height, width). classes: (batch, height, width) int64, VOID where it does not count.
    weights: (classes,), how much a pixel of each class counts; of Dice, how much the class does.

    cross-entropy: the mean of -log p(t) over pixels. smoothed: the same against (1 - e) t + e / classes with e 0.1
    (Szegedy et al. 2016, section 7). bootstrapped: against 0.8 t + 0.2 z, z the class that the network finds likeliest,
    for masks that are partly wrong (Reed et al. 2015, equation 7). mse: the mean over pixels of the squared distance
    of p from t, summed over classes (Brier 1950). dice: 1 - 2 sum(p t) / (sum(p^2) + sum(t^2)), sums over all pixels,
    the mean over the classes that are there (Milletari et al. 2016, section 3).
    """
    counted = classes != VOID
    if not bool(counted.any()):
        return logits.sum() * 0
    return _LOSSES[name](logits.movedim(1, -1)[counted], classes[counted], weights.to(logits.dtype))


def checked_loss(name: str | None) -> LossName:
    """The loss of that name, cross-entropy where none is given; raises UsageError."""
    for known in LOSSES:
        if name in (known, None):
            return known
    raise UsageError(f"Could not train on the loss {name!r}.", f"Use --loss with one of {', '.join(LOSSES)}.")


def _cross_entropy(logits: Tensor, classes: Tensor, weights: Tensor) -> Tensor:
    return functional.cross_entropy(logits, classes, weights)


def _smoothed(logits: Tensor, classes: Tensor, weights: Tensor) -> Tensor:
    targets = functional.one_hot(classes, logits.shape[1]).to(logits.dtype)
    return _against(logits, (1 - SMOOTHING) * targets + SMOOTHING / logits.shape[1], classes, weights)


def _bootstrapped(logits: Tensor, classes: Tensor, weights: Tensor) -> Tensor:
    drawn, own = (functional.one_hot(each, logits.shape[1]).to(logits.dtype) for each in (classes, logits.argmax(1)))
    return _against(logits, (1 - OWN_OPINION) * drawn + OWN_OPINION * own, classes, weights)


def _against(logits: Tensor, targets: Tensor, classes: Tensor, weights: Tensor) -> Tensor:
    """Cross-entropy against shares of the classes, each pixel weighted by the class that was drawn there."""
    each = -(targets * torch.log_softmax(logits, 1)).sum(1)
    return (weights[classes] * each).sum() / weights[classes].sum()


def _mse(logits: Tensor, classes: Tensor, weights: Tensor) -> Tensor:
    targets = functional.one_hot(classes, logits.shape[1])
    each = (torch.softmax(logits, 1) - targets).square().sum(1)
    return (weights[classes] * each).sum() / weights[classes].sum()


def _dice(logits: Tensor, classes: Tensor, weights: Tensor) -> Tensor:
    said, targets = torch.softmax(logits, 1), functional.one_hot(classes, logits.shape[1]).to(logits.dtype)
    sizes = (said.square() + targets).sum(0)
    found = 2 * (said * targets).sum(0) / sizes.clamp_min(torch.finfo(sizes.dtype).tiny)
    weights = weights * (targets.sum(0) > 0)
    return 1 - (weights * found).sum() / weights.sum()


_LOSSES: dict[LossName, PixelLoss] = {
    "cross-entropy": _cross_entropy,
    "dice": _dice,
    "mse": _mse,
    "smoothed": _smoothed,
    "bootstrapped": _bootstrapped,
}
