"""The U-Net of Ronneberger, Fischer & Brox (MICCAI 2015)."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from photon_triage.models.common.errors import ModelError, note_once
from photon_triage.models.common.registry import register
from photon_triage.models.common.tiles import channels_last, mirrored, overlap_tiles, run_in_tiles
from photon_triage.models.cpu.onednn import SUMS, fallback_notice, rectified_sum, sum_refusal

NORM_GROUPS = 8
"""Groups of group normalisation, where the channels can be divided so."""

NORMALISATIONS: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm2d,
    "instance": lambda channels: nn.InstanceNorm2d(channels, affine=True),
    "group": lambda channels: nn.GroupNorm(math.gcd(NORM_GROUPS, channels), channels),
}

PADDINGS = ("same", "valid")

DEEPEST = 12
"""Levels: a pixel of the lowest one is 4096 of the frame."""

LOST = 4
"""Rows and columns that a pair of 3x3 convolutions without padding takes away."""


class UNetConvolution(nn.Module):
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
            if not (reason := sum_refusal()):
                return rectified_sum(parts, weights, self.convolution.bias, (int(self.convolution.padding[0]),) * 2)
            note_once(fallback_notice(SUMS, reason))
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


class UNetConvolutionPair(nn.Module):
    """Two such convolutions, one after the other: what a U-Net has at every level on both sides."""

    def __init__(self, in_channels: int, out_channels: int, padding: int, normalisation: str | None) -> None:
        super().__init__()
        self.first = UNetConvolution(in_channels, out_channels, padding, normalisation)
        self.second = UNetConvolution(out_channels, out_channels, padding, normalisation)

    def forward(self, *parts: Tensor) -> Tensor:
        """Convolve maps (batch, channels, rows, columns) of equal extents twice."""
        maps: Tensor = self.second(self.first(*parts))
        return maps


class UpConvolution(nn.ConvTranspose2d):
    """A 2x2 up-convolution: twice the rows and columns, half the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels // 2, 2, stride=2)


def has_fused_kernel(maps: Tensor, weight: Tensor) -> bool:
    """Whether oneDNN's kernels with an activation are for such values: float32 on the CPU, no gradients, no export."""
    tracked = torch.is_grad_enabled() and (maps.requires_grad or weight.requires_grad)
    return (
        not tracked
        and not torch.compiler.is_compiling()  # Nor exporting: other programs do not know these kernels.
        and maps.device.type == "cpu"
        and maps.dtype == weight.dtype == torch.float32
        and maps.numel() > 0
        and not torch.is_autocast_enabled("cpu")
    )


@register("unet")
class UNet(nn.Module):
    """A U-Net of `depth` levels above the lowest, `width` channels in the first, twice as many in each that follows.

    padding: "same" pads convolutions with zeros, and the output has the input's size; frames whose sides are no
    multiples of 2**depth are mirrored at the right and the bottom and cropped again. "valid" is the published form
    without padding: 572 pixels in, 388 out for depth 4. normalisation: None as published, "batch", "instance" or
    "group", before each ReLU. dropout: of the last level's maps and the lowest's while training. The output is raw:
    logits for classes. Weights begin normal with variance 2 / N for N inputs of a filter, as published; biases begin at
    0. Raises ModelError for a bad argument.
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 2,
        depth: int = 4,
        width: int = 64,
        padding: str = "same",
        normalisation: str | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        counts = {"in_channels": in_channels, "out_channels": out_channels, "depth": depth, "width": width}
        _check_options(counts, padding, normalisation, dropout)
        self.in_channels, self.out_channels, self.depth, self.width = in_channels, out_channels, depth, width
        self.padding, self.normalisation = padding, normalisation
        border = 1 if padding == "same" else 0
        widths = [width * 2**level for level in range(depth + 1)]
        self.down = nn.ModuleList(
            UNetConvolutionPair(*each, border, normalisation) for each in pairwise((in_channels, *widths))
        )
        self.enlarge = nn.ModuleList(UpConvolution(channels) for channels in reversed(widths[1:]))
        self.up = nn.ModuleList(
            UNetConvolutionPair(2 * each, each, border, normalisation) for each in reversed(widths[:-1])
        )
        self.final = nn.Conv2d(width, out_channels, 1)
        self.dropout = nn.Dropout(dropout)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights anew; whatever was learned is lost."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d | UpConvolution):
                # An output of a 2x2 up-convolution with stride 2 has one pixel as its input.
                inputs = module.in_channels * (1 if isinstance(module, UpConvolution) else module.kernel_size[0] ** 2)
                nn.init.normal_(module.weight, std=math.sqrt(2 / inputs))
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    @property
    def architecture(self) -> dict[str, Any]:
        """What a checkpoint needs to build the same network again, through the registry."""
        return {
            "family": "unet",
            "in_channels": self.in_channels,
            "out_channels": self.out_channels,
            "depth": self.depth,
            "width": self.width,
            "padding": self.padding,
            "normalisation": self.normalisation,
            "dropout": self.dropout.p,
        }

    @property
    def multiple(self) -> int:
        """The pixels that the lowest level sees as one: 2**depth."""
        return 1 << self.depth

    @property
    def radius(self) -> int:
        """How many pixels outside of a block aligned to `multiple` the furthest input is that it depends on.

        For "valid", how much smaller the output is at each side: 92 for depth 4.
        """
        if self.padding == "valid":
            return 6 * self.multiple - 4
        first = 0
        for _ in range(self.depth):
            first = (first - 2) // 2
        first -= 2
        for _ in range(self.depth):
            first = 2 * first - 2
        return -first

    def parameter_count(self) -> int:
        """Learnable numbers: weights, biases and what a normalisation learns."""
        return sum(parameter.numel() for parameter in self.parameters())

    def macs(self, height: int, width: int) -> int:
        """Multiply-accumulate operations for one frame. Raises ModelError for a size that cannot be."""
        if self.padding == "same":
            height, width = (-(-side // self.multiple) * self.multiple for side in (height, width))
        else:
            self._check_sides(height, width)
        sides = zip(self._layer_sides(height), self._layer_sides(width), strict=True)
        weights = (each for each in self.parameters() if each.ndim == 4)
        total = 0
        for weight, (rows, columns) in zip(weights, sides, strict=True):
            total += weight.numel() * rows * columns
        return total

    def forward(self, frames: Tensor) -> Tensor:
        """The raw output for every pixel; for "valid" padding, for the inner ones.

        frames: (batch, in_channels, height, width), in the parameters' dtype. Returns (batch, out_channels, height,
        width), for "valid" 2 * radius less of both. Raises ModelError for a shape that does not fit, and then says
        which sizes do.
        """
        self._check_frames(frames)
        height, width = frames.shape[-2:]
        if self.padding == "valid":
            self._check_sides(height, width)
            return self._run(frames)
        return self._run(self._to_multiples(frames))[..., :height, :width]

    def in_tiles(self, frames: Tensor, tile: int) -> Tensor:
        """The output for every pixel, computed in tiles of about `tile` x `tile` pixels with what they depend on.

        For frames whose feature maps do not fit into memory. `tile` is rounded up to what fits the pools; each is
        computed with `radius` pixels about it. The result is that of the whole frame; for "valid" padding that of the
        frame with mirrored surroundings (Ronneberger 2015, figure 2), so that it has the frame's size. Raises
        ModelError for a bad argument, and for a normalisation that depends on the whole frame.
        """
        self._check_frames(frames)
        if self.normalisation in ("instance", "group") or (self.normalisation == "batch" and self.training):
            raise ModelError(
                f"Cannot run this U-Net in tiles: {self.normalisation} normalisation depends on the whole frame.",
                "Run it on whole frames" + ("." if self.normalisation != "batch" else ", or call eval() first."),
            )
        if tile < 1:
            raise ModelError(f"Cannot run a U-Net in tiles of {tile} pixels.", "Use at least one.")
        if self.padding == "valid":
            fitting = max(-(-(tile - LOST) // self.multiple), 1) * self.multiple + LOST
            return overlap_tiles(self._run, frames, fitting, self.radius, self.multiple)
        height, width = frames.shape[-2:]
        aligned = -(-tile // self.multiple) * self.multiple
        result = run_in_tiles(self._run, self._to_multiples(frames), aligned, self.radius, self.multiple)
        return result[..., :height, :width]

    @property
    def representation_size(self) -> int:
        """Numbers of a representation: the channels of the first level."""
        return self.width

    def representation(self, frames: Tensor) -> Tensor:
        """The mean over the frame of what the last 1x1 reads, (batch, representation_size); raises as `forward`."""
        self._check_frames(frames)
        height, width = frames.shape[-2:]
        if self.padding == "valid":
            self._check_sides(height, width)
            return self._maps(frames).mean((-2, -1))
        return self._maps(self._to_multiples(frames))[..., :height, :width].mean((-2, -1))

    def fused(self) -> UNet:
        """A copy for inference with every batch-norm folded into its convolution; it cannot be trained."""
        twin = copy.deepcopy(self).eval()
        for module in twin.modules():
            if isinstance(module, UNetConvolution):
                module.fold_norm()
        if twin.normalisation == "batch":
            twin.normalisation = None
        twin.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return twin.requires_grad_(False)

    def _run(self, frames: Tensor) -> Tensor:
        output: Tensor = self.final(self._maps(frames))
        return output

    def _maps(self, frames: Tensor) -> Tensor:
        """What the last 1x1 reads."""
        maps, skips = channels_last(frames), []
        for level, pair in enumerate(self.down):
            maps = pair(maps)
            if level >= self.depth - 1:
                maps = self.dropout(maps)
            if level < self.depth:
                skips.append(maps)
                maps = functional.max_pool2d(maps, 2)
        for enlarge, pair in zip(self.enlarge, self.up, strict=True):
            maps = enlarge(maps)
            maps = pair(_middle(skips.pop(), maps), maps)
        return maps

    def _layer_sides(self, side: int) -> Iterator[int]:
        """The extents that a layer's weights are applied at, for every layer in the order of the parameters."""
        lost = LOST // 2 if self.padding == "valid" else 0
        lower, upper, inner = [], [], []
        for _ in range(self.depth + 1):
            lower += [side - lost, side - 2 * lost]
            side = (side - 2 * lost) // 2
        side = lower[-1]
        for _ in range(self.depth):
            inner.append(side)
            upper += [2 * side - lost, 2 * side - 2 * lost]
            side = upper[-1]
        return iter([*lower, *inner, *upper, side])

    def _to_multiples(self, frames: Tensor) -> Tensor:
        """The frames, mirrored at the right and the bottom so that their sides are multiples of 2**depth."""
        for axis in (-2, -1):
            side = frames.shape[axis]
            if side % self.multiple:
                grown = torch.arange(-(-side // self.multiple) * self.multiple, device=frames.device)
                frames = frames.index_select(axis, mirrored(grown, side))
        return frames

    def _check_frames(self, frames: Tensor) -> None:
        if frames.ndim != 4 or frames.shape[1] != self.in_channels or 0 in frames.shape:
            raise ModelError(
                f"Cannot run the U-Net on frames of shape {tuple(frames.shape)}.",
                f"Expected (batch, {self.in_channels}, height, width).",
            )
        weight = self.final.weight
        if (frames.device, frames.dtype) != (weight.device, weight.dtype):
            raise ModelError(
                f"Cannot run a U-Net of {weight.dtype} on {weight.device} on {frames.dtype} on {frames.device}.",
                "Move and convert either of them with .to().",
            )

    def _check_sides(self, height: int, width: int) -> None:
        """Raise where pools without padding would meet an odd extent, or nothing would be left."""
        least = 12 * self.multiple - LOST
        for side in (height, width):
            below = (side + LOST) // self.multiple * self.multiple - LOST
            if below == side >= least:
                continue
            fitting = [each for each in (below, below + self.multiple) if each >= least] or [least]
            raise ModelError(
                f"Cannot run a U-Net of depth {self.depth} without padding on {height}x{width} pixels.",
                f"Sides next to {side} that fit: {' or '.join(map(str, fitting))}. Or use in_tiles().",
            )


def _middle(maps: Tensor, like: Tensor) -> Tensor:
    """The middle of the maps, with the extents of another."""
    for axis in (-2, -1):
        more = maps.shape[axis] - like.shape[axis]
        if more:
            maps = maps.narrow(axis, more // 2, like.shape[axis])
    return maps


def _check_options(counts: dict[str, int], padding: str, normalisation: str | None, dropout: float) -> None:
    for name, count in counts.items():
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise ModelError(f"Cannot build a U-Net with {name} {count!r}.", "Expected a whole number from 1.")
    if counts["depth"] > DEEPEST:
        raise ModelError(f"Cannot build a U-Net of depth {counts['depth']}.", f"Allowed: 1 to {DEEPEST}.")
    if padding not in PADDINGS:
        raise ModelError(f"Cannot build a U-Net with padding {padding!r}.", f"Use {' or '.join(PADDINGS)}.")
    if normalisation is not None and normalisation not in NORMALISATIONS:
        raise ModelError(
            f"Cannot build a U-Net with normalisation {normalisation!r}.", f"Use None, {', '.join(NORMALISATIONS)}."
        )
    if isinstance(dropout, bool) or not isinstance(dropout, int | float) or not 0 <= dropout < 1:
        raise ModelError(f"Cannot build a U-Net with dropout {dropout!r}.", "Expected 0 up to, not including, 1.")
