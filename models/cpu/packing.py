"""Packing: a network's convolutions replaced by faster ones on a CPU, once they proved right on this machine."""

from __future__ import annotations

import logging
from functools import cache

import torch
from torch import Tensor, nn

from photon_triage.models.cpu.onednn import PLAIN, PackedConvolution
from photon_triage.models.cpu.winograd import LARGE_MAP, WinogradConvolution
from photon_triage.models.darknet.layers import ACTIVATIONS, LEAKY_SLOPE, Convolution

log = logging.getLogger("photon_triage.models")

FUSED: dict[str, tuple[str, list[float], str]] = {
    "linear": PLAIN,
    "relu": ("relu", [], ""),
    "leaky": ("leaky_relu", [LEAKY_SLOPE], ""),
}
"""Activations that oneDNN applies within the convolution, by their cfg name."""

WINOGRAD_CHANNELS, WINOGRAD_FILTERS = 128, 256
"""From this many on Winograd's transforms cost less than the multiplications they save."""

TRIALS: tuple[tuple[int, int, int, int, str, int], ...] = (
    (3, 16, 3, 1, "leaky", 12),
    (32, 48, 1, 1, "linear", 7),
    (32, 16, 3, 2, "relu", 9),
    (16, 16, 3, 1, "mish", 6),
    (WINOGRAD_CHANNELS, WINOGRAD_FILTERS, 3, 1, "leaky", LARGE_MAP),
    (WINOGRAD_CHANNELS, WINOGRAD_FILTERS, 3, 1, "leaky", LARGE_MAP // 2 - 1),
)
"""Convolutions of the self-check: channels, filters, size, stride, activation, rows and columns.

Each form that a convolution can be packed into is among them: every fused activation and one that is not, and
Winograd's method with both sizes of tiles.
"""

TOLERANCES = {torch.float32: 1e-4, torch.bfloat16: 2.0**-7}
"""Error allowed in the self-check, relative to the largest value of the exact result.

float32: Winograd's transforms lose up to a factor of ten against a plain convolution, whose error is about 1e-6.
bfloat16: both the sum and its activation are rounded to 8 bits, 2^-9 each; twice that is allowed.
"""


def pack_convolutions(network: nn.Module) -> None:
    """Replace the Darknet convolutions in `network`, a fused copy on a CPU, by faster ones that compute the same.

    Nothing is changed, and that is logged, where the faster ones fail their self-check.
    """
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, Convolution) and child.norm is None:
                dtype = child.convolution.weight.dtype
                if reason := packing_refusal(dtype):
                    _note_once(_notice(dtype, reason))
                else:
                    setattr(parent, name, _packed(child))


@cache
def packing_refusal(dtype: torch.dtype) -> str:
    """Reason why convolutions of a type are not packed in this process, "" where packed ones proved right.

    The operators are no documented part of torch, and what they run depends on torch, oneDNN and the processor: so
    they are tried, against convolutions in float64.
    """
    if dtype not in TOLERANCES:
        return "it is neither float32 nor bfloat16"
    generator = torch.Generator().manual_seed(0)
    try:
        with torch.inference_mode():
            for trial in TRIALS:
                error = _trial_error(*trial, dtype, generator)
                if not error <= TOLERANCES[dtype]:  # NaN is an error too
                    channels, filters, size, *_ = trial
                    return f"a {size}x{size} convolution of {channels} to {filters} channels is off by {error:.1%}"
    except Exception as error:  # of which type depends on what refuses: torch, its operators' schemas, oneDNN
        return next(iter(str(error).splitlines()), "") or type(error).__name__
    return ""


def packing_notice(device: torch.device) -> str:
    """Notice that networks run slower on the device than they could; "" where there is none."""
    reason = packing_refusal(torch.float32) if device.type == "cpu" else ""
    return reason and _notice(torch.float32, reason)


def _trial_error(
    channels: int, filters: int, size: int, stride: int, activation: str, side: int,
    dtype: torch.dtype, generator: torch.Generator,
) -> float:  # fmt: skip
    """Error of a packed convolution of random weights, relative to the largest value of the exact result."""
    layer = Convolution(channels, filters, size, stride, size // 2, 1, activation, normalize=False)
    layer.requires_grad_(False)
    assert layer.convolution.bias is not None
    layer.convolution.weight.normal_(std=(channels * size * size) ** -0.5, generator=generator)
    layer.convolution.bias.normal_(generator=generator)
    layer.to(dtype)
    frames = torch.randn(2, channels, side, side, generator=generator).to(dtype)
    frames = frames.contiguous(memory_format=torch.channels_last)
    found: Tensor = _packed(layer)(frames)
    exact = layer.double()(frames.double())
    if found.shape != exact.shape:
        return float("inf")
    return float((found.double() - exact).abs().max() / exact.abs().max())


def _packed(layer: Convolution) -> nn.Module:
    convolution, function = layer.convolution, ACTIVATIONS[layer.activation]
    geometry = (convolution.kernel_size, convolution.stride, convolution.padding, convolution.groups)
    if (
        geometry == ((3, 3), (1, 1), (1, 1), 1)
        and convolution.in_channels >= WINOGRAD_CHANNELS
        and convolution.out_channels >= WINOGRAD_FILTERS
        and convolution.weight.dtype == torch.float32
        and convolution.bias is not None
    ):
        return WinogradConvolution(convolution.weight, convolution.bias, function)
    fused = FUSED.get(layer.activation)
    if fused is None:
        return PackedConvolution(convolution, function)
    return PackedConvolution(convolution, None, fused)


def _notice(dtype: torch.dtype, reason: str) -> str:
    name = str(dtype).removeprefix("torch.")
    return (
        f"Convolutions in {name} are not packed on this CPU: the self-check failed ({reason}). "
        "Results are the same, networks run slower."
    )


@cache
def _note_once(notice: str) -> None:
    """Log a warning, once in a process: every network says the same."""
    log.warning("%s", notice)
