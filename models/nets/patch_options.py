"""What a patch classifier is built of: patch, convolutions, full layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from photon_triage.models.common.errors import ModelError

ACTIVATIONS = ("relu", "tanh")

POOLINGS = ("max", "average")


LARGEST_PATCH = 2**22
"""Pixels: 2048 x 2048, or 161 voxels a side."""

MOST_CONVOLUTIONS = 16


@dataclass(frozen=True)
class PatchOptions:
    """The options of LeNetPatch and LeNetPatch3d; `patch` has the pixels along each axis.

    Raises ModelError where they make no network.
    """

    in_channels: int
    classes: int
    patch: Sequence[int]
    widths: Sequence[int]
    kernels: Sequence[int]
    hidden: Sequence[int]
    activation: str
    pooling: str

    def __post_init__(self) -> None:
        """Check the options, and keep sequences as tuples."""
        for name in ("in_channels", "classes"):
            if not _is_size(getattr(self, name)):
                raise _unusable(name, getattr(self, name), "Expected a whole number from 1.")
        for name in ("patch", "widths", "kernels", "hidden"):
            values = getattr(self, name)
            if not isinstance(values, Sequence) or not all(_is_size(value) for value in values):
                raise _unusable(name, values, "Expected whole numbers from 1.")
            object.__setattr__(self, name, tuple(values))
        if math.prod(self.patch) > LARGEST_PATCH or len(self.widths) > MOST_CONVOLUTIONS:
            raise ModelError(
                f"Cannot build a patch classifier with {len(self.widths)} convolutions for patches of "
                f"{math.prod(self.patch):,} pixels.",
                f"Allowed: at most {MOST_CONVOLUTIONS} and {LARGEST_PATCH:,}.",
            )
        if not self.widths or len(self.widths) != len(self.kernels):
            raise ModelError(
                f"Cannot build a patch classifier with {len(self.widths)} widths and {len(self.kernels)} kernels.",
                "Give one of each for every convolution.",
            )
        for name, known in (("activation", ACTIVATIONS), ("pooling", POOLINGS)):
            if getattr(self, name) not in known:
                raise _unusable(name, getattr(self, name), f"Use {' or '.join(known)}.")
        if min(self.taps) < 1:
            raise ModelError(
                f"Cannot build a patch classifier: nothing is left of a patch of {sides(self.patch)} pixels behind "
                f"convolutions of {', '.join(map(str, self.kernels))} with a pool after each.",
                "Use larger patches, or fewer or smaller kernels.",
            )

    @property
    def taps(self) -> tuple[int, ...]:
        """What is left of a patch behind the last pool, along each axis: the extents that the full layers see."""
        left = list(self.patch)
        for kernel in self.kernels:
            left = [(extent - kernel + 1) // 2 for extent in left]
        return tuple(left)

    def as_json(self) -> dict[str, Any]:
        """The options as JSON values."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()}


def sides(extents: Sequence[int]) -> str:
    """Extents for people: 512x512."""
    return "x".join(map(str, extents))


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _unusable(name: str, value: object, hint: str) -> ModelError:
    return ModelError(f"Cannot build a patch classifier with {name} {value!r}.", hint)
