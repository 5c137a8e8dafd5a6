"""Networks on a device in a precision: which devices there are, and when bfloat16 can stand in for float32."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch
from torch import Tensor, nn

from photon_triage.models.common.errors import ModelError, note_once
from photon_triage.models.cpu.packing import pack_convolutions, packing_refusal
from photon_triage.models.darknet.layers import Convolution

BACKENDS = ("cuda", "mps", "cpu")
"""The fastest first."""

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

TRIAL_TOLERANCE = 0.05
"""Share of the largest value by which bfloat16 may differ in a trial: two layers with 8 bits of precision give 0.01."""


class Network:
    """A copy of a model that runs on a device, in a precision."""

    def __init__(self, model: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
        fuse = getattr(model, "fused", None)
        twin: nn.Module = copy.deepcopy(model) if fuse is None else fuse()
        twin = twin.eval().requires_grad_(False).to(device=device, dtype=dtype)
        self.channels_last = device.type in ("cpu", "cuda") and getattr(model, "channels_last", True)
        if self.channels_last:
            for parameter in twin.parameters():
                # Module.to() cannot where weights of 3-D convolutions are among them.
                if parameter.ndim == 4:
                    parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        if device.type == "cpu":
            pack_convolutions(twin)
        self.module, self.device, self.dtype = twin, device, dtype

    @torch.inference_mode()
    def __call__(self, batch: Tensor) -> list[Tensor]:
        """The raw outputs in float32."""
        moved = batch.to(device=self.device, dtype=self.dtype, non_blocking=True)
        if self.channels_last and moved.ndim == 4:
            moved = moved.contiguous(memory_format=torch.channels_last)
        outputs = self.module(moved)
        return [output.float() for output in ([outputs] if isinstance(outputs, Tensor) else outputs)]


def best_device(request: str | None = None) -> torch.device:
    """The device to run on: what `request` names, such as "cpu" or "cuda:1", else the fastest there is.

    Raises ModelError where the request names no device of this machine.
    """
    if request is None or request == "auto":
        return torch.device(next(backend for backend in BACKENDS if _device_count(backend)))
    hint = f"Available: auto, {', '.join(_available_devices())}."
    try:
        device = torch.device(request)
    except RuntimeError as error:
        raise ModelError(f"Cannot run on {request!r}: no such kind of device.", hint) from error
    if device.type not in BACKENDS or (device.index or 0) >= _device_count(device.type):
        raise ModelError(f"Cannot run on {request!r}: this machine or this torch has no such device.", hint)
    return device


def _device_count(backend: str) -> int:
    if backend == "cuda":
        return torch.cuda.device_count() if torch.cuda.is_available() else 0
    if backend == "mps":
        return int(torch.backends.mps.is_available())
    return 1


def _available_devices() -> list[str]:
    counts = {backend: _device_count(backend) for backend in BACKENDS}
    return [name for name, count in counts.items() if count == 1] + [
        f"{name}:{index}" for name, count in counts.items() if count > 1 for index in range(count)
    ]


@dataclass(frozen=True)
class DecisionAgreement:
    """How two forms of a network decide on the same frames.

    made: decisions for something by either. differing: those of them where the other decided otherwise.
    """

    frames: int = 0
    made: int = 0
    differing: int = 0

    def __add__(self, other: DecisionAgreement) -> DecisionAgreement:
        return DecisionAgreement(self.frames + other.frames, self.made + other.made, self.differing + other.differing)

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


def compare_outputs(reference: list[Tensor], candidate: list[Tensor], decide: Decide) -> DecisionAgreement:
    """How the outputs of two forms of a network decide."""
    ours, theirs = decide(reference), decide(candidate)
    if ours.is_floating_point() or ours.shape != theirs.shape or ours.ndim == 0:
        raise ModelError(
            f"Cannot compare decisions of {ours.dtype}, shapes {tuple(ours.shape)} and {tuple(theirs.shape)}.",
            "Expected bool or whole numbers, one or more a frame.",
        )
    theirs = theirs.to(ours.device)
    made = (ours != 0) | (theirs != 0)
    return DecisionAgreement(len(ours), int(made.sum()), int((made & (ours != theirs)).sum()))


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


@cache
def bfloat16_refusal(device: torch.device) -> str:
    """Reason why networks cannot be computed in bfloat16 on a device, "" where they can.

    Two small convolutions are computed as those of a network are. Flags of the processor do not tell: which
    instructions the operators need differs between versions of torch and oneDNN.
    """
    if device.type == "cpu" and not packing_refusal(torch.float32) and (reason := packing_refusal(torch.bfloat16)):
        # torch would convert to float32 and back around every convolution: slower than float32 alone.
        return reason
    generator = torch.Generator().manual_seed(0)
    trial = nn.Sequential(
        Convolution(3, 16, 3, 1, 1, 1, "leaky", False), Convolution(16, 8, 1, 1, 0, 1, "linear", False)
    )
    with torch.no_grad():
        for parameter in trial.parameters():
            parameter.normal_(std=0.2, generator=generator)
    frames = torch.rand(2, 3, 8, 8, generator=generator)
    outputs: list[Tensor] = []
    if reason := failure_of(lambda: outputs.extend(Network(trial, device, torch.bfloat16)(frames))):
        return reason
    (expected,) = Network(trial, device, torch.float32)(frames)
    difference = float((outputs[0] - expected).abs().max() / expected.abs().max())
    return "" if difference < TRIAL_TOLERANCE else f"the results of a trial differ from float32 by {difference:.0%}"


def precision_notice(device: torch.device) -> str:
    """Notice that PHOTON_TRIAGE_PRECISION requests what the device cannot compute in; "" where there is none.

    Raises ModelError where the variable holds another word than those allowed.
    """
    reason = bfloat16_refusal(device) if wanted_precision("auto") == "bfloat16" else ""
    return reason and (
        f"{VARIABLE}=bfloat16 has no effect: {device} cannot compute in bfloat16 ({reason}), float32 is used."
    )


def failure_of(call: Callable[[], object]) -> str:
    """Reason why a computation failed, "" where it did not.

    Exhausted memory is no such reason: it says nothing of the precision, and smaller batches are tried then.
    """
    try:
        call()
    except torch.OutOfMemoryError:
        return ""
    except Exception as error:  # of which type depends on the library that refuses: torch, oneDNN, cuDNN, triton
        return next(iter(str(error).splitlines()), "") or type(error).__name__
    return ""


def warn_of_fallback(device: torch.device, reason: str) -> None:
    """Log the warning that float32 is used instead."""
    note_once(f"float32 is used on {device} in place of bfloat16: {reason}")
