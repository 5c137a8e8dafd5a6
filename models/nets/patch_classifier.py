"""Patch classifiers, and their exact dense form, which scores every position of a frame without cutting patches."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from photon_triage.models.common.errors import ModelError
from photon_triage.models.common.tiles import channels_last
from photon_triage.models.nets.dense import (
    BLOCK_VALUES,
    Windows,
    blocks,
    budget,
    padded_to_vectors,
    pool_at_stride_one,
    tap_matrix,
)

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": torch.relu_, "tanh": torch.tanh_}
"""Activations by name; they work in place."""

AXES = {2: "height, width", 3: "depth, height, width"}

POOLINGS = ("max", "average")

LARGEST_PATCH = 2**22
"""Pixels: 2048 x 2048, or 161 voxels a side."""

MOST_CONVOLUTIONS = 16


@dataclass(frozen=True)
class PatchOptions:
    """The options of LeNetPatch and LeNetPatch3d; `patch` has the pixels along each axis.

    Raises ModelError where they make no network.
    """

    in_channels: int
    classes: int
    patch: Sequence[int]
    widths: Sequence[int]
    kernels: Sequence[int]
    hidden: Sequence[int]
    activation: str
    pooling: str

    def __post_init__(self) -> None:
        """Check the options, and keep sequences as tuples."""
        for name in ("in_channels", "classes"):
            if not _is_size(getattr(self, name)):
                raise _unusable(name, getattr(self, name), "Expected a whole number from 1.")
        for name in ("patch", "widths", "kernels", "hidden"):
            values = getattr(self, name)
            if not isinstance(values, Sequence) or not all(_is_size(value) for value in values):
                raise _unusable(name, values, "Expected whole numbers from 1.")
            object.__setattr__(self, name, tuple(values))
        if math.prod(self.patch) > LARGEST_PATCH or len(self.widths) > MOST_CONVOLUTIONS:
            raise ModelError(
                f"Cannot build a patch classifier with {len(self.widths)} convolutions for patches of "
                f"{math.prod(self.patch):,} pixels.",
                f"Allowed: at most {MOST_CONVOLUTIONS} and {LARGEST_PATCH:,}.",
            )
        if not self.widths or len(self.widths) != len(self.kernels):
            raise ModelError(
                f"Cannot build a patch classifier with {len(self.widths)} widths and {len(self.kernels)} kernels.",
                "Give one of each for every convolution.",
            )
        for name, known in (("activation", tuple(ACTIVATIONS)), ("pooling", POOLINGS)):
            if getattr(self, name) not in known:
                raise _unusable(name, getattr(self, name), f"Use {' or '.join(known)}.")
        if min(self.taps) < 1:
            raise ModelError(
                f"Cannot build a patch classifier: nothing is left of a patch of {sides(self.patch)} pixels behind "
                f"convolutions of {', '.join(map(str, self.kernels))} with a pool after each.",
                "Use larger patches, or fewer or smaller kernels.",
            )

    @property
    def taps(self) -> tuple[int, ...]:
        """What is left of a patch behind the last pool, along each axis: the extents that the full layers see."""
        left = list(self.patch)
        for kernel in self.kernels:
            left = [(extent - kernel + 1) // 2 for extent in left]
        return tuple(left)

    def as_json(self) -> dict[str, Any]:
        """The options as JSON values."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()}


def sides(extents: Sequence[int]) -> str:
    """Extents for people: 512x512."""
    return "x".join(map(str, extents))


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _unusable(name: str, value: object, hint: str) -> ModelError:
    return ModelError(f"Cannot build a patch classifier with {name} {value!r}.", hint)


class PatchClassifier(nn.Module):
    """Convolutions with a 2x2 (x2) pool after each, then full layers: the part that LeNets in 2-D and 3-D share.

    Use LeNetPatch or LeNetPatch3d.
    """

    family: ClassVar[str]
    dimensions: ClassVar[int]

    def __init__(self, options: PatchOptions) -> None:
        super().__init__()
        if len(options.patch) != self.dimensions:
            raise ModelError(
                f"Cannot build a patch classifier for patches of {sides(options.patch)}.",
                f"Give {self.dimensions} sides, or one number.",
            )
        self.options = options
        self.in_channels, self.classes = options.in_channels, options.classes
        convolution = nn.Conv2d if self.dimensions == 2 else nn.Conv3d
        channels = pairwise((options.in_channels, *options.widths))
        self.convolutions = nn.ModuleList(
            convolution(*pair, kernel) for pair, kernel in zip(channels, options.kernels, strict=True)
        )
        values = (options.widths[-1] * math.prod(options.taps), *options.hidden, options.classes)
        self.layers = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(values))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights anew, normal with a variance that keeps that of the signal; biases begin at 0.

        The last layer's weights are a tenth of that: so a training begins near even odds.
        """
        gain = nn.init.calculate_gain("relu" if self.options.activation == "relu" else "tanh")
        weighted = [*self.convolutions, *self.layers]
        for module in weighted:
            assert isinstance(module, nn.Conv2d | nn.Conv3d | nn.Linear) and module.bias is not None
            used = 0.1 if module is weighted[-1] else gain
            nn.init.normal_(module.weight, std=used / math.sqrt(module.weight[0].numel()))
            nn.init.zeros_(module.bias)

    @property
    def architecture(self) -> dict[str, Any]:
        """What a checkpoint needs to build the same network again, through the registry."""
        return {"family": self.family, **self.options.as_json()}

    def parameter_count(self) -> int:
        """Learnable numbers: weights and biases."""
        return sum(parameter.numel() for parameter in self.parameters())

    def forward(self, patches: Tensor) -> Tensor:
        """The logits of patches (n, in_channels, *patch): (n, classes). Raises ModelError for another shape."""
        if tuple(patches.shape[1:]) != (self.in_channels, *self.options.patch):
            raise ModelError(
                f"Cannot classify patches of shape {tuple(patches.shape)}.",
                f"Expected (n, {', '.join(map(str, (self.in_channels, *self.options.patch)))}).",
            )
        self._check_kind(patches)
        flat = self._features(patches, 1, self._pool_in_steps).flatten(1)
        return self._full_layers(functional.linear(flat, self._first.weight, self._first.bias))

    def dense(self, frames: Tensor, mask: Tensor | None = None, fill: float = math.nan) -> Tensor:
        """The logits of the patches that begin at every position, without cutting patches.

        frames: (batch, in_channels, *extents). mask: bool, (batch, *extents) or (*extents), True where the patch about
        that pixel (its pixel patch // 2) counts; or the same in the shape of the result's positions. The full layers,
        nearly all of the work, are then computed at those positions only, and elsewhere stands `fill`.

        Returns (batch, classes, *(extents - patch + 1)); [..., y, x] are the logits of frames[..., y : y + patch,
        x : x + patch] up to rounding, in float32 about 1e-6 of the largest. With a mask they are exactly those without.
        Pools run at stride 1 and dilations double after each, so that a full layer is a dilated convolution. Memory
        beside the result is bounded: large frames are computed in blocks. Raises ModelError for shapes that do not fit.
        """
        self._check_frames(frames)
        counts = tuple(extent - side + 1 for extent, side in zip(frames.shape[2:], self.options.patch, strict=True))
        wanted = None if mask is None else self._wanted(mask, frames, counts)
        margin = tuple(side - 1 for side in self.options.patch)
        values = budget(BLOCK_VALUES[self.dimensions], frames.device) // max(self.options.widths)
        together = max(1, values // math.prod(frames.shape[2:]))
        result = frames.new_full((len(frames), self.classes, *counts), fill)
        for first in range(0, len(frames), together):
            for block in blocks(counts, margin, values):
                part = slice(first, first + together)
                chosen = None if wanted is None else wanted[(part, *block)]
                if chosen is not None and not chosen.any():
                    continue
                grown = (slice(b.start, b.stop + more) for b, more in zip(block, margin, strict=True))
                windows = self._windows(frames[(part, slice(None), *grown)], [b.stop - b.start for b in block])
                target = result[(part, slice(None), *block)].movedim(1, -1)
                if chosen is None:
                    target.copy_(self._at(windows, windows.starts.flatten()).view(target.shape))
                else:
                    target[chosen] = self._at(windows, windows.starts[chosen])
        return result

    @property
    def representation_size(self) -> int:
        """Numbers of a representation: the channels of the last convolution."""
        return self.options.widths[-1]

    def representation(self, frames: Tensor) -> Tensor:
        """The mean over the frame of what the full layers read, (batch, representation_size).

        frames: (batch, in_channels, *extents), no smaller than a patch. Pools go in steps, as on a patch that begins at
        the frame's corner. Raises ModelError for another shape.
        """
        self._check_frames(frames)
        return self._features(frames, 1, self._pool_in_steps).flatten(2).mean(2)

    def macs(self, *extents: int) -> int:
        """Multiply-accumulate operations of the dense form for one frame of `extents` pixels."""
        counts = [extent - side + 1 for extent, side in zip(extents, self.options.patch, strict=True)]
        if min(counts) < 1:
            raise ModelError(
                f"Cannot place patches of {sides(self.options.patch)} on {sides(extents)} pixels.", "Use larger frames."
            )
        total, dilation, left = 0, 1, list(extents)
        for convolution, kernel in zip(self.convolutions, self.options.kernels, strict=True):
            left = [extent - dilation * (kernel - 1) for extent in left]
            total += sum(each.numel() for each in convolution.parameters() if each.ndim > 1) * math.prod(left)
            left, dilation = [extent - dilation for extent in left], 2 * dilation
        weights = sum(each.numel() for each in self.layers.parameters() if each.ndim > 1)
        return total + weights * math.prod(counts)

    def fused(self) -> PatchClassifier:
        """A copy for inference; it cannot be trained. There is no batch-norm to fold."""
        return copy.deepcopy(self).eval().requires_grad_(False)

    @property
    def _first(self) -> nn.Linear:
        first = self.layers[0]
        assert isinstance(first, nn.Linear)
        return first

    def _features(self, maps: Tensor, step: int, pool: Callable[[Tensor, int], Tensor]) -> Tensor:
        """The maps behind the last pool; dilations begin at 1 and are multiplied by `step` after every pool."""
        convolve = functional.conv2d if self.dimensions == 2 else functional.conv3d
        maps, dilation = channels_last(maps), 1
        for layer in self.convolutions:
            assert isinstance(layer, nn.Conv2d | nn.Conv3d)
            maps = convolve(maps, layer.weight, layer.bias, dilation=dilation)
            if self.options.pooling == "max":  # Activations are monotonic, and there is less to do behind the pool.
                maps = ACTIVATIONS[self.options.activation](pool(maps, dilation))
            else:
                maps = pool(ACTIVATIONS[self.options.activation](maps), dilation)
            dilation *= step
        return maps

    def _pool_in_steps(self, maps: Tensor, _: int) -> Tensor:
        pools = (functional.max_pool2d, functional.max_pool3d), (functional.avg_pool2d, functional.avg_pool3d)
        pooled: Tensor = pools[self.options.pooling == "average"][self.dimensions - 2](maps, 2)
        return pooled

    def _windows(self, frames: Tensor, counts: Sequence[int]) -> Windows:
        maps = self._features(frames, 2, lambda x, distance: pool_at_stride_one(x, distance, self.options.pooling))
        return Windows.of(maps, self.options.taps, 2 ** len(self.options.widths), counts)

    def _at(self, windows: Windows, starts: Tensor) -> Tensor:
        """The logits (count, classes) at some positions."""
        layers = list(self._matrices())
        parts = []
        for values in windows.gather(starts):
            for index, (matrix, bias) in enumerate(layers):
                values = ACTIVATIONS[self.options.activation](values) if index else values
                values = torch.baddbmm(bias, values, matrix.expand(len(values), -1, -1))
            parts.append(values[..., : self.classes].flatten(0, 1))
        return torch.cat(parts)[: len(starts)]

    def _matrices(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The weights and the bias of every full layer, for windows."""
        inputs = self._first.in_features
        for layer in self.layers:
            assert isinstance(layer, nn.Linear)
            matrix = layer.weight.t()
            if layer is self._first:
                matrix = tap_matrix(layer.weight, self.options.widths[-1], self.options.taps)
            matrix, bias = padded_to_vectors(matrix, layer.bias, inputs)
            inputs = len(bias)
            yield matrix, bias

    def _full_layers(self, values: Tensor) -> Tensor:
        """What the full layers make of the first one's output."""
        for layer in self.layers[1:]:
            values = layer(ACTIVATIONS[self.options.activation](values))
        return values

    def _wanted(self, mask: Tensor, frames: Tensor, counts: tuple[int, ...]) -> Tensor:
        """The mask in the positions of the result, (batch, *counts)."""
        batch, extents = len(frames), tuple(frames.shape[2:])
        if mask.dtype != torch.bool or tuple(mask.shape) not in (extents, (batch, *extents), counts, (batch, *counts)):
            raise ModelError(
                f"Cannot use a mask of {mask.dtype} and shape {tuple(mask.shape)} on frames of {sides(extents)}.",
                f"Expected torch.bool and ({batch}, {', '.join(map(str, extents))}).",
            )
        if tuple(mask.shape[-self.dimensions :]) != counts:
            mask = self._inner(mask, counts)
        return mask.to(frames.device).expand(batch, *counts)

    def _inner(self, whole: Tensor, counts: tuple[int, ...]) -> Tensor:
        """A view of the pixels about which there is a patch; whole: (..., *extents)."""
        for axis, (side, count) in enumerate(zip(self.options.patch, counts, strict=True), start=-self.dimensions):
            whole = whole.narrow(axis, side // 2, count)
        return whole

    def _check_frames(self, frames: Tensor) -> None:
        if frames.ndim != self.dimensions + 2 or frames.shape[1] != self.in_channels:
            raise ModelError(
                f"Cannot search frames of shape {tuple(frames.shape)}.",
                f"Expected (batch, {self.in_channels}, {AXES[self.dimensions]}).",
            )
        if any(extent < side for extent, side in zip(frames.shape[2:], self.options.patch, strict=True)):
            raise ModelError(
                f"Cannot search frames of {sides(frames.shape[2:])} with patches of "
                f"{sides(self.options.patch)} pixels.",
                "Use larger frames, or a network with smaller patches.",
            )
        self._check_kind(frames)

    def _check_kind(self, values: Tensor) -> None:
        weight = self._first.weight
        if (values.device, values.dtype) != (weight.device, weight.dtype):
            raise ModelError(
                f"Cannot run a network of {weight.dtype} on {weight.device} on {values.dtype} on {values.device}.",
                "Move and convert either of them with .to().",
            )
