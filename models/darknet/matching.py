"""Boxes of a head's cells, their overlaps, and the truths that cells and anchors answer for."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from photon_triage.models.common.errors import ModelError
from photon_triage.models.darknet.heads import HeadConfig


def split_cells(raw: Tensor, head: HeadConfig) -> Tensor:
    """(batch, channels, rows, columns) as (batch, anchors, rows, columns, values); half precision becomes single."""
    if raw.ndim != 4 or raw.shape[1] != head.channels:
        raise ModelError(
            f"Cannot read a tensor of shape {tuple(raw.shape)} with the head of layer {head.layer}.",
            f"Expected (batch, {head.channels}, rows, columns).",
        )
    batch, _, rows, columns = raw.shape
    exact = raw.float() if raw.dtype in (torch.float16, torch.bfloat16) else raw
    return exact.reshape(batch, len(head.mask), head.values, rows, columns).permute(0, 1, 3, 4, 2)


def anchor_shares(cells: Tensor, head: HeadConfig) -> Tensor:
    """All anchors of the head as shares of the input, (anchors, 2) of width and height.

    cells: as `split_cells` returns them. A yolo head's anchors are pixels: those of the input that gave this grid.
    """
    anchors = torch.tensor(head.anchors, dtype=cells.dtype, device=cells.device)
    rows, columns = cells.shape[2:4]
    if head.kind == "yolo":
        rows, columns = ((n - extra) * head.stride for n, extra in zip((rows, columns), head.extra_cells, strict=True))
    return anchors / torch.tensor([columns, rows], dtype=cells.dtype, device=cells.device)


def cell_boxes(cells: Tensor, head: HeadConfig) -> Tensor:
    """The cells' boxes, (batch, anchors of the mask, rows, columns, 4): centre x, centre y, width, height as shares."""
    rows, columns = cells.shape[2:4]
    row = torch.arange(rows, dtype=cells.dtype, device=cells.device)[:, None]
    column = torch.arange(columns, dtype=cells.dtype, device=cells.device)
    x = (torch.sigmoid(cells[..., 0]) + column) / columns
    y = (torch.sigmoid(cells[..., 1]) + row) / rows
    anchors = anchor_shares(cells, head)[list(head.mask)]
    size = torch.exp(cells[..., 2:4]) * anchors[:, None, None, :]
    return torch.cat([torch.stack([x, y], dim=-1), size], dim=-1)


def box_iou(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union of boxes (..., 4), broadcast against each other; 0 where both are empty."""
    first_low, first_high = first[..., :2] - first[..., 2:4] / 2, first[..., :2] + first[..., 2:4] / 2
    second_low, second_high = second[..., :2] - second[..., 2:4] / 2, second[..., :2] + second[..., 2:4] / 2
    sides = (torch.minimum(first_high, second_high) - torch.maximum(first_low, second_low)).clamp_min(0)
    return _ratio(sides.prod(-1), first[..., 2:4].prod(-1), second[..., 2:4].prod(-1))


def shape_iou(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union of (width, height) pairs (..., 2) that share their centre."""
    return _ratio(torch.minimum(first, second).prod(-1), first.prod(-1), second.prod(-1))


@dataclass(frozen=True)
class Truths:
    """The truths that the head is responsible for, m of them, in Darknet's order.

    cell: frame, anchor, row, column, (m,) int64 each. box: (m, 4). position: (m, 2) within the cell. size: (m, 2)
    logarithms against the anchor. label: (m,) int64.
    """

    cell: tuple[Tensor, Tensor, Tensor, Tensor]
    box: Tensor
    position: Tensor
    size: Tensor
    label: Tensor

    @property
    def small_box_weight(self) -> Tensor:
        """Darknet's 2 - width · height, (m,): errors of small boxes count more."""
        return 2 - self.box[:, 2] * self.box[:, 3]

    def at(self, chosen: Tensor) -> Truths:
        """The truths of the numbers `chosen`."""
        frame, anchor, row, column = self.cell
        cell = (frame[chosen], anchor[chosen], row[chosen], column[chosen])
        return Truths(cell, self.box[chosen], self.position[chosen], self.size[chosen], self.label[chosen])


def match_truths(targets: Tensor, cells: Tensor, head: HeadConfig) -> Truths:
    """Each truth's cell, and the anchor that answers for it; what falls to another head's anchors is left out.

    That is the anchor whose shape fits the truth best, the first of several, or, without `bias_match`, the one whose
    predicted box in the truth's cell does.
    """
    batch, _, rows, columns, _ = cells.shape
    anchors = anchor_shares(cells, head)
    if targets.ndim != 3 or targets.shape[0] != batch or targets.shape[2] != 5:
        raise ModelError(
            f"Cannot train on targets of shape {tuple(targets.shape)}.",
            f"Expected ({batch}, truths, 5): x, y, width, height, class.",
        )
    frame, slot = torch.nonzero(targets[..., 2] > 0, as_tuple=True)
    chosen = targets[frame, slot]
    box, label = chosen[:, :4], chosen[:, 4].long()
    inside = ((box >= 0) & (box <= 1)).all(dim=1) & (box[:, 3] > 0) & (label >= 0) & (label < head.classes)
    if not bool(inside.all()):
        raise ModelError(
            f"Cannot train on the targets: a box is flat or leaves 0 to 1, or a class is not one of {head.classes}.",
            "Give centre x, centre y, width and height as shares of the input, and classes from 0.",
        )
    grid = torch.tensor([columns, rows], dtype=cells.dtype, device=cells.device)
    in_cells = box[:, :2] * grid
    corner = torch.minimum(in_cells.floor(), grid - 1)
    column, row = corner.long().unbind(1)
    shapes = anchors if head.bias_match else anchors * torch.exp(cells[frame, :, row, column, 2:4].detach())
    best = shape_iou(box[:, None, 2:4], shapes).argmax(dim=1)
    local = torch.full((len(anchors),), -1, dtype=torch.int64, device=cells.device)
    local[list(head.mask)] = torch.arange(len(head.mask), device=cells.device)
    mine = local[best] >= 0
    cell = (frame[mine], local[best[mine]], row[mine], column[mine])
    size = torch.log(box[:, 2:4] / anchors[best])
    return Truths(cell, box[mine], (in_cells - corner)[mine], size[mine], label[mine])


def best_overlap(boxes: Tensor, targets: Tensor) -> Tensor:
    """The best IoU of each cell's box with any truth of its frame, (batch, anchors, rows, columns)."""
    best = boxes.new_zeros(boxes.shape[:-1])
    for truth in targets[..., :4].unbind(dim=1):
        overlap = box_iou(boxes, truth[:, None, None, None, :])
        best = torch.maximum(best, torch.where(truth[:, 2, None, None, None] > 0, overlap, 0.0))
    return best


def cell_owners(truths: Truths, shape: torch.Size) -> tuple[Tensor, Tensor]:
    """Which truth owns each cell in use: of several in one cell the last, as in Darknet.

    shape: (batch, anchors, rows, columns) of the head. Returns the owners' numbers (k,), and for each truth the place
    among them of its cell's owner (m,).
    """
    frame, anchor, row, column = truths.cell
    flat = ((frame * shape[1] + anchor) * shape[2] + row) * shape[3] + column
    number = torch.arange(len(flat), device=flat.device)
    last = torch.full((shape.numel(),), -1, dtype=torch.int64, device=flat.device)
    owner = last.scatter_reduce(0, flat, number, reduce="amax")[flat]
    owns = owner == number
    return number[owns], (owns.cumsum(0) - 1)[owner]


def _ratio(shared: Tensor, first: Tensor, second: Tensor) -> Tensor:
    union = first + second - shared
    return torch.where(union > 0, shared / union.clamp_min(torch.finfo(union.dtype).tiny), 0.0)
