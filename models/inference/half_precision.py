"""bfloat16 where it cannot be computed: a trial that tells, and the notice that float32 is used instead."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, nn

from photon_triage.models.darknet.layers import Convolution
from photon_triage.models.inference.precision import VARIABLE, wanted_precision
from photon_triage.models.inference.prepared_network import Network

log = logging.getLogger("photon_triage.models")

TRIAL_TOLERANCE = 0.05
"""Share of the largest value by which bfloat16 may differ in a trial: two layers with 8 bits of precision give 0.01."""


@cache
def bfloat16_refusal(device: torch.device) -> str:
    """Reason why networks cannot be computed in bfloat16 on a device, "" where they can.

    Two small convolutions are computed as those of a network are. Flags of the processor do not tell: which
    instructions the operators need differs between versions of torch and oneDNN.
    """
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
    _warn_once(f"float32 is used on {device} in place of bfloat16: {reason}")


@cache
def _warn_once(notice: str) -> None:
    """Log a warning, once in a process: every network says the same."""
    log.warning("%s", notice)
