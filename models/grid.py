"""The grid of a head: raw tensor to cells, cells to boxes."""

from __future__ import annotations

import torch
from torch import Tensor

from photon_triage.models.errors import ModelError
from photon_triage.models.heads import HeadConfig


def split_cells(raw: Tensor, head: HeadConfig) -> Tensor:
    """(batch, channels, rows, columns) as (batch, anchors, rows, columns, values)."""
    if raw.ndim != 4 or raw.shape[1] != head.channels:
        raise ModelError(
            f"Cannot read a tensor of shape {tuple(raw.shape)} with the head of layer {head.layer}.",
            f"Expected (batch, {head.channels}, rows, columns).",
        )
    batch, _, rows, columns = raw.shape
    return raw.reshape(batch, len(head.mask), head.values, rows, columns).permute(0, 1, 3, 4, 2)


def anchor_shares(head: HeadConfig, raw: Tensor) -> Tensor:
    """All anchors of the head as shares of the input, (anchors, 2) of width and height.

    A yolo head's anchors are pixels: those of the input that gave this grid.
    """
    anchors = torch.tensor(head.anchors, dtype=raw.dtype, device=raw.device)
    rows, columns = raw.shape[-2:]
    cell = 1 if head.kind == "region" else head.stride
    return anchors / torch.tensor([columns * cell, rows * cell], dtype=raw.dtype, device=raw.device)


def cell_boxes(cells: Tensor, anchors: Tensor) -> Tensor:
    """The cells' boxes, (batch, anchors of the mask, rows, columns, 4) as shares of the input."""
    rows, columns = cells.shape[2:4]
    row = torch.arange(rows, dtype=cells.dtype, device=cells.device)[:, None]
    column = torch.arange(columns, dtype=cells.dtype, device=cells.device)
    x = (torch.sigmoid(cells[..., 0]) + column) / columns
    y = (torch.sigmoid(cells[..., 1]) + row) / rows
    size = torch.exp(cells[..., 2:4]) * anchors[:, None, None, :]
    return torch.cat([torch.stack([x, y], dim=-1), size], dim=-1)
