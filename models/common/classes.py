"""Metadata of a checkpoint that its user needs: the names of classes, and how grey values are normalised."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from photon_triage.models.common.errors import ModelError

LEAST_DEVIATION = 1e-6


BACKGROUND = "background"
"""The class that is no object; the first one where none has this name."""


@dataclass(frozen=True)
class Normalisation:
    """Mean and deviation of the training set (Pelt & Sethian 2018); where they are None, each frame's own are taken."""

    mean: float | None = None
    deviation: float | None = None

    def __call__(self, frames: Tensor, usable: Tensor | None = None) -> Tensor:
        """The same frames with about mean 0 and deviation 1, as float32; 0 where a pixel is not usable.

        frames: (..., height, width), any numeric dtype. usable: (..., height, width) bool, or None where all are;
        pixels that are not finite never are.
        """
        values = frames.float()
        finite = values.isfinite()
        good = finite if usable is None else finite & usable
        values = torch.where(good, values, 0.0)
        if self.mean is not None and self.deviation is not None:
            return torch.where(good, (values - self.mean) / self.deviation, 0.0)
        area = good.sum((-2, -1), keepdim=True).clamp_min(1)
        mean = values.sum((-2, -1), keepdim=True) / area
        centred = torch.where(good, values - mean, 0.0)
        deviation = (centred.square().sum((-2, -1), keepdim=True) / area).sqrt().clamp_min(LEAST_DEVIATION)
        return centred / deviation

    def as_json(self) -> dict[str, Any]:
        """What a checkpoint's metadata keep under `input`."""
        if self.mean is None or self.deviation is None:
            return {"normalise": "frame"}
        return {"normalise": "training", "mean": self.mean, "deviation": self.deviation}


EACH_FRAME = Normalisation()


def normalisation_of(metadata: Mapping[str, Any], source: str) -> Normalisation:
    """The normalisation that a checkpoint's metadata tell; each frame's own where they tell none.

    Raises ModelError where what they tell makes no sense; `source` names the checkpoint.
    """
    table = metadata.get("input", {})
    if not isinstance(table, Mapping):
        raise ModelError(f"Cannot use {source}: its metadata say {table!a} for `input`.", "Expected a table.")
    if table.get("normalise", "frame") == "frame":
        return Normalisation()
    mean, deviation = table.get("mean"), table.get("deviation")
    if not (isinstance(mean, int | float) and isinstance(deviation, int | float)):
        raise ModelError(
            f"Cannot use {source}: its metadata tell no mean and deviation of the training set.",
            'Expected `input` to hold {"normalise": "training", "mean": number, "deviation": number}.',
        )
    if not (math.isfinite(mean) and math.isfinite(deviation) and deviation > 0):
        raise ModelError(
            f"Cannot use {source}: mean {mean} and deviation {deviation} of the training set make no sense.",
            "Expected finite numbers, the deviation above 0.",
        )
    return Normalisation(float(mean), float(deviation))


def background_of(classes: Sequence[str]) -> int:
    """The place of the class that is no object among these."""
    return classes.index(BACKGROUND) if BACKGROUND in classes else 0


def class_names(metadata: Mapping[str, Any], attempt: str) -> tuple[str, ...]:
    """The names that a checkpoint's metadata give under `classes`.

    Raises ModelError where they give none; `attempt` says what then cannot be done, with the checkpoint's path.
    """
    names = named_classes(metadata)
    if not names:
        raise ModelError(f"Cannot {attempt}: its metadata name no classes.", "Expected a list of names.")
    return names


def named_classes(metadata: Mapping[str, Any]) -> tuple[str, ...]:
    """The names that a checkpoint's metadata give under `classes`; none where they give no list of names."""
    names = metadata.get("classes")
    return tuple(names) if isinstance(names, list) and all(isinstance(name, str) for name in names) else ()
