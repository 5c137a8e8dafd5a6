"""The mixed-scale dense network of Pelt & Sethian (PNAS 2018) as a module."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from itertools import cycle, islice
from typing import Any

import torch
from torch import Tensor, nn

from photon_triage.models.common.errors import ModelError
from photon_triage.models.common.registry import register
from photon_triage.models.common.tiles import run_in_tiles
from photon_triage.models.msd.canvas import Canvas
from photon_triage.models.msd.features import compute_features, project
from photon_triage.models.msd.gpu import gpu_kernel
from photon_triage.models.msd.gradient import MSDFunction
from photon_triage.models.msd.layout import MsdLayout

DILATIONS = tuple(range(1, 11))
"""The published schedule, repeated until the network is deep enough."""

MOST_CHANNELS = 2048
"""Feature maps, all of which are kept: of a frame of a megapixel 8 GiB."""

PIXELS_AT_ONCE = 1 << 18
"""Small frames are computed together up to this many pixels, larger ones one by one, so that memory is bounded."""


@register("msd")
class MSDNet(nn.Module):
    """A network of `depth` 3x3 layers, each of which reads the input and all layers before it, and a final 1x1.

    in_channels: 1, or the neighbouring slices of a slab. out_channels: classes, or regressed values. width: channels a
    layer adds. dilations: of the layers, repeated as often as needed; 1 to 10 where not given. Borders are mirrored,
    activations are ReLU, the output is raw: logits for classes.

    Filters begin normal with variance 2 / (9 (in_channels + width (depth - 1)) + out_channels), as published for width
    1; biases and the final 1x1 begin at 0. Without gradients, memory is that of the feature maps and a few megabytes;
    with them a little over twice that. Raises ModelError for a bad argument.
    """

    input_mean: Tensor
    input_deviation: Tensor
    """Of the training set, by channel: 0 and 1, but in checkpoints that bring others; `Normalisation` is used today."""
    packing: Tensor
    packed: Tensor | None

    def __init__(
        self,
        depth: int = 100,
        in_channels: int = 1,
        out_channels: int = 2,
        width: int = 1,
        dilations: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        counts = {"depth": depth, "in_channels": in_channels, "out_channels": out_channels, "width": width}
        schedule = _checked_options(counts, DILATIONS if dilations is None else dilations)
        self.depth, self.in_channels, self.out_channels, self.width = depth, in_channels, out_channels, width
        self.dilations = schedule
        self.layout = MsdLayout(in_channels, width, tuple(islice(cycle(schedule), depth)))
        self.weights = nn.Parameter(torch.empty(self.layout.weight_count))
        self.biases = nn.Parameter(torch.empty(depth * width))
        self.final_weight = nn.Parameter(torch.empty(out_channels, self.layout.channels))
        self.final_bias = nn.Parameter(torch.empty(out_channels))
        self.register_buffer("input_mean", torch.zeros(in_channels))
        self.register_buffer("input_deviation", torch.ones(in_channels))
        self.register_buffer("packing", self.layout.packing(), persistent=False)
        self.register_buffer("packed", None, persistent=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights anew; whatever was learned is lost."""
        inputs = self.in_channels + self.width * (self.depth - 1)
        nn.init.normal_(self.weights, std=math.sqrt(2 / (9 * inputs + self.out_channels)))
        for parameter in (self.biases, self.final_weight, self.final_bias):
            nn.init.zeros_(parameter)

    @property
    def architecture(self) -> dict[str, Any]:
        """What a checkpoint needs to build the same network again, through the registry."""
        return {
            "family": "msd",
            "depth": self.depth,
            "in_channels": self.in_channels,
            "out_channels": self.out_channels,
            "width": self.width,
            "dilations": list(self.dilations),
        }

    @property
    def radius(self) -> int:
        """How many pixels away the furthest input is that an output depends on: the sum of the dilations."""
        return self.layout.radius

    def parameter_count(self) -> int:
        """Learnable numbers: weights and biases."""
        return sum(parameter.numel() for parameter in self.parameters())

    def macs(self, height: int, width: int) -> int:
        """Multiply-accumulate operations for one frame."""
        return (self.layout.weight_count + self.final_weight.numel()) * height * width

    def layer_weights(self) -> list[Tensor]:
        """Views of the layers' weights, (width, channels before the layer, 3, 3) each."""
        return list(self.layout.layer_weights(self.weights))

    def forward(self, frames: Tensor) -> Tensor:
        """The raw output for every pixel.

        frames: (batch, in_channels, height, width), any numeric dtype, height and width above the largest dilation.
        Returns (batch, out_channels, height, width) in the parameters' dtype. Raises ModelError for another shape.
        """
        self._check_frames(frames)
        tracked = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (frames, *self.parameters()))
        if not tracked:
            return self._infer(frames)
        mean, deviation = self.input_mean[:, None, None], self.input_deviation[:, None, None]
        normal = (frames.to(self.weights.dtype) - mean) / deviation
        parameters = (self.weights, self.biases, self.final_weight, self.final_bias)
        output: Tensor = MSDFunction.apply(normal, *parameters, self.layout, self.packing)  # type: ignore[no-untyped-call]
        return output

    def in_tiles(self, frames: Tensor, tile: int) -> Tensor:
        """The same output, computed in tiles of `tile` x `tile` pixels with all the surroundings they depend on.

        For frames whose feature maps do not fit into memory. A tile is computed with `radius` pixels around it, 550
        for the published network, so tiles should not be much smaller than that. Raises ModelError for a bad argument.
        """
        self._check_frames(frames)
        return run_in_tiles(self, frames, tile, self.radius)

    @property
    def representation_size(self) -> int:
        """Numbers of a representation: the input's channels and the layers'."""
        return self.layout.channels

    @torch.no_grad()
    def representation(self, frames: Tensor) -> Tensor:
        """The mean over all pixels of what the final 1x1 reads, (batch, representation_size); raises as `forward`."""
        self._check_frames(frames)
        parts = [self._computed(part).interior(0, self.layout.channels).mean((-2, -1)).T for part in _parts(frames)]
        return torch.cat(parts)

    def fused(self) -> MSDNet:
        """A copy for inference with the weights in the order in which they are used; it cannot be trained."""
        twin = copy.deepcopy(self).eval().requires_grad_(False)
        twin.packed = twin.weights[twin.packing]
        return twin

    @torch.no_grad()
    def _infer(self, frames: Tensor) -> Tensor:
        output = self.weights.new_empty(len(frames), self.out_channels, *frames.shape[-2:])
        done = 0
        for part in _parts(frames):
            output[done : done + len(part)] = project(self._computed(part), self.final_weight, self.final_bias)
            done += len(part)
        return output

    def _computed(self, frames: Tensor) -> Canvas:
        """The input, normalised, and what all layers make of it."""
        kernel = gpu_kernel(self.weights)
        size = (frames.shape[-2], frames.shape[-1])
        padding = self.layout.padding if kernel is None else 0
        canvas = Canvas.empty(self.layout.channels, len(frames), size, padding, self.weights)
        values = canvas.interior(0, self.in_channels)
        values.copy_(frames.transpose(0, 1))
        values.sub_(self.input_mean[:, None, None, None]).div_(self.input_deviation[:, None, None, None])
        if kernel is None:
            packed = self.weights[self.packing] if self.packed is None else self.packed
            compute_features(canvas, self.layout, self.layout.matrices(packed), self.biases)
        else:
            kernel.compute_features(canvas, self.layout, self.weights, self.biases)
        return canvas

    def _check_frames(self, frames: Tensor) -> None:
        if frames.ndim != 4 or frames.shape[1] != self.in_channels or len(frames) == 0:
            raise ModelError(
                f"Cannot run the MS-D network on frames of shape {tuple(frames.shape)}.",
                f"Expected (batch, {self.in_channels}, height, width).",
            )
        if min(frames.shape[-2:]) <= self.layout.padding:
            raise ModelError(
                f"Cannot run the MS-D network on frames of {frames.shape[-2]}x{frames.shape[-1]} pixels: "
                f"a dilation of {self.layout.padding} mirrors that many pixels at the border.",
                f"Use frames of at least {self.layout.padding + 1} pixels a side, or smaller dilations.",
            )
        if frames.device != self.weights.device:
            raise ModelError(
                f"Cannot run the MS-D network on {self.weights.device} on frames on {frames.device}.",
                "Move the frames to the network's device.",
            )


def _parts(frames: Tensor) -> tuple[Tensor, ...]:
    """The frames, as many at a time as are computed together."""
    return torch.split(frames, max(1, PIXELS_AT_ONCE // math.prod(frames.shape[-2:])))


def _checked_options(counts: dict[str, int], dilations: Sequence[int]) -> tuple[int, ...]:
    """The dilations; raises ModelError where one of the counts or they make no sense."""
    for name, value in counts.items():
        if not isinstance(value, int) or value < 1:
            raise ModelError(f"Cannot build an MS-D network with {name}={value!r}.", "Expected a whole number above 0.")
    channels = counts["in_channels"] + counts["depth"] * counts["width"]
    if channels > MOST_CHANNELS:
        raise ModelError(
            f"Cannot build an MS-D network of {channels:,} feature maps.",
            f"Allowed: at most {MOST_CHANNELS:,}, of the input and of depth times width.",
        )
    is_list = isinstance(dilations, Sequence) and len(dilations) > 0
    if not is_list or not all(isinstance(dilation, int) and dilation > 0 for dilation in dilations):
        raise ModelError(
            f"Cannot build an MS-D network with dilations={dilations!r}.", "Expected whole numbers above 0."
        )
    return tuple(dilations)
