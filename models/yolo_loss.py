"""The losses of the YOLO heads, with Darknet's deltas as gradients."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from photon_triage.models.boxes import box_iou
from photon_triage.models.grid import anchor_shares, cell_boxes, split_cells
from photon_triage.models.heads import BOX_VALUES, HeadConfig
from photon_triage.models.matching import Truths, best_overlap, last_owner, match_truths

PRIOR_IMAGES = 12_800
"""While fewer images were seen, the region loss pulls every cell's box to its anchor (Darknet's region layer)."""

PRIOR_SCALE = 0.01
"""Weight of that pull."""


@dataclass(frozen=True)
class LossFigures:
    """What Darknet prints for a batch.

    `average_iou`, `average_object` and `average_class` are means over the truths (0 without any) of the IoU, the
    objectness and their class's probability, `average_no_object` the mean objectness of all cells, `recall` the share of
    truths with an IoU above .5, `recall_75` above .75, `cost` Darknet's sum of the squared deltas over the batch, `truths`
    the number of truths that the head was responsible for.
    """

    average_iou: float
    average_object: float
    average_no_object: float
    average_class: float
    recall: float
    recall_75: float
    cost: float
    truths: int


def region_loss(raw: Tensor, targets: Tensor, head: HeadConfig, seen: int) -> tuple[Tensor, LossFigures]:
    """Darknet's region loss: sums over cells, mean over images; its gradient is Darknet's delta.

    Source: Redmon and Farhadi, YOLO9000 (2017), and Darknet's region layer.

    raw: (batch, anchors · (5 + classes), rows, columns). targets: (batch, truths, 5), rows of centre x, centre y,
    width, height (0 to 1) and class; rows of zero width are empty. seen: images trained on, this batch included. The
    squared terms carry 1/2, so that their derivative is scale · (p - t).
    """
    cells = split_cells(raw, head)
    anchors = anchor_shares(head, raw)
    truths = match_truths(targets, cells, anchors, head)
    position, objectness = torch.sigmoid(cells[..., :2]), torch.sigmoid(cells[..., 4])
    size = cells[..., 2:4]
    with torch.no_grad():
        boxes = cell_boxes(cells, anchors)
        overlap = best_overlap(boxes, targets)
        truth_overlap = box_iou(boxes[truths.cell], truths.box)
        owner = last_owner(truths, boxes.shape[:-1])
    cell = truths.at(owner)

    object_target = torch.zeros_like(objectness)
    object_scale = torch.where(overlap > head.thresh, 0.0, head.noobject_scale)
    object_target[cell.cell] = truth_overlap[owner] if head.rescore else 1.0
    object_scale[cell.cell] = head.object_scale

    prior = PRIOR_SCALE if seen < PRIOR_IMAGES else 0.0
    box_scale = torch.full_like(objectness, prior)
    box_scale[cell.cell] = head.coord_scale * (2 - cell.box[:, 2] * cell.box[:, 3])
    position_target, size_target = torch.full_like(position, 0.5), torch.zeros_like(size)
    position_target[cell.cell], size_target[cell.cell] = cell.position, cell.size

    position_delta = box_scale[..., None] * (position_target - position)
    size_delta = box_scale[..., None] * (size_target - size)
    object_delta = object_scale * (object_target - objectness)
    loss = 0.5 * (
        _weighted_square(position_delta, position_target - position)
        + _weighted_square(size_delta, size_target - size)
        + _weighted_square(object_delta, object_target - objectness)
    )
    logits = cells[cell.cell][:, BOX_VALUES:]
    one_hot = functional.one_hot(cell.label, head.classes).to(raw.dtype)
    if head.softmax:
        loss = loss - head.class_scale * (one_hot * functional.log_softmax(logits, dim=-1)).sum()
        probabilities = torch.softmax(logits.detach(), dim=-1)
    else:
        loss = loss + head.class_scale * functional.binary_cross_entropy_with_logits(logits, one_hot, reduction="sum")
        probabilities = torch.sigmoid(logits.detach())
    class_delta = head.class_scale * (one_hot - probabilities)
    cost = sum(delta.detach().square().sum() for delta in (position_delta, size_delta, object_delta, class_delta))
    return loss / len(raw), _figures(objectness, truths, truth_overlap, cells, head, torch.as_tensor(cost))


def _weighted_square(delta: Tensor, difference: Tensor) -> Tensor:
    """Sum of scale · difference², from delta = scale · difference."""
    return (delta * difference).sum()


def _figures(
    objectness: Tensor, truths: Truths, overlap: Tensor, cells: Tensor, head: HeadConfig, cost: Tensor
) -> LossFigures:
    """Darknet's printed figures, brought to the host in one go."""
    count = len(overlap)
    logits = cells.detach()[truths.cell][:, BOX_VALUES:]
    probabilities = torch.softmax(logits, dim=-1) if head.softmax else torch.sigmoid(logits)
    own_class = probabilities[torch.arange(count, device=logits.device), truths.label]
    sums = torch.stack(
        [
            overlap.sum(),
            objectness.detach()[truths.cell].sum(),
            own_class.sum(),
            (overlap > 0.5).sum().to(overlap.dtype),
            (overlap > 0.75).sum().to(overlap.dtype),
        ]
    ) / max(count, 1)
    iou, present, class_, recall, recall_75 = sums.tolist()
    return LossFigures(
        average_iou=iou,
        average_object=present,
        average_no_object=float(objectness.detach().mean()),
        average_class=class_,
        recall=recall,
        recall_75=recall_75,
        cost=float(cost),
        truths=count,
    )
