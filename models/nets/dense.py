"""The parts of a patch classifier's dense form: pools at stride 1, and full layers on gathered windows of the features.

A full layer behind a feature map is a convolution whose kernel covers the map. Computed as one matrix product over
windows that were gathered first, it can be had at any positions, and costs nothing elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional

CPU_ROWS = 512
"""Windows in one matrix product on a CPU, where each core does products of its own, in its own cache."""

WINDOW_VALUES = 1 << 23
"""Gathered values at a time on the CPU, 32 MiB in float32: enough products that cores seldom wait for each other."""

BLOCK_VALUES = {2: 1 << 24, 3: 1 << 26}
"""Values of a layer's maps at a time on the CPU by dimensions, 64 and 256 MiB in float32.

Blocks of a volume need more: the smaller they are, the more of them is margin."""

GPU_FACTOR = 32
"""A GPU wants larger pieces, and has the memory for them."""


def pool_at_stride_one(maps: Tensor, distance: int, pooling: str) -> Tensor:
    """The largest value or the mean of 2 x 2 (x 2) values that lie `distance` apart, at every position.

    maps: (batch, channels, *extents). Returns (batch, channels, *(extents - distance)). One axis after the other: ten
    times as fast as torch's pools at stride 1.
    """
    for axis in range(2, maps.ndim):
        extent = maps.shape[axis] - distance
        near, far = maps.narrow(axis, 0, extent), maps.narrow(axis, distance, extent)
        maps = torch.maximum(near, far) if pooling == "max" else (near + far) / 2
    return maps


@dataclass(frozen=True)
class Windows:
    """The windows of dilated kernels over feature maps, ready to be gathered.

    A kernel's taps along the last axis lie side by side in memory: `runs` (starts, taps * channels) is a view of them
    that begins at every position. `offsets`: from a window's first run to each of its runs. `starts`: (batch, *extents)
    the first run of the window at every output position.
    """

    runs: Tensor
    offsets: Tensor
    starts: Tensor

    @classmethod
    def of(cls, maps: Tensor, taps: Sequence[int], dilation: int, extents: Sequence[int]) -> Windows:
        """Lay out maps (batch, channels, *spatial) for kernels of `taps`, at the first `extents` positions."""
        batch, channels, *spatial = maps.shape
        columns = -(-spatial[-1] // dilation)
        padded = functional.pad(maps.movedim(1, -1), (0, 0, 0, columns * dilation - spatial[-1]))
        # Columns 0, d, 2d, ... become neighbours, then 1, d + 1, ...
        phases = padded.reshape(batch, *spatial[:-1], columns, dilation, channels).transpose(-3, -2).contiguous()
        count = phases.numel() // channels
        runs = phases.as_strided((count - taps[-1] + 1, taps[-1] * channels), (channels, 1))

        def steps(number: int, step: int, behind: Tensor) -> Tensor:
            along = step * torch.arange(number, device=maps.device)
            return along.reshape(-1, *[1] * behind.ndim) + behind

        last = torch.arange(extents[-1], device=maps.device)
        starts = last % dilation * columns + last // dilation
        offsets = torch.zeros((), dtype=torch.int64, device=maps.device)
        pitch = columns * dilation
        for axis in reversed(range(len(spatial) - 1)):
            starts = steps(extents[axis], pitch, starts)
            offsets = steps(taps[axis], pitch * dilation, offsets)
            pitch *= spatial[axis]
        return cls(runs, offsets.flatten(), steps(batch, pitch, starts))

    def gather(self, starts: Tensor) -> Iterator[Tensor]:
        """The windows that begin at `starts` (count,), as matrices (products, rows, taps * channels).

        They always have the same shape, and are filled up with copies of the first window: products may round
        differently in another shape, and what is computed at a position must not depend on which others are asked for.
        Without gradients the matrices share one memory: use each before the next.
        """
        width = len(self.offsets) * self.runs.shape[1]
        most = max(1, budget(WINDOW_VALUES, self.runs.device) // width)
        everywhere = self.starts.numel()
        rows = 1 << (min(most, everywhere) - 1).bit_length()
        if self.runs.device.type == "cpu":
            rows = min(rows, CPU_ROWS)
        products = max(1, min(most, everywhere) // rows)
        filled = functional.pad(starts, (0, -len(starts) % (products * rows)))
        memory = None
        if not torch.is_grad_enabled():
            memory = self.runs.new_empty(products * rows * len(self.offsets), self.runs.shape[1])
        for part in filled.view(-1, products * rows):
            indices = (part[:, None] + self.offsets).flatten()
            yield torch.index_select(self.runs, 0, indices, out=memory).view(products, rows, width)


def tap_matrix(weight: Tensor, channels: int, taps: Sequence[int]) -> Tensor:
    """A full layer's weights (outputs, channels * taps) in the order of windows, (taps * channels, outputs)."""
    kernel = weight.reshape(-1, channels, *taps)
    return kernel.permute(*range(2, kernel.ndim), 1, 0).reshape(-1, len(kernel))


def padded_to_vectors(matrix: Tensor, bias: Tensor, inputs: int) -> tuple[Tensor, Tensor]:
    """The matrix (values, outputs) and bias with zeros so that it takes `inputs` and its outputs are a multiple of 16.

    Matrix products are a tenth faster then.
    """
    more = -matrix.shape[1] % 16
    return functional.pad(matrix, (0, more, 0, inputs - len(matrix))), functional.pad(bias, (0, more))


def blocks(extents: Sequence[int], margin: Sequence[int], values: int) -> list[tuple[slice, ...]]:
    """Boxes that tile `extents`; each has, with `margin` more along every axis, at most `values` positions.

    The longest axis is halved until that holds, or until the boxes are as small as their margins: then smaller ones
    would only repeat work.
    """
    sizes = list(extents)
    while math.prod(size + more for size, more in zip(sizes, margin, strict=True)) > values:
        longest = max(range(len(sizes)), key=lambda axis: sizes[axis] - margin[axis])
        if sizes[longest] <= max(margin[longest], 1):
            break
        sizes[longest] = -(-sizes[longest] // 2)
    axes = [
        [slice(start, min(start + size, extent)) for start in range(0, extent, size)]
        for size, extent in zip(sizes, extents, strict=True)
    ]
    return list(product(*axes))


def budget(values: int, device: torch.device) -> int:
    """How many values to hold at a time on `device`, where `values` are right for a CPU."""
    return values if device.type == "cpu" else GPU_FACTOR * values
