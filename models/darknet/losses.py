"""The losses of the YOLO heads, with Darknet's deltas as gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from photon_triage.models.common.errors import ModelError
from photon_triage.models.darknet.heads import BOX_VALUES, HeadConfig
from photon_triage.models.darknet.matching import (
    Truths,
    best_overlap,
    box_iou,
    cell_boxes,
    cell_owners,
    match_truths,
    split_cells,
)

PRIOR_IMAGES = 12_800
"""While fewer images were seen, the region loss pulls every cell's box to its anchor (Darknet's region layer)."""

PRIOR_SCALE = 0.01
"""Weight of that pull."""


@dataclass(frozen=True)
class LossFigures:
    """What Darknet prints for a batch.

    `average_iou`, `average_object` and `average_class` are means over the truths (0 without any) of the IoU, the
    objectness and their class's probability; `average_no_object` is the mean objectness of all cells; `recall` and
    `recall_75` are the shares of truths with an IoU above .5 and .75; `cost` is the sum of the squared deltas over the
    batch; `truths` is the number of truths that the head was responsible for.
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

    raw: (batch, anchors · (5 + classes), rows, columns). targets: (batch, truths, 5), rows of centre x, centre y,
    width, height (0 to 1) and class; rows of zero width are empty. seen: images trained on, this batch included. The
    squared terms carry 1/2, so that their derivative is scale · (p - t). Source: Redmon and Farhadi, YOLO9000 (2017),
    and Darknet's region layer.
    """
    matched = _match(raw, targets, head)
    cells, owned = matched.cells, matched.owned
    position, size, objectness = torch.sigmoid(cells[..., :2]), cells[..., 2:4], torch.sigmoid(cells[..., 4])

    object_target = torch.zeros_like(objectness)
    object_target[owned.cell] = matched.owned_overlap if head.rescore else 1.0
    object_scale = torch.where(matched.best_overlap > head.thresh, 0.0, head.noobject_scale)
    object_scale[owned.cell] = head.object_scale

    box_scale = torch.full_like(objectness, PRIOR_SCALE if seen < PRIOR_IMAGES else 0.0)
    box_scale[owned.cell] = head.coord_scale * owned.small_box_weight
    position_target, size_target = torch.full_like(position, 0.5), torch.zeros_like(size)
    position_target[owned.cell], size_target[owned.cell] = owned.position, owned.size

    squares = (
        _SquaredTerm(box_scale[..., None], position_target, position),
        _SquaredTerm(box_scale[..., None], size_target, size),
        _SquaredTerm(object_scale, object_target, objectness),
    )
    logits = cells[owned.cell][:, BOX_VALUES:]
    labels = matched.owned_labels(head)
    if head.has_softmax:
        class_loss = -(labels * functional.log_softmax(logits, dim=-1)).sum()
    else:
        class_loss = functional.binary_cross_entropy_with_logits(logits, labels, reduction="sum")
    loss = sum((term.loss for term in squares), head.class_scale * class_loss)
    class_delta = head.class_scale * (labels - _class_probabilities(logits, head))
    cost = sum((term.cost for term in squares), class_delta.detach().square().sum())
    return loss / len(raw), _figures(matched, head, cost)


def yolo_loss(raw: Tensor, targets: Tensor, head: HeadConfig) -> tuple[Tensor, LossFigures]:
    """Darknet's yolo loss: logistic cross-entropies and, for the size, a square; sums over cells, mean over images.

    raw and targets as in `region_loss`. A truth belongs to the best of all anchors, and so to one head of the network;
    cells whose IoU with a truth exceeds the head's threshold are not held to be empty. Source: Redmon and Farhadi,
    YOLOv3 (2018), and Darknet's yolo layer.
    """
    matched = _match(raw, targets, head)
    cells, owned = matched.cells, matched.owned

    object_target = torch.zeros_like(cells[..., 4])
    object_target[owned.cell] = 1.0
    object_scale = torch.where(matched.best_overlap > head.thresh, 0.0, torch.ones_like(object_target))
    object_scale[owned.cell] = 1.0

    values = cells[owned.cell]
    labels = matched.owned_labels(head)
    weight = owned.small_box_weight[:, None]
    size = _SquaredTerm(weight, owned.size, values[:, 2:4])
    logistic = (
        _LogisticTerm(weight, owned.position, values[:, :2]),
        _LogisticTerm(object_scale, object_target, cells[..., 4]),
        _LogisticTerm(torch.ones_like(labels), labels, values[:, BOX_VALUES:]),
    )
    loss = sum((term.loss for term in logistic), size.loss)
    cost = sum((term.cost for term in logistic), size.cost)
    return loss / len(raw), _figures(matched, head, cost)


def detection_loss(
    outputs: Sequence[Tensor], targets: Tensor, heads: Sequence[HeadConfig], seen: int
) -> tuple[Tensor, tuple[LossFigures, ...]]:
    """The sum of the losses of all heads of a network, and the figures of each; arguments as in `region_loss`."""
    if not heads or len(outputs) != len(heads):
        raise ModelError(
            f"Cannot train {len(outputs)} outputs with {len(heads)} heads.", "Give one output for each of the heads."
        )
    parts = [
        region_loss(raw, targets, head, seen) if head.kind == "region" else yolo_loss(raw, targets, head)
        for raw, head in zip(outputs, heads, strict=True)
    ]
    return torch.stack([loss for loss, _ in parts]).sum(), tuple(figures for _, figures in parts)


@dataclass(frozen=True)
class _SquaredTerm:
    """Half of scale · (target - value)²; its delta is scale · (target - value)."""

    scale: Tensor
    target: Tensor
    value: Tensor

    @property
    def loss(self) -> Tensor:
        return 0.5 * (self.scale * (self.target - self.value).square()).sum()

    @property
    def cost(self) -> Tensor:
        return (self.scale * (self.target - self.value.detach())).square().sum()


@dataclass(frozen=True)
class _LogisticTerm:
    """Scale times the cross-entropy of a logistic value; its delta, straight to the logit, is scale · (target - p)."""

    scale: Tensor
    target: Tensor
    logit: Tensor

    @property
    def loss(self) -> Tensor:
        return functional.binary_cross_entropy_with_logits(self.logit, self.target, self.scale, reduction="sum")

    @property
    def cost(self) -> Tensor:
        return (self.scale * (self.target - torch.sigmoid(self.logit.detach()))).square().sum()


@dataclass(frozen=True)
class _Matched:
    """A head's cells, and which truths they answer for.

    best_overlap: each cell's best IoU with a truth of its frame. overlap: each truth's IoU with its cell's box. owned:
    one truth for each cell in use. slot: for each truth, the place within `owned` of the cell it shares.
    """

    cells: Tensor
    truths: Truths
    best_overlap: Tensor
    overlap: Tensor
    owned: Truths
    owned_overlap: Tensor
    slot: Tensor

    def owned_labels(self, head: HeadConfig) -> Tensor:
        """The classes of each cell in use, (k, classes) of 0 and 1.

        A softmax knows one class, that of the owner. Logistic classes exclude none: as in Darknet, a cell has those of
        all truths that share it.
        """
        if head.has_softmax:
            return functional.one_hot(self.owned.label, head.classes).to(self.cells.dtype)
        labels = self.cells.new_zeros(len(self.owned.label), head.classes)
        labels[self.slot, self.truths.label] = 1.0
        return labels


def _match(raw: Tensor, targets: Tensor, head: HeadConfig) -> _Matched:
    cells = split_cells(raw, head)
    targets = targets.to(device=cells.device, dtype=cells.dtype)
    truths = match_truths(targets, cells, head)
    with torch.no_grad():
        boxes = cell_boxes(cells, head)
        overlap = box_iou(boxes[truths.cell], truths.box)
        owner, slot = cell_owners(truths, boxes.shape[:-1])
        return _Matched(cells, truths, best_overlap(boxes, targets), overlap, truths.at(owner), overlap[owner], slot)


def _class_probabilities(logits: Tensor, head: HeadConfig) -> Tensor:
    return torch.softmax(logits, dim=-1) if head.has_softmax else torch.sigmoid(logits)


@torch.no_grad()
def _figures(matched: _Matched, head: HeadConfig, cost: Tensor) -> LossFigures:
    """Darknet's printed figures, brought to the host in one go."""
    truths, overlap = matched.truths, matched.overlap
    count = len(overlap)
    values = matched.cells[truths.cell]
    own_class = _class_probabilities(values[:, BOX_VALUES:], head).gather(1, truths.label[:, None])
    sums = (
        overlap.sum(),
        torch.sigmoid(values[:, 4]).sum(),
        own_class.sum(),
        (overlap > 0.5).to(overlap.dtype).sum(),
        (overlap > 0.75).to(overlap.dtype).sum(),
        torch.sigmoid(matched.cells[..., 4]).mean(),
        cost,
    )
    iou, present, class_, recall, recall_75, everywhere, squares = torch.stack(sums).tolist()
    share = 1 / max(count, 1)
    return LossFigures(
        average_iou=iou * share,
        average_object=present * share,
        average_no_object=everywhere,
        average_class=class_ * share,
        recall=recall * share,
        recall_75=recall_75 * share,
        cost=squares,
        truths=count,
    )
