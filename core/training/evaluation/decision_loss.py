"""The loss of a detector that learns decisions: accepted or rejected, whatever else there is on the frame."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from photon_triage.models.darknet.detector import Detector, best_of_class

CLOSEST = 1e-6
"""Scores are at least so far from 0 and 1, where their odds are not defined."""


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
