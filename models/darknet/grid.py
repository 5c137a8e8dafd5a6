"""The grid of a head: raw tensor to cells, cells to boxes."""

from __future__ import annotations

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
