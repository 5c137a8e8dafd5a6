"""How far a training is, and what all trainings do alike: smooth the loss, stop when it diverges, slow down."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from photon_triage.core.common.errors import TrainingError

Note = Callable[[int, int, float, float | None], None]
"""Called after each batch: done, planned, loss, F1 on the validation examples if checked."""

SMOOTHING = 0.98
LAST_RATE = 0.05


@dataclass(frozen=True)
class Progress:
    """Batches done and planned, the smoothed loss, F1 on the validation examples if checked."""

    done: int
    planned: int
    loss: float
    f1: float | None


def smooth(smoothed: float, loss: float, iteration: int) -> float:
    """The loss smoothed over the last batches; NaN as `smoothed` begins.

    Raises TrainingError where the loss is no number any more.
    """
    if not math.isfinite(loss):
        raise TrainingError(
            f"Training diverged at batch {iteration}: the loss is {loss}.", "Train with a lower --rate."
        )
    return loss if math.isnan(smoothed) else SMOOTHING * smoothed + (1 - SMOOTHING) * loss


def decayed(iteration: int, iterations: int) -> float:
    """What the learning rate is multiplied with: half a cosine from 1 to LAST_RATE (Loshchilov & Hutter 2017)."""
    return LAST_RATE + (1 - LAST_RATE) * (1 + math.cos(math.pi * (iteration - 1) / iterations)) / 2


def is_check(iteration: int, iterations: int, every: int) -> bool:
    """Whether to judge the checkpoint: after the last batch, and every so many before it."""
    return (iterations - iteration) % every == 0
