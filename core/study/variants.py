"""What is compared: networks, colours, scales, and where the labels come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


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
