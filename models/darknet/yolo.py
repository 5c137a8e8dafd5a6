"""The YOLO heads: raw tensors to detections, and the losses under one roof.

Boxes are centre x, centre y, width and height as shares of the input, 0 to 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from photon_triage.models.common.errors import ModelError
from photon_triage.models.darknet.heads import BOX_VALUES, HeadConfig
from photon_triage.models.darknet.losses import LossFigures, detection_loss, region_loss, yolo_loss
from photon_triage.models.darknet.matching import cell_boxes, split_cells

__all__ = [
    "Detections",
    "LossFigures",
    "decode",
    "decode_region",
    "decode_yolo",
    "detection_loss",
    "region_loss",
    "yolo_loss",
]


@dataclass(frozen=True)
class Detections:
    """Every box of a head, or of several: boxes (batch, n, 4), objectness (batch, n), classes (batch, n, classes)."""

    boxes: Tensor
    objectness: Tensor
    class_probabilities: Tensor

    @property
    def scores(self) -> Tensor:
        """Objectness times the best class's probability, (batch, n)."""
        return self.objectness * self.class_probabilities.amax(-1)


def decode_region(raw: Tensor, head: HeadConfig) -> Detections:
    """The boxes of a region head's tensor, ordered by anchor, row, column.

    raw: (batch, anchors · (5 + classes), rows, columns). x, y and the objectness pass a logistic, the width and height
    are the anchor's times e to the raw value, the classes pass a softmax where the head has one, else a logistic.
    """
    cells = split_cells(raw, head)
    logits = cells[..., BOX_VALUES:]
    classes = torch.softmax(logits, dim=-1) if head.has_softmax else torch.sigmoid(logits)
    return _detections(cell_boxes(cells, head), torch.sigmoid(cells[..., 4]), classes)


def decode_yolo(raw: Tensor, head: HeadConfig) -> Detections:
    """The boxes of a yolo head's tensor, ordered by anchor, row, column; objectness and classes pass a logistic.

    raw: (batch, anchors · (5 + classes), rows, columns).
    """
    cells = split_cells(raw, head)
    return _detections(
        cell_boxes(cells, head),
        torch.sigmoid(cells[..., 4]),
        torch.sigmoid(cells[..., BOX_VALUES:]),
    )


def decode(outputs: Sequence[Tensor], heads: Sequence[HeadConfig]) -> Detections:
    """The boxes of all heads of a network together."""
    if not heads or len(outputs) != len(heads):
        raise ModelError(
            f"Cannot decode {len(outputs)} outputs with {len(heads)} heads.", "Give one output for each of the heads."
        )
    parts = [
        decode_region(raw, head) if head.kind == "region" else decode_yolo(raw, head)
        for raw, head in zip(outputs, heads, strict=True)
    ]
    return Detections(
        torch.cat([part.boxes for part in parts], dim=1),
        torch.cat([part.objectness for part in parts], dim=1),
        torch.cat([part.class_probabilities for part in parts], dim=1),
    )


def _detections(boxes: Tensor, objectness: Tensor, classes: Tensor) -> Detections:
    return Detections(boxes.flatten(1, 3), objectness.flatten(1), classes.flatten(1, 3))
