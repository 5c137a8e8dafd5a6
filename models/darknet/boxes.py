"""Boxes as centre x, centre y, width, height: overlap and suppression, batched and on the boxes' device."""

from __future__ import annotations

import torch
from torch import Tensor


def box_iou(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union of boxes (..., 4), broadcast against each other; 0 where both are empty."""
    first_low, first_high = first[..., :2] - first[..., 2:4] / 2, first[..., :2] + first[..., 2:4] / 2
    second_low, second_high = second[..., :2] - second[..., 2:4] / 2, second[..., :2] + second[..., 2:4] / 2
    sides = (torch.minimum(first_high, second_high) - torch.maximum(first_low, second_low)).clamp_min(0)
    return _ratio(sides.prod(-1), first[..., 2:4].prod(-1), second[..., 2:4].prod(-1))


def shape_iou(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union of (width, height) pairs (..., 2) that share their centre."""
    return _ratio(torch.minimum(first, second).prod(-1), first.prod(-1), second.prod(-1))


def suppress(boxes: Tensor, scores: Tensor, classes: Tensor, score_threshold: float, iou_threshold: float) -> Tensor:
    """Which boxes remain when each one removes the weaker boxes of its class that overlap it too much.

    boxes: (batch, n, 4). scores: (batch, n), falling along n. classes: (batch, n) int64. Returns (batch, n) bool: the
    result of the greedy rule, found for all frames at once by repeating "kept are those that no kept one removes" until
    nothing changes.
    """
    wanted = scores >= score_threshold
    count = boxes.shape[1]
    stronger = torch.ones(count, count, dtype=torch.bool, device=boxes.device).triu(1)
    removes = box_iou(boxes[:, :, None], boxes[:, None, :]) > iou_threshold
    removes &= stronger & (classes[:, :, None] == classes[:, None, :])
    kept = wanted
    for _ in range(count):
        following = wanted & ~(removes & kept[:, :, None]).any(dim=1)
        if torch.equal(following, kept):
            break
        kept = following
    return kept


def _ratio(shared: Tensor, first: Tensor, second: Tensor) -> Tensor:
    union = first + second - shared
    return torch.where(union > 0, shared / union.clamp_min(torch.finfo(union.dtype).tiny), 0.0)
