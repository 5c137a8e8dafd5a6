"""The MS-D network written as in the paper: every layer a convolution of the concatenation of all before it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from photon_triage.models.msd import MSDNet


def plain(model: MSDNet, frames: Tensor) -> Tensor:
    """The network's output by torch.cat, layer by layer."""
    maps = (frames - model.input_mean[:, None, None]) / model.input_deviation[:, None, None]
    biases = torch.split(model.biases, model.width)
    for weight, bias, dilation in zip(model.layer_weights(), biases, model.layout.dilations, strict=True):
        padded = functional.pad(maps, (dilation,) * 4, mode="reflect")
        maps = torch.cat([maps, functional.conv2d(padded, weight, bias, dilation=dilation).relu()], dim=1)
    return functional.conv2d(maps, model.final_weight[:, :, None, None], model.final_bias)


def random_model(seed: int = 0, **options: Any) -> MSDNet:
    """A network whose biases and final 1x1 are not zero, so that they show in the output."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    model = MSDNet(**options)
    with torch.no_grad():
        for parameter in (model.biases, model.final_weight, model.final_bias):
            parameter.normal_(std=0.1, generator=generator)
    return model


def relative_difference(found: Tensor, expected: Tensor) -> float:
    """The largest difference as a share of the largest value."""
    return float((found.detach() - expected.detach()).abs().max() / expected.detach().abs().max())
