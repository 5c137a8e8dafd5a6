"""Packing: a network's convolutions replaced by faster ones on a CPU, once they proved right on this machine."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, nn

from photon_triage.models.common.errors import note_once
from photon_triage.models.cpu.onednn import (
    FLOAT32_TOLERANCE,
    PLAIN,
    SUMS,
    PackedConvolution,
    fallback_notice,
    first_failure,
    sum_refusal,
)
from photon_triage.models.cpu.winograd import LARGE_MAP, WinogradConvolution
from photon_triage.models.darknet.layers import ACTIVATIONS, LEAKY_SLOPE, Convolution

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

TOLERANCES = {torch.float32: FLOAT32_TOLERANCE, torch.bfloat16: 2.0**-7}
"""Error allowed in the self-check, relative to the largest value of the exact result.

bfloat16: the sum and what its activation gives are rounded to 8 bits, 2^-8 each.
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
                    note_once(_notice(dtype, reason))
                else:
                    setattr(parent, name, _packed(child))


@cache
def packing_refusal(dtype: torch.dtype) -> str:
    """Reason why convolutions of a type are not packed in this process, "" where packed ones proved right."""
    if dtype not in TOLERANCES:
        return "they take neither float32 nor bfloat16"
    generator = torch.Generator().manual_seed(0)
    return first_failure([_trial(*trial, dtype, generator) for trial in TRIALS], TOLERANCES[dtype])


def cpu_notices(device: torch.device) -> list[str]:
    """Notices that networks run slower on the device than they could."""
    if device.type != "cpu":
        return []
    packing, sums = packing_refusal(torch.float32), sum_refusal()
    return [
        *([_notice(torch.float32, packing)] if packing else []),
        *([fallback_notice(SUMS, sums)] if sums else []),
    ]


def _trial(
    channels: int, filters: int, size: int, stride: int, activation: str, side: int,
    dtype: torch.dtype, generator: torch.Generator,
) -> tuple[str, Callable[[], tuple[Tensor, Tensor]]]:  # fmt: skip
    """A packed convolution of random weights and the same one in float64."""

    def compute() -> tuple[Tensor, Tensor]:
        layer = Convolution(channels, filters, size, stride, size // 2, 1, activation, normalize=False)
        layer.requires_grad_(False)
        assert layer.convolution.bias is not None
        layer.convolution.weight.normal_(std=(channels * size * size) ** -0.5, generator=generator)
        layer.convolution.bias.normal_(generator=generator)
        layer.to(dtype)
        frames = torch.randn(2, channels, side, side, generator=generator).to(dtype)
        found: Tensor = _packed(layer)(frames.contiguous(memory_format=torch.channels_last))
        return found, layer.double()(frames.double())

    return f"a {size}x{size} convolution of {channels} to {filters} channels", compute


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
    return fallback_notice(f"Packed convolutions in {str(dtype).removeprefix('torch.')}", reason)
