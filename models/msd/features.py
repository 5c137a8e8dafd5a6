"""The feature maps of an MS-D network, by matrix products over blocks of layers.

For a block of about ten layers one matrix product (9 taps · layers, channels) x (channels, pixels) gives what each tap
of each layer contributes; these planes are shifted and added, a few thousand pixels at a time, so that they stay in
the cache. The few channels within the block are added layer by layer. It is the arithmetic of the convolutions in
another order, near the speed of a matrix product, with scratch memory of a few planes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from photon_triage.models.msd.canvas import Canvas
from photon_triage.models.msd.layout import Block, BlockWeights, Layout, Run


@dataclass(frozen=True)
class Steps:
    """How much is computed at a time: values of the planes of a matrix product, and pixels within a block."""

    plane_values: int
    pixels: int

    def length(self, rows: int) -> int:
        """Pixels at a time for a matrix product of `rows` planes."""
        return max(1, self.plane_values // rows)


CORE_STEPS = Steps(plane_values=90 * 8192, pixels=16384)
"""For one core of a CPU: the planes of ten layers, or ten channels, stay in its caches."""

MOST_CORES = 32
"""Steps grow with the number of cores, so that each has as much to do; with more cores than this no further."""

GPU_STEPS = Steps(plane_values=90 * 65536, pixels=1 << 22)
"""A GPU's second-level cache holds tens of megabytes, and a kernel needs many pixels to fill it."""


def steps_for(device: torch.device) -> Steps:
    """The steps that suit a device."""
    if device.type != "cpu":
        return GPU_STEPS
    cores = min(torch.get_num_threads(), MOST_CORES)
    return Steps(CORE_STEPS.plane_values * cores, CORE_STEPS.pixels * cores)


def compute_features(canvas: Canvas, layout: Layout, matrices: tuple[BlockWeights, ...], biases: Tensor) -> None:
    """Fill all channels of the canvas; those of the input must be there, without borders.

    biases: (depth · width,). Sums are float32 or wider, whatever the canvas is in.
    """
    canvas.mirror(0, layout.in_channels)
    steps = steps_for(canvas.maps.device)
    rows = max(matrix.outer.shape[0] for matrix in matrices)
    scratch = canvas.maps.new_empty(max(steps.plane_values, 3 * layout.padding * rows))
    for block, weights in zip(layout.blocks, matrices, strict=True):
        sums = _sums(canvas, block)
        first = block.start - layout.in_channels
        sums.copy_(biases[first : first + block.channels, None].expand(-1, canvas.pixels))
        _add_earlier(sums, canvas, block, weights.outer, scratch)
        for layer, dilation in enumerate(block.dilations):
            own = slice(layer * block.width, (layer + 1) * block.width)
            if layer:
                _add_within(sums[own], canvas, block.start, weights.inner[layer], dilation, steps.pixels)
            channels = slice(block.start + own.start, block.start + own.stop)
            values = sums[own].relu_()
            if values.dtype != canvas.maps.dtype:
                canvas.flat[channels].copy_(values)
            canvas.mirror(channels.start, channels.stop)


def _sums(canvas: Canvas, block: Block) -> Tensor:
    """Where a block's sums are made: in its own channels, or apart where the canvas is of low precision."""
    channels = canvas.flat[block.start : block.stop]
    if canvas.maps.dtype.itemsize >= torch.float32.itemsize:
        return channels
    return torch.empty_like(channels, dtype=torch.float32)


def _add_earlier(sums: Tensor, canvas: Canvas, block: Block, weights: Tensor, scratch: Tensor) -> None:
    """Add to all layers of a block what the channels before it contribute."""
    rows, margin = weights.shape[0], max(block.dilations)
    length = scratch.numel() // rows
    inputs = canvas.flat[: block.start]
    for first in range(margin, canvas.pixels - margin, length - 2 * margin):
        last = min(first + length - 2 * margin, canvas.pixels - margin)
        planes = scratch[: rows * (last - first + 2 * margin)].view(rows, -1)
        torch.mm(weights, inputs[:, first - margin : last + margin], out=planes)
        by_row = _add_columns(planes, block, margin)
        for run in block.runs:
            reach = run.largest * canvas.pitch
            is_clear = first >= reach and last + reach <= canvas.pixels
            for part in (run,) if is_clear else run.singles():
                _add_rows(sums, by_row, part, canvas, block.width, first)


def _add_columns(planes: Tensor, block: Block, margin: int) -> Tensor:
    """The planes of a kernel's three columns, shifted and added: (layers, width, 3 kernel rows, pixels), in place.

    planes: (3 kernel columns · layers · width · 3 kernel rows, pixels + 2 · margin).
    """
    length = planes.shape[1]
    count = length - 2 * margin
    rows = 3 * block.width
    layers = len(block.dilations)

    def column(kernel_column: int, run: Run) -> Tensor:
        side = kernel_column - 1
        size = (run.count, rows, count)
        strides = (rows * length + side * run.step, length, 1)
        start = (kernel_column * layers + run.first) * rows * length + margin + side * run.dilation
        return planes.as_strided(size, strides, planes.storage_offset() + start)

    for run in block.runs:
        column(1, run).add_(column(0, run)).add_(column(2, run))
    return planes.view(3, layers, block.width, 3, length)[1, ..., margin : length - margin]


def _add_rows(sums: Tensor, by_row: Tensor, run: Run, canvas: Canvas, width: int, first: int) -> None:
    """Add the three kernel rows of a run of layers, each shifted, to the run's sums.

    by_row: (layers, width, 3, pixels); its first pixel is the canvas's pixel `first`. For a run of one layer targets
    are clipped to the inner part; for more the caller knows that there is room.
    """
    for kernel_row in range(3):
        side = (1 - kernel_row) * canvas.pitch
        shift = side * run.dilation
        start, stop = first + shift, first + shift + by_row.shape[-1]
        if run.count == 1:
            start, stop = max(start, canvas.inner[0]), min(stop, canvas.inner[1])
        if start >= stop:
            continue
        targets = sums.as_strided(
            (run.count, width, stop - start),
            (width * sums.stride(0) + side * run.step, sums.stride(0), 1),
            sums.storage_offset() + run.first * width * sums.stride(0) + start,
        )
        here = slice(start - shift - first, stop - shift - first)
        targets.add_(by_row[run.first : run.first + run.count, :, kernel_row, here])


def _add_within(sums: Tensor, canvas: Canvas, start: int, weights: Tensor, dilation: int, step: int) -> None:
    """Add to one layer what the channels of its own block contribute; `start` is the block's first channel."""
    width, count = sums.shape[0], weights.shape[1]
    inputs = canvas.flat[start : start + count]
    taps = weights.view(3, width, 3, count).transpose(1, 2).flatten(0, 1).unbind()
    offsets = [(row * canvas.pitch + column) * dilation for column in (-1, 0, 1) for row in (-1, 0, 1)]
    lowest, highest = canvas.inner
    for first in range(lowest, highest, step):
        last = min(first + step, highest)
        target = sums[:, first:last]
        for tap, offset in zip(taps, offsets, strict=True):
            _add_product(target, tap, inputs[:, first + offset : last + offset])


def project(canvas: Canvas, weight: Tensor, bias: Tensor) -> Tensor:
    """The final 1x1: (batch, outputs, height, width) of weight (outputs, channels) and bias (outputs,)."""
    outputs = torch.addmm(bias[:, None], weight, canvas.flat).view(-1, *canvas.maps.shape[1:])
    return Canvas(outputs, canvas.padding).interior(0, len(bias)).transpose(0, 1).contiguous()


def _add_product(target: Tensor, left: Tensor, right: Tensor) -> None:
    """Add a matrix product to `target`, which may be of higher precision."""
    if target.dtype == right.dtype:
        target.addmm_(left, right)
    else:
        target.add_(left @ right)
