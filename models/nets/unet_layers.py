"""The U-Net's layers: 3x3 convolutions that read several feature maps, and 2x2 up-convolutions."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

NORM_GROUPS = 8
"""Groups of group normalisation, where the channels can be divided so."""

NORMALISATIONS: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm2d,
    "instance": lambda channels: nn.InstanceNorm2d(channels, affine=True),
    "group": lambda channels: nn.GroupNorm(math.gcd(NORM_GROUPS, channels), channels),
}


class Convolution(nn.Module):
    """A 3x3 convolution, normalisation where wanted, ReLU.

    It reads one feature map or several as if they were concatenated, without concatenating them: a convolution is the
    sum of those of its parts. So the skip connections cost no copies.
    """

    def __init__(self, in_channels: int, out_channels: int, padding: int, normalisation: str | None) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(in_channels, out_channels, 3, padding=padding, bias=normalisation is None)
        self.norm = None if normalisation is None else NORMALISATIONS[normalisation](out_channels)

    def forward(self, *parts: Tensor) -> Tensor:
        """Convolve, normalise and activate maps (batch, channels, rows, columns) of equal extents."""
        weights = torch.split(self.convolution.weight, [part.shape[1] for part in parts], dim=1)
        if self.norm is None and has_fused_kernel(parts[0], self.convolution.weight):
            return self._in_one_kernel(parts, weights)
        padding = self.convolution.padding[0]
        maps = functional.conv2d(parts[0], weights[0], self.convolution.bias, padding=int(padding))
        for part, weight in zip(parts[1:], weights[1:], strict=True):
            maps = maps.add_(functional.conv2d(part, weight, padding=int(padding)))
        return torch.relu_(maps if self.norm is None else self.norm(maps))

    def fold_norm(self) -> None:
        """Turn a batch-norm's running statistics into the convolution's weights and a bias, in place."""
        norm = self.norm
        if not isinstance(norm, nn.BatchNorm2d) or norm.running_mean is None or norm.running_var is None:
            return
        with torch.no_grad():
            factor = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            self.convolution.weight.mul_(factor[:, None, None, None])
            self.convolution.bias = nn.Parameter(norm.bias - norm.running_mean * factor)
        self.norm = None

    def _in_one_kernel(self, parts: tuple[Tensor, ...], weights: tuple[Tensor, ...]) -> Tensor:
        """The same with sums and ReLU done by the convolutions' own kernels, while the values are at hand."""
        kernels = torch.ops.mkldnn
        geometry = (list(self.convolution.padding), [1, 1], [1, 1], 1)
        ends = ["none"] * (len(parts) - 1) + ["relu"]
        bias = self.convolution.bias
        maps: Tensor = kernels._convolution_pointwise(parts[0], weights[0], bias, *geometry, ends[0], [], "")
        for part, weight, end in zip(parts[1:], weights[1:], ends[1:], strict=True):
            activation = None if end == "none" else end
            maps = kernels._convolution_pointwise_(
                maps, part, weight, None, *geometry, "add", 1.0, activation, [], None
            )
        return maps


class Pair(nn.Module):
    """Two such convolutions, one after the other: what a U-Net has at every level on both sides."""

    def __init__(self, in_channels: int, out_channels: int, padding: int, normalisation: str | None) -> None:
        super().__init__()
        self.first = Convolution(in_channels, out_channels, padding, normalisation)
        self.second = Convolution(out_channels, out_channels, padding, normalisation)

    def forward(self, *parts: Tensor) -> Tensor:
        """Convolve maps (batch, channels, rows, columns) of equal extents twice."""
        maps: Tensor = self.second(self.first(*parts))
        return maps


class UpConvolution(nn.ConvTranspose2d):
    """A 2x2 up-convolution: twice the rows and columns, half the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels // 2, 2, stride=2)


def has_fused_kernel(maps: Tensor, weight: Tensor) -> bool:
    """Whether oneDNN's kernels with an activation can be used: float32 on the CPU, no gradients wanted, no export."""
    tracked = torch.is_grad_enabled() and (maps.requires_grad or weight.requires_grad)
    return (
        not tracked
        and not torch.compiler.is_compiling()  # Nor exporting: other programs do not know these kernels.
        and maps.device.type == "cpu"
        and maps.dtype == weight.dtype == torch.float32
        and maps.numel() > 0
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and not torch.is_autocast_enabled("cpu")
        and hasattr(torch.ops.mkldnn, "_convolution_pointwise")
    )
