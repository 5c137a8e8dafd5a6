"""Darknet's region and yolo layers as plain loops in double precision: activations, deltas, the printed figures.

Written from the formulas alone, cell by cell and truth by truth, without torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from photon_triage.models.darknet.heads import HeadConfig

Array = NDArray[np.float64]


@dataclass
class Reference:
    """What a layer computes for a batch; `delta` is (batch, channels, rows, columns), minus the gradient by `raw`."""

    delta: Array
    cost: float = 0.0
    overlaps: list[float] = field(default_factory=list)
    objectness: list[float] = field(default_factory=list)
    everywhere: float = 0.0


def logistic(x: Array | float) -> Array:
    return np.asarray(1 / (1 + np.exp(-np.asarray(x, np.float64))))


def iou(a: list[float], b: list[float]) -> float:
    """Of boxes of centre and size."""
    shared = 1.0
    for axis in (0, 1):
        low = max(a[axis] - a[axis + 2] / 2, b[axis] - b[axis + 2] / 2)
        high = min(a[axis] + a[axis + 2] / 2, b[axis] + b[axis + 2] / 2)
        if high <= low:
            return 0.0
        shared *= high - low
    return shared / (a[2] * a[3] + b[2] * b[3] - shared)


def forward_and_delta(raw: Array, targets: Array, head: HeadConfig, seen: int) -> Reference:
    """The layer's backward pass, for raw values (batch, channels, rows, columns) and truths (batch, n, 5)."""
    is_region = head.kind == "region"
    batch, _, rows, columns = raw.shape
    count, classes = len(head.mask), head.classes
    output = np.array(raw, np.float64).reshape(batch, count, 5 + classes, rows, columns)
    output[:, :, :2] = logistic(output[:, :, :2])
    output[:, :, 4] = logistic(output[:, :, 4])
    if is_region and head.softmax:
        powers = np.exp(output[:, :, 5:])
        output[:, :, 5:] = powers / powers.sum(axis=2, keepdims=True)
    else:
        output[:, :, 5:] = logistic(output[:, :, 5:])
    delta = np.zeros_like(output)
    unit = (columns, rows) if is_region else (columns * head.stride, rows * head.stride)
    found = Reference(delta)

    def predicted(b: int, a: int, j: int, i: int) -> list[float]:
        x, y, w, h = (float(v) for v in output[b, a, :4, j, i])
        width, height = head.anchors[head.mask[a]]
        return [(i + x) / columns, (j + y) / rows, math.exp(w) * width / unit[0], math.exp(h) * height / unit[1]]

    def pull(b: int, a: int, j: int, i: int, truth: list[float], scale: float) -> None:
        width, height = head.anchors[head.mask[a]]
        wanted = (
            truth[0] * columns - i,
            truth[1] * rows - j,
            math.log(truth[2] * unit[0] / width),
            math.log(truth[3] * unit[1] / height),
        )
        for v in range(4):
            delta[b, a, v, j, i] = scale * (wanted[v] - output[b, a, v, j, i])

    for b in range(batch):
        truths = [[float(v) for v in row] for row in targets[b] if row[2] > 0]
        for j in range(rows):
            for i in range(columns):
                for a in range(count):
                    best = 0.0
                    for truth in truths:
                        best = max(best, iou(predicted(b, a, j, i), truth))
                    delta[b, a, 4, j, i] = head.noobject_scale * (0 - output[b, a, 4, j, i])
                    if best > head.thresh:
                        delta[b, a, 4, j, i] = 0
                    if is_region and seen < 12800:
                        width, height = head.anchors[a]
                        prior = [(i + 0.5) / columns, (j + 0.5) / rows, width / columns, height / rows]
                        pull(b, a, j, i, prior, 0.01)
        for truth in truths:
            i, j = min(int(truth[0] * columns), columns - 1), min(int(truth[1] * rows), rows - 1)
            best, anchor = 0.0, 0
            for n, (width, height) in enumerate(head.anchors):
                shape = [0, 0, width / unit[0], height / unit[1]]
                if not head.bias_match:
                    shape[2:] = predicted(b, n, j, i)[2:]
                overlap = iou(shape, [0, 0, truth[2], truth[3]])
                if overlap > best:
                    best, anchor = overlap, n
            if anchor not in head.mask:
                continue
            a = head.mask.index(anchor)
            pull(b, a, j, i, truth, head.coord_scale * (2 - truth[2] * truth[3]))
            overlap = iou(predicted(b, a, j, i), truth)
            wanted = overlap if is_region and head.rescore else 1.0
            delta[b, a, 4, j, i] = head.object_scale * (wanted - output[b, a, 4, j, i])
            label = int(truth[4])
            if delta[b, a, 5, j, i] != 0 and not (is_region and head.softmax):
                delta[b, a, 5 + label, j, i] = head.class_scale * (1 - output[b, a, 5 + label, j, i])
            else:
                for n in range(classes):
                    delta[b, a, 5 + n, j, i] = head.class_scale * (float(n == label) - output[b, a, 5 + n, j, i])
            found.overlaps.append(overlap)
            found.objectness.append(float(output[b, a, 4, j, i]))
    found.cost = float((delta**2).sum())
    found.everywhere = float(output[:, :, 4].mean())
    if is_region:
        for v in (0, 1, 4):
            delta[:, :, v] *= output[:, :, v] * (1 - output[:, :, v])
    found.delta = delta.reshape(raw.shape)
    return found
