"""Networks written in plain operations, for programs that know no others."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from photon_triage.models.msd import MSDNet


class PlainMSD(nn.Module):
    """An MS-D network as in the paper: every layer convolves all maps before it, put together."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, model: MSDNet) -> None:
        super().__init__()
        self.dilations = tuple(model.layout.dilations)
        weights = [weight.detach().clone() for weight in model.layer_weights()]
        self.weights = nn.ParameterList(nn.Parameter(weight, requires_grad=False) for weight in weights)
        biases = torch.split(model.biases.detach().clone(), model.width)
        self.biases = nn.ParameterList(nn.Parameter(bias, requires_grad=False) for bias in biases)
        self.final_weight = nn.Parameter(model.final_weight.detach()[:, :, None, None].clone(), requires_grad=False)
        self.final_bias = nn.Parameter(model.final_bias.detach().clone(), requires_grad=False)
        self.register_buffer("mean", model.input_mean[:, None, None].clone())
        self.register_buffer("deviation", model.input_deviation[:, None, None].clone())

    def forward(self, frames: Tensor) -> Tensor:
        """(batch, in_channels, height, width) to (batch, out_channels, height, width)."""
        maps = (frames - self.mean) / self.deviation
        for weight, bias, dilation in zip(self.weights, self.biases, self.dilations, strict=True):
            padded = functional.pad(maps, (dilation,) * 4, mode="reflect")
            maps = torch.cat([maps, functional.conv2d(padded, weight, bias, dilation=dilation).relu()], dim=1)
        return functional.conv2d(maps, self.final_weight, self.final_bias)


def plain_form(model: nn.Module) -> nn.Module:
    """The model for inference in operations that other programs know too: in evaluation mode, batch-norm folded in."""
    if isinstance(model, MSDNet):
        return PlainMSD(model).eval()
    fuse = getattr(model, "fused", None)
    twin: nn.Module = model if fuse is None else fuse()
    return twin.eval()
