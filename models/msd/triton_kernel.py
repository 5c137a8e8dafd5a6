# mypy: disable-error-code="no-untyped-def, untyped-decorator"
"""The feature maps of an MS-D network on a GPU, in place, with one Triton kernel launch a layer.

Each launch is a step of `look_ahead`: a program loads a tile of pixels of the channels that are new, nine taps each,
and multiplies them by the weights of all layers of that dilation that are still to come, on the tensor cores, with sums
in float32 registers. Borders are mirrored by their indices, so there are no copies and no borders in memory.

Why so, for 100 layers and a frame of 2560x2560 pixels. The convolutions are 298 · 10⁹ multiply-accumulates. Layer by
layer they read 5,050 float32 channels, 132 GB. Looking ahead, 955 channels are read and 1,000 planes of sums read or
written, 51 GB: 15 ms at the 3.35 TB/s of an H100, half of it in bfloat16. Tensor cores take tiles of 16 x 16 weights,
a fifth filled here, so they compute 3 · 10¹² operations a frame: 3 ms at 989 · 10¹² operations a second in bfloat16. As
accurate as float32 they compute three times as many: 18 ms at 494 · 10¹² operations a second. These are limits that
follow from the numbers, not measurements.
A kernel that keeps ten layers of a tile in shared memory would read less; Triton cannot index shared memory.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import triton
import triton.language as tl
from torch import Tensor

from photon_triage.models.msd.canvas import Canvas
from photon_triage.models.msd.gpu import ROWS, look_ahead
from photon_triage.models.msd.layout import TAPS, MsdLayout

TILE_HEIGHT = 8
TILE_WIDTH = 32
"""Pixels of one program: rows long enough for whole memory transactions, few enough to fit the registers."""

CHANNELS = 16
"""Input channels multiplied at a time: the depth of a tensor core's tile."""


def compute_features(canvas: Canvas, layout: MsdLayout, weights: Tensor, biases: Tensor) -> None:
    """Fill all channels of a canvas without padding; those of the input must be there.

    weights: (weight_count,), biases: (depth · width,), of the canvas's dtype: float32, bfloat16 or float16. In the
    short ones a layer's sums are rounded once a step.
    """
    channels, batch, height, width = canvas.maps.shape
    assert channels == layout.channels and canvas.padding == 0
    grid = (triton.cdiv(height, TILE_HEIGHT) * triton.cdiv(width, TILE_WIDTH), batch)
    precision = _precision(canvas.maps)
    targets, starts = _tables(layout, canvas.maps.device)
    position = 0
    for step in look_ahead(layout):
        rows = len(step.layers) * layout.width
        for first in range(0, rows, ROWS):
            part = slice(position + first, position + min(first + ROWS, rows))
            _add_step[grid](
                canvas.maps,
                weights,
                biases,
                targets[part],
                starts[part],
                min(ROWS, rows - first),
                max(0, min(ROWS, layout.width - first)),
                layout.in_channels,
                step.first,
                step.last,
                height,
                width,
                batch * height * width,
                step.dilation,
                BEGINS=step.begins,
                ROWS=ROWS,
                CHANNELS=CHANNELS,
                TILE_HEIGHT=TILE_HEIGHT,
                TILE_WIDTH=TILE_WIDTH,
                PRECISION=precision,
            )
        position += rows


def _precision(maps: Tensor) -> str:
    """How float32 is multiplied: by three shorter products where the GPU can, as accurate as float32."""
    has_tensor_cores = (
        maps.is_cuda and torch.version.hip is None and torch.cuda.get_device_capability(maps.device) >= (8, 0)
    )
    return "tf32x3" if has_tensor_cores and maps.dtype == torch.float32 else "ieee"


@lru_cache(maxsize=8)
def _tables(layout: MsdLayout, device: torch.device) -> tuple[Tensor, Tensor]:
    """For each step's output channels: the channel, and where its weights begin in the vector of weights."""
    places = [int(view[0, 0, 0, 0]) for view in layout.layer_weights(torch.arange(layout.weight_count))]
    targets, starts = [], []
    for step in look_ahead(layout):
        for layer in step.layers:
            for channel in range(layout.width):
                targets.append(layout.inputs(layer) + channel)
                starts.append(places[layer] + channel * layout.inputs(layer) * TAPS)
    return torch.tensor(targets, device=device), torch.tensor(starts, device=device)


@triton.jit
def _mirrored(position, extent):
    """Positions outside 0 to extent - 1 reflected about the outermost pixels."""
    position = tl.abs(position)
    return extent - 1 - tl.abs(extent - 1 - position)


@triton.jit
def _add_step(
    maps,
    weights,
    biases,
    targets,
    starts,
    rows,
    complete,
    in_channels,
    first,
    last,
    height,
    width,
    plane,
    dilation,
    BEGINS: tl.constexpr,
    ROWS: tl.constexpr,
    CHANNELS: tl.constexpr,
    TILE_HEIGHT: tl.constexpr,
    TILE_WIDTH: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Add the channels first to last - 1 to the `rows` channels `targets`; the first `complete` of these get ReLU."""
    tiles = tl.cdiv(width, TILE_WIDTH)
    pixel = tl.arange(0, TILE_HEIGHT * TILE_WIDTH)
    y = (tl.program_id(0) // tiles) * TILE_HEIGHT + pixel // TILE_WIDTH
    x = (tl.program_id(0) % tiles) * TILE_WIDTH + pixel % TILE_WIDTH
    is_inside = (y < height) & (x < width)
    frame = tl.program_id(1).to(tl.int64) * height * width

    row = tl.arange(0, ROWS)
    is_row = row < rows
    target = tl.load(targets + row, mask=is_row, other=0)
    start = tl.load(starts + row, mask=is_row, other=0)
    total = tl.zeros((ROWS, TILE_HEIGHT * TILE_WIDTH), dtype=tl.float32)
    for begin in range(first, last, CHANNELS):
        channel = begin + tl.arange(0, CHANNELS)
        is_channel = channel < last
        sources = maps + frame + channel.to(tl.int64)[:, None] * plane
        for tap in tl.static_range(9):
            row_y = _mirrored(y + (tap // 3 - 1) * dilation, height)
            column_x = _mirrored(x + (tap % 3 - 1) * dilation, width)
            values = tl.load(
                sources + (row_y * width + column_x)[None, :], mask=is_channel[:, None] & is_inside[None, :], other=0.0
            )
            kernel = tl.load(
                weights + start[:, None] + channel[None, :] * 9 + tap,
                mask=is_row[:, None] & is_channel[None, :],
                other=0.0,
            )
            total = tl.dot(kernel, values, total, input_precision=PRECISION)

    results = maps + frame + target[:, None] * plane + (y * width + x)[None, :]
    is_result = is_row[:, None] & is_inside[None, :]
    if BEGINS:
        total += tl.load(biases + target - in_channels, mask=is_row, other=0.0).to(tl.float32)[:, None]
    else:
        total += tl.load(results, mask=is_result, other=0.0).to(tl.float32)
    total = tl.where((row < complete)[:, None], tl.maximum(total, 0.0), total)
    tl.store(results, total, mask=is_result)
