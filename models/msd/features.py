"""The feature maps of an MS-D network, by matrix products over blocks of layers.

For a block of about ten layers one matrix product (9 taps · layers, channels) x (channels, pixels) gives what each tap
of each layer contributes; these planes are shifted and added, a few thousand pixels at a time, so that they stay in
the cache. The few channels within the block are added in the same way, layer by layer. It is the arithmetic of the
convolutions in another order, near the speed of a matrix product, with a few megabytes of scratch memory.
"""

from __future__ import annotations

import torch
from torch import Tensor

from photon_triage.models.msd.canvas import Band, Canvas
from photon_triage.models.msd.layout import Block, BlockWeights, LayerRun, MsdLayout
from photon_triage.models.msd.workers import Meet, for_each_band

CPU_PLANE_VALUES = 90 * 8192
"""Values of the planes of one matrix product on one core of a CPU: they stay in its caches."""

GPU_PLANE_VALUES = 90 * 65536
"""A GPU's second-level cache holds tens of megabytes, and a kernel needs many pixels to fill it."""


def plane_values(device: torch.device) -> int:
    """Values that the planes of one matrix product should have on a device."""
    return CPU_PLANE_VALUES if device.type == "cpu" else GPU_PLANE_VALUES


def compute_features(canvas: Canvas, layout: MsdLayout, matrices: tuple[BlockWeights, ...], biases: Tensor) -> None:
    """Fill all channels of the canvas; those of the input must be there, without borders.

    biases: (depth · width,). Sums are float32 or wider, whatever the canvas is in.
    """
    rows = max(matrix.outer.shape[0] for matrix in matrices)
    scratch_values = max(plane_values(canvas.maps.device), 3 * layout.padding * rows)
    apart = None
    if canvas.maps.dtype.itemsize < torch.float32.itemsize:
        most = max(block.channels for block in layout.blocks)
        apart = canvas.maps.new_empty(most, canvas.pixels, dtype=torch.float32)

    def compute_band(number: int, band: Band, meet: Meet) -> None:
        scratch = canvas.maps.new_empty(scratch_values)
        canvas.mirror(0, layout.in_channels, band)
        meet()
        for block, weights in zip(layout.blocks, matrices, strict=True):
            sums = canvas.flat[block.start : block.stop] if apart is None else apart[: block.channels]
            here = sums[:, band.start : band.stop]
            first = block.start - layout.in_channels
            here.copy_(biases[first : first + block.channels, None].expand_as(here))
            _add(sums, canvas.flat[: block.start], weights.outer, block, canvas, band, scratch)
            for layer in range(len(block.dilations)):
                own = slice(layer * block.width, (layer + 1) * block.width)
                first, last = block.start + own.start, block.start + own.stop
                if layer:
                    inputs = canvas.flat[block.start : first]
                    _add(sums[own], inputs, weights.inner[layer], block.alone(layer), canvas, band, scratch)
                values = here[own].relu_()
                if apart is not None:
                    canvas.flat[first:last, band.start : band.stop].copy_(values)
                canvas.mirror(first, last, band)
                meet()

    for_each_band(canvas, compute_band)


def _add(
    sums: Tensor, inputs: Tensor, weights: Tensor, block: Block, canvas: Canvas, band: Band, scratch: Tensor
) -> None:
    """Add to a band of the sums of a block's layers what `inputs` contribute, some of the canvas's channels."""
    rows, side = len(weights), max(block.dilations)
    length = scratch.numel() // rows - 2 * side
    reach = side * canvas.pitch
    begin, end = max(side, band.start - reach), min(canvas.pixels - side, band.stop + reach)
    for first in range(begin, end, length):
        last = min(first + length, end)
        planes = scratch[: rows * (last - first + 2 * side)].view(rows, -1)
        torch.mm(weights, inputs[:, first - side : last + side], out=planes)
        by_row = _add_columns(planes, block, side)
        for run in block.runs:
            reach = run.largest * canvas.pitch
            is_clear = first - reach >= band.start and last + reach <= band.stop
            for part in (run,) if is_clear else run.singles():
                _add_rows(sums, by_row, part, canvas, band, block.width, first)


def _add_columns(planes: Tensor, block: Block, margin: int) -> Tensor:
    """The planes of a kernel's three columns, shifted and added: (layers, width, 3 kernel rows, pixels), in place.

    planes: (3 kernel columns · layers · width · 3 kernel rows, pixels + 2 · margin).
    """
    length = planes.shape[1]
    count = length - 2 * margin
    rows = 3 * block.width
    layers = len(block.dilations)

    def column(kernel_column: int, run: LayerRun) -> Tensor:
        side = kernel_column - 1
        size = (run.count, rows, count)
        strides = (rows * length + side * run.step, length, 1)
        start = (kernel_column * layers + run.first) * rows * length + margin + side * run.dilation
        return planes.as_strided(size, strides, planes.storage_offset() + start)

    for run in block.runs:
        column(1, run).add_(column(0, run)).add_(column(2, run))
    return planes.view(3, layers, block.width, 3, length)[1, ..., margin : length - margin]


def _add_rows(sums: Tensor, by_row: Tensor, run: LayerRun, canvas: Canvas, band: Band, width: int, first: int) -> None:
    """Add the three kernel rows of a run of layers, each shifted, to a band of the run's sums.

    by_row: (layers, width, 3, pixels); its first pixel is the canvas's pixel `first`. For a run of one layer targets
    are clipped to the band; for more the caller knows that there is room.
    """
    lowest, highest = max(band.start, canvas.margin), min(band.stop, canvas.pixels - canvas.margin)
    for kernel_row in range(3):
        side = (1 - kernel_row) * canvas.pitch
        shift = side * run.dilation
        start, stop = first + shift, first + shift + by_row.shape[-1]
        if run.count == 1:
            start, stop = max(start, lowest), min(stop, highest)
        if start >= stop:
            continue
        targets = sums.as_strided(
            (run.count, width, stop - start),
            (width * sums.stride(0) + side * run.step, sums.stride(0), 1),
            sums.storage_offset() + run.first * width * sums.stride(0) + start,
        )
        here = slice(start - shift - first, stop - shift - first)
        targets.add_(by_row[run.first : run.first + run.count, :, kernel_row, here])


def project(canvas: Canvas, weight: Tensor, bias: Tensor) -> Tensor:
    """The final 1x1: (batch, outputs, height, width), a view, of weight (outputs, channels) and bias (outputs,)."""
    outputs = torch.addmm(bias[:, None], weight, canvas.flat).view(-1, *canvas.maps.shape[1:])
    return Canvas(outputs, canvas.padding).interior(0, len(bias)).transpose(0, 1)
