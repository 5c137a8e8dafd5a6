"""Convolutions of a network made ready for a CPU: weights laid out once, activations within, fewer multiplications."""

from __future__ import annotations

import torch
from torch import nn

from photon_triage.models.cpu import onednn
from photon_triage.models.cpu.onednn import PackedConvolution
from photon_triage.models.cpu.winograd import WinogradConvolution
from photon_triage.models.darknet.layers import ACTIVATIONS, LEAKY_SLOPE, Convolution

FUSED: dict[str, tuple[str, list[float], str]] = {
    "linear": onednn.PLAIN,
    "relu": ("relu", [], ""),
    "leaky": ("leaky_relu", [LEAKY_SLOPE], ""),
}
"""Activations that oneDNN applies within the convolution, by their cfg name."""

WINOGRAD_CHANNELS, WINOGRAD_FILTERS = 128, 256
"""From this many on Winograd's transforms cost less than the multiplications they save."""


def pack_convolutions(network: nn.Module) -> None:
    """Replace the Darknet convolutions in `network`, a fused copy on a CPU, by faster ones that compute the same.

    Nothing is changed where this torch lacks what it takes.
    """
    if not onednn.is_available():
        return
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, Convolution) and child.norm is None:
                setattr(parent, name, _packed(child))


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
