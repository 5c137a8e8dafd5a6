"""Small networks, random weights, and Darknet's losses as plain loops."""

from __future__ import annotations

import math
import re

import numpy as np
import torch
from numpy.typing import NDArray

from photon_triage.models.darknet import Darknet
from photon_triage.models.heads import HeadConfig

Array = NDArray[np.float64]

NET = "[net]\nwidth=32\nheight=32\nchannels=3\n"


def convolution(filters: int, size: int = 3, *, normalize: bool = True, activation: str = "leaky") -> str:
    return (
        f"[convolutional]\nbatch_normalize={int(normalize)}\nfilters={filters}\nsize={size}\nstride=1\npad=1\n"
        f"activation={activation}\n"
    )


SMALL = (
    NET
    + convolution(8)
    + "[maxpool]\nsize=2\nstride=2\n"
    + convolution(4, 1)
    + convolution(14, 1, normalize=False, activation="linear")
    + "[region]\nanchors=1,1, 3,2\nbias_match=1\nclasses=2\ncoords=4\nnum=2\nsoftmax=1\nrescore=1\nthresh=.6\n"
    + "object_scale=5\nnoobject_scale=1\nclass_scale=1\ncoord_scale=1\n"
)
"""Two classes and two anchors on a 16x16 grid."""


def thinned(cfg: str, width: int, height: int) -> str:
    """The network with an eighth of the filters, but for the last ones, and another input size."""
    cfg = re.sub(r"filters=(\d{2,4})", lambda m: f"filters={int(m[1]) // 8 if int(m[1]) >= 32 else m[1]}", cfg)
    return re.sub(r"height=\d+", f"height={height}", re.sub(r"width=\d+", f"width={width}", cfg))


def with_random_weights(model: Darknet, seed: int = 0) -> Darknet:
    """The model with batch-norm statistics and biases that differ from their defaults."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, layer in model.convolutions():
            if layer.norm is not None:
                assert layer.norm.running_mean is not None and layer.norm.running_var is not None
                layer.norm.running_mean.normal_(0, 0.2, generator=generator)
                layer.norm.running_var.uniform_(0.5, 1.5, generator=generator)
                layer.norm.weight.uniform_(0.7, 1.3, generator=generator)
                layer.norm.bias.normal_(0, 0.1, generator=generator)
            elif layer.convolution.bias is not None:
                layer.convolution.bias.normal_(0, 0.1, generator=generator)
    return model.eval()


def region_head(**changes: object) -> HeadConfig:
    settings: dict[str, object] = {
        "kind": "region",
        "layer": 0,
        "line": 1,
        "classes": 2,
        "anchors": ((1.0, 1.2), (3.0, 2.0), (0.5, 2.5)),
        "mask": (0, 1, 2),
        "stride": 32,
        "net_width": 160,
        "net_height": 128,
        "softmax": True,
        "rescore": True,
        "object_scale": 5.0,
        "noobject_scale": 1.0,
        "class_scale": 1.0,
        "coord_scale": 1.0,
        "thresh": 0.6,
    }
    return HeadConfig(**{**settings, **changes})  # type: ignore[arg-type]


def yolo_head(**changes: object) -> HeadConfig:
    settings: dict[str, object] = {
        "kind": "yolo",
        "anchors": ((20.0, 30.0), (60.0, 40.0), (120.0, 90.0), (35.0, 20.0)),
        "mask": (1, 3),
        "softmax": False,
        "rescore": False,
        "object_scale": 1.0,
        "thresh": 0.5,
    }
    return region_head(**{**settings, **changes})


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def plain_iou(a: list[float], b: list[float]) -> float:
    """IoU of two boxes of centre and size."""
    width = min(a[0] + a[2] / 2, b[0] + b[2] / 2) - max(a[0] - a[2] / 2, b[0] - b[2] / 2)
    height = min(a[1] + a[3] / 2, b[1] + b[3] / 2) - max(a[1] - a[3] / 2, b[1] - b[3] / 2)
    shared = max(width, 0) * max(height, 0)
    return shared / (a[2] * a[3] + b[2] * b[3] - shared)


def plain_loss(raw: Array, targets: Array, head: HeadConfig, seen: int) -> tuple[float, Array, float]:
    """The loss, its gradient by the raw values, and Darknet's cost, cell by cell and truth by truth.

    raw: (batch, channels, rows, columns). Each value of a cell has a term: (delta, loss, slope).
    """
    batch, _, rows, columns = raw.shape
    is_region = head.kind == "region"
    size = [(w / columns, h / rows) for w, h in head.anchors]
    if not is_region:
        size = [(w / (columns * head.stride), h / (rows * head.stride)) for w, h in head.anchors]
    anchors = len(head.mask)
    cells = raw.reshape(batch, anchors, head.values, rows, columns)
    terms: dict[tuple[int, int, int, int, int], tuple[float, float, float]] = {}

    def squared(place: tuple[int, int, int, int, int], scale: float, target: float, logistic: bool) -> None:
        b, a, v, r, c = place
        value = float(cells[b, a, v, r, c])
        p = sigmoid(value) if logistic else value
        delta = scale * (target - p)
        terms[place] = (delta, 0.5 * scale * (target - p) ** 2, -delta * (p * (1 - p) if logistic else 1))

    def crossed(place: tuple[int, int, int, int, int], scale: float, target: float) -> None:
        b, a, v, r, c = place
        p = sigmoid(float(cells[b, a, v, r, c]))
        delta = scale * (target - p)
        terms[place] = (delta, -scale * (target * math.log(p) + (1 - target) * math.log(1 - p)), -delta)

    def box(b: int, a: int, r: int, c: int) -> list[float]:
        x, y, w, h = (float(cells[b, a, v, r, c]) for v in range(4))
        width, height = size[head.mask[a]]
        return [(c + sigmoid(x)) / columns, (r + sigmoid(y)) / rows, width * math.exp(w), height * math.exp(h)]

    for b in range(batch):
        truths = [[float(value) for value in row] for row in targets[b] if row[2] > 0]
        for a in range(anchors):
            for r in range(rows):
                for c in range(columns):
                    best = max((plain_iou(box(b, a, r, c), truth) for truth in truths), default=0.0)
                    scale = 0.0 if best > head.thresh else head.noobject_scale
                    if not is_region:
                        crossed((b, a, 4, r, c), scale, 0)
                        continue
                    squared((b, a, 4, r, c), scale, 0, True)
                    if seen < 12800:
                        for v, target in enumerate((0.5, 0.5, 0, 0)):
                            squared((b, a, v, r, c), 0.01, target, v < 2)
        taken: dict[tuple[int, int, int], set[int]] = {}
        for x, y, w, h, label in truths:
            shapes = [min(w, aw) * min(h, ah) / (w * h + aw * ah - min(w, aw) * min(h, ah)) for aw, ah in size]
            best_anchor = shapes.index(max(shapes))
            if best_anchor not in head.mask:
                continue
            a, r, c = head.mask.index(best_anchor), min(int(y * rows), rows - 1), min(int(x * columns), columns - 1)
            width, height = size[best_anchor]
            scale = head.coord_scale * (2 - w * h)
            for v, target in enumerate((x * columns - c, y * rows - r, math.log(w / width), math.log(h / height))):
                if is_region or v > 1:
                    squared((b, a, v, r, c), scale, target, v < 2)
                else:
                    crossed((b, a, v, r, c), scale, target)
            if is_region:
                iou = plain_iou(box(b, a, r, c), [x, y, w, h])
                squared((b, a, 4, r, c), head.object_scale, iou if head.rescore else 1, True)
                logits = cells[b, a, 5:, r, c]
                p = np.exp(logits) / np.exp(logits).sum()
                for k in range(head.classes):
                    hit = float(k == label)
                    delta = head.class_scale * (hit - float(p[k]))
                    terms[b, a, 5 + k, r, c] = (delta, -head.class_scale * hit * math.log(p[k]), -delta)
            else:
                crossed((b, a, 4, r, c), 1, 1)
                labels = taken.setdefault((a, r, c), set())
                labels.add(int(label))
                for k in range(head.classes):
                    crossed((b, a, 5 + k, r, c), 1, float(k in labels))
    gradient = np.zeros_like(cells)
    for place, (_, _, slope) in terms.items():
        gradient[place] = slope / batch
    loss = sum(term[1] for term in terms.values()) / batch
    return loss, gradient.reshape(raw.shape), sum(term[0] ** 2 for term in terms.values())
