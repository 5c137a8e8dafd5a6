"""How large a study is: as published, or small enough for a processor."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from photon_triage.models.darknet.cfg import shipped_cfg


@dataclass(frozen=True)
class Variant:
    """One training of the study. network: a shipped cfg. labels: from all runs, or from the first runs only."""

    name: str
    network: str
    colour: Literal["grey", "jet"]
    scale: Literal["linear", "log"]
    labels: Literal["representative", "first-runs"] = "representative"


VARIANTS = (
    Variant("YOLOv2, colour, linear", "yolov2-seeds", "jet", "linear"),
    Variant("YOLOv2, colour, log", "yolov2-seeds", "jet", "log"),
    Variant("YOLOv2, grey, linear", "yolov2-seeds", "grey", "linear"),
    Variant("YOLOv2, grey, log", "yolov2-seeds", "grey", "log"),
    Variant("YOLOv3, colour, linear", "yolov3-1class", "jet", "linear"),
    Variant("YOLOv3, grey, linear", "yolov3-1class", "grey", "linear"),
    Variant("YOLOv2, grey, linear, first runs", "yolov2-seeds", "grey", "linear", "first-runs"),
    Variant("YOLOv2, grey, log, first runs", "yolov2-seeds", "grey", "log", "first-runs"),
    Variant("residual, grey, log", "residual-1class", "grey", "log"),
    Variant("hitnet, grey, log", "hitnet", "grey", "log"),
)
"""The six published rows in their order, labels from the first runs, and the networks that are this project's own."""

PUBLISHED_BATCH = {"yolov3-1class": 24}
"""Frames in a batch where the published training differs from the cfg."""


@dataclass(frozen=True)
class StudySize:
    """How much is simulated and trained.

    runs: of the beamtime, of which the first `first_runs` are the "first runs". training, validation: positives and
    negatives. test: frames. iterations, batch, every: of each training, and batches between two checkpoints. last: of
    the checkpoints, to intersect. rate: learning rate; None follows each cfg. shape: of the networks' input, and
    divisor: of the number of filters; None and 1 leave the cfgs as they are.
    """

    name: str
    runs: int
    first_runs: int
    training: tuple[int, int]
    validation: tuple[int, int]
    test: int
    iterations: int
    every: int
    batch: int | None
    last: int = 5
    rate: float | None = None
    shape: tuple[int, int] | None = None
    divisor: int = 1


SIZES = {
    "full": StudySize("full", 8, 2, (165, 390), (53, 283), 17932, 4400, 100, None),
    "small": StudySize("small", 8, 2, (165, 390), (53, 283), 2400, 400, 20, 16, rate=2e-3, shape=(128, 256), divisor=4),
    "quick": StudySize("quick", 4, 2, (24, 48), (12, 24), 120, 12, 3, 8, last=3, rate=2e-3, shape=(64, 128), divisor=8),
}
"""Labels, test frames and iterations of "full" and labels of "small" are those published."""


def cfg_of(network: str, size: StudySize) -> str:
    """The cfg text of a shipped network, with its input and its filters made smaller where the study is small.

    The filters before a head stay: the head needs that many.
    """
    text = shipped_cfg(network)
    if size.shape is None or network in ALREADY_SMALL:
        return text
    for key, value in zip(("height", "width"), size.shape, strict=True):
        text = re.sub(rf"^{key}=.*$", f"{key}={value}", text, flags=re.MULTILINE)
    head, *layers = re.split(r"(?m)^(?=\[)", text.lstrip())
    return "".join([head, *(_thinner(layer, size.divisor) for layer in layers)])


ALREADY_SMALL = ("hitnet",)


def _thinner(layer: str, divisor: int) -> str:
    if "activation=linear" in layer:
        return layer
    return re.sub(
        r"^filters=(\d+)", lambda found: f"filters={max(8, int(found[1]) // divisor)}", layer, flags=re.MULTILINE
    )
