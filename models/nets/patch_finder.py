"""Patch finders: networks that say of the patch about each pixel whether an object is there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from photon_triage.models.common.checkpoint import load
from photon_triage.models.common.classes import EACH_FRAME, Normalisation, class_names, normalisation_of
from photon_triage.models.common.errors import ModelError
from photon_triage.models.nets.lenet import LeNetPatch


@dataclass(frozen=True)
class PatchFinder:
    """A network, the names of its classes (the last is the object), and how grey values are normalised for it."""

    network: LeNetPatch
    classes: tuple[str, ...]
    input: Normalisation = EACH_FRAME

    def __post_init__(self) -> None:
        """Hold names and outputs together; raises ModelError where they differ."""
        if len(self.classes) != self.network.classes or len(self.classes) < 2:
            raise ModelError(
                f"Cannot search with this network: it has {self.network.classes} classes, "
                f"the names given are {', '.join(self.classes) or 'none'}.",
                "Give one name a class, the object's last.",
            )


def log_odds(logits: Tensor) -> Tensor:
    """How much likelier the last class is than all others, ln p/(1 - p): (batch, classes, ...) to (batch, ...).

    Unlike the probability it does not saturate, so that a score map keeps its peaks.
    """
    return logits[:, -1] - torch.logsumexp(logits[:, :-1], dim=1)


def load_patch_finder(path: str | Path) -> PatchFinder:
    """The patch finder of a checkpoint; its metadata name the `classes`.

    Raises ModelError.
    """
    network, metadata = load(path)
    if not isinstance(network, LeNetPatch):
        raise ModelError(
            f"Cannot search with {path}: it holds a {type(network).__name__}.", "Use a LeNet patch classifier."
        )
    return PatchFinder(network, class_names(metadata, f"search with {path}"), normalisation_of(metadata, str(path)))
