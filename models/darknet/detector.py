"""Detectors: Darknet networks with heads that find boxes, and the names of what they find."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from photon_triage.models.common.checkpoint import load
from photon_triage.models.common.classes import class_names
from photon_triage.models.common.errors import ModelError
from photon_triage.models.darknet.darknet import Darknet
from photon_triage.models.darknet.yolo import decode


@dataclass(frozen=True)
class Detector:
    """A network and the names of its classes, in the order of its heads' channels."""

    network: Darknet
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        """Hold names and heads together; raises ModelError where they differ."""
        heads = self.network.heads
        if not heads:
            raise ModelError(
                "Cannot detect with this network: it has no detection head.",
                "Its cfg needs a region or yolo section.",
            )
        if any(head.classes != len(self.classes) for head in heads):
            raise ModelError(
                f"Cannot detect with this network: its head has {heads[0].classes} classes, the names given are "
                f"{', '.join(self.classes)}.",
                "Give one name for each class.",
            )

    def index(self, name: str) -> int:
        """The place of a class; raises ModelError where the detector does not know it."""
        if name not in self.classes:
            raise ModelError(
                f"Cannot look for {name!r}: this detector knows {', '.join(self.classes)}.",
                "Choose a model that was trained for it.",
            )
        return self.classes.index(name)


@dataclass(frozen=True)
class Best:
    """The best box of each frame for one class, and what is most likely in it.

    scores: (batch,), objectness times the probability of the class asked for. boxes: (batch, 4), centre x, centre y,
    width, height as shares of the input. likeliest: (batch,) int64, the box's best class; likeliest_scores, its score.
    """

    scores: Tensor
    boxes: Tensor
    likeliest: Tensor
    likeliest_scores: Tensor


def best_of_class(outputs: Sequence[Tensor], detector: Detector, index: int) -> Best:
    """The best box of each frame, by its objectness; `outputs` are the network's raw heads.

    The box is that of the greatest objectness, and the score is what that box says of the class `index`.
    """
    found = decode(outputs, detector.network.heads)
    objectness, place = found.objectness.max(1)
    frames = torch.arange(len(place), device=place.device)
    classes = found.class_probabilities[frames, place]
    probability, likeliest = classes.max(1)
    return Best(objectness * classes[:, index], found.boxes[frames, place], likeliest, objectness * probability)


def load_detector(path: Path) -> Detector:
    """The detector of a checkpoint, in evaluation mode on the CPU; its metadata's `classes` name what it finds.

    Raises ModelError where the file cannot be loaded or holds another kind of network.
    """
    model, metadata = load(path)
    if not isinstance(model, Darknet):
        raise ModelError(
            f"Cannot detect with {path}: it holds no Darknet network.",
            "Give a model that `photon-triage train` made.",
        )
    count = model.heads[0].classes if model.heads else 0
    if not metadata.get("classes"):
        return Detector(model, ("single",) if count == 1 else tuple(f"class {place}" for place in range(count)))
    return Detector(model, class_names(metadata, f"detect with {path}"))
