"""Detectors from checkpoints: Darknet networks with a head that finds boxes."""

from __future__ import annotations

from pathlib import Path

from photon_triage.models.checkpoint import load
from photon_triage.models.darknet import Darknet
from photon_triage.models.errors import ModelError


def load_detector(path: Path) -> Darknet:
    """The Darknet detector of a checkpoint, in evaluation mode on the CPU.

    Raises ModelError where the file cannot be loaded or holds another kind of network.
    """
    model, _ = load(path)
    if not isinstance(model, Darknet) or not model.heads:
        raise ModelError(
            f"Cannot detect with {path}: it holds no Darknet network with a detection head.",
            "Give a model that `photon-triage train` made, or one whose cfg has a region or yolo section.",
        )
    return model
