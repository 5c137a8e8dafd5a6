"""Whether a network in bfloat16 decides as it does in float32."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from photon_triage.models.common.errors import ModelError

Precision = Literal["auto", "float32", "bfloat16"]

PRECISIONS: tuple[Precision, ...] = ("auto", "float32", "bfloat16")

VARIABLE = "PHOTON_TRIAGE_PRECISION"
"""The environment variable that says what "auto" is to mean."""

InferenceCall = Callable[[Tensor], list[Tensor]]
"""A batch (batch, channels, height, width) on any device in, raw outputs in float32 on the model's device out."""

Decide = Callable[[list[Tensor]], Tensor]
"""From raw outputs to decisions (batch, ...), whole numbers or bool; 0 and False stand for "nothing here"."""

TOLERATED = 0.005
"""The share of the decisions for something that may come out otherwise in bfloat16."""

ENOUGH_DECISIONS = 200
"""Decisions for something that must have been compared before bfloat16 is taken, unless ENOUGH_FRAMES were."""

ENOUGH_FRAMES = 1024


@dataclass(frozen=True)
class Agreement:
    """How two forms of a network decide on the same frames.

    made: decisions for something by either. differing: those of them where the other decided otherwise.
    """

    frames: int = 0
    made: int = 0
    differing: int = 0

    def __add__(self, other: Agreement) -> Agreement:
        return Agreement(self.frames + other.frames, self.made + other.made, self.differing + other.differing)

    @property
    def share(self) -> float:
        """The share of the decisions for something that agree, 1 where there are none."""
        return 1.0 - self.differing / self.made if self.made else 1.0

    @property
    def is_enough(self) -> bool:
        """Whether enough was compared to choose."""
        return self.made >= ENOUGH_DECISIONS or self.frames >= ENOUGH_FRAMES

    @property
    def is_good(self) -> bool:
        """Whether no more decisions differ than are tolerated."""
        return self.differing <= TOLERATED * self.made


def compare_decisions(reference: InferenceCall, candidate: InferenceCall, frames: Tensor, decide: Decide) -> Agreement:
    """How two forms of a network decide on `frames` (batch, channels, height, width)."""
    return compare_outputs(reference(frames), candidate(frames), decide)


def compare_outputs(reference: list[Tensor], candidate: list[Tensor], decide: Decide) -> Agreement:
    """How the outputs of two forms of a network decide."""
    ours, theirs = decide(reference), decide(candidate)
    if ours.is_floating_point() or ours.shape != theirs.shape or ours.ndim == 0:
        raise ModelError(
            f"Cannot compare decisions of {ours.dtype}, shapes {tuple(ours.shape)} and {tuple(theirs.shape)}.",
            "Expected bool or whole numbers, one or more a frame.",
        )
    theirs = theirs.to(ours.device)
    made = (ours != 0) | (theirs != 0)
    return Agreement(len(ours), int(made.sum()), int((made & (ours != theirs)).sum()))


def wanted_precision(asked: str) -> Precision:
    """The precision asked for; the environment variable PHOTON_TRIAGE_PRECISION stands in for "auto".

    Raises ModelError for another word.
    """
    word = (os.environ.get(VARIABLE) or asked) if asked == "auto" else asked
    if word not in PRECISIONS:
        where = f" of {VARIABLE}" if word != asked else ""
        raise ModelError(f"Cannot compute in {word!r}{where}.", f"Allowed: {', '.join(PRECISIONS)}.")
    return word


def name_of(dtype: torch.dtype) -> str:
    """`float32` for torch.float32."""
    return str(dtype).removeprefix("torch.")
