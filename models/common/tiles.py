"""Memory of feature maps: channels last, and frames too large for a network at once computed tile by tile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from photon_triage.models.common.errors import ModelError

Network = Callable[[Tensor], Tensor]
"""(batch, channels, rows, columns) in, (batch, outputs, rows, columns) out."""


def channels_last(maps: Tensor) -> Tensor:
    """The same values with channels last in memory, which convolutions and pools prefer.

    maps: (batch, channels, *2 or 3 extents). They are always copied: where there is one channel torch cannot see the
    layout otherwise, and what it computes from them would have channels first.
    """
    layout = torch.channels_last if maps.ndim == 4 else torch.channels_last_3d
    return torch.empty_like(maps, memory_format=layout).copy_(maps)


@dataclass(frozen=True)
class _Span:
    """Along one axis: the pixels `start` to `stop` of the result, computed from `window_start` to `window_stop`."""

    start: int
    stop: int
    window_start: int
    window_stop: int


def run_in_tiles(network: Network, frames: Tensor, tile: int, halo: int, multiple: int = 1) -> Tensor:
    """The network's output for whole frames, computed one tile at a time.

    frames: (batch, channels, height, width); the network keeps height and width. Each core of `tile` x `tile` pixels is
    computed with `halo` pixels of its real surroundings, clipped at the frame's edges: there the network treats the
    border as it always does. So the result is exact where `halo` is at least the radius of the receptive field.
    `multiple`: windows begin, and end where the frame goes on, at multiples of this; for a U-Net 2**depth, so that its
    pools see the same pairs as in the whole frame. A window has at most tile + 2 * (halo + multiple - 1) pixels a side.

    Returns (batch, outputs, height, width) on the device of the network's output. Raises ModelError for a bad
    argument, and where the network changes the size.
    """
    _check(frames, tile, multiple, halo=halo)
    height, width = frames.shape[-2:]
    spans = [list(_spans(extent, tile, halo, multiple)) for extent in (height, width)]
    result: Tensor | None = None
    for rows, columns in product(*spans):
        window = frames[..., rows.window_start : rows.window_stop, columns.window_start : columns.window_stop]
        output = _run(network, window, (window.shape[-2], window.shape[-1]))
        if result is None:
            result = output.new_empty((*output.shape[:-2], height, width))
        result[..., rows.start : rows.stop, columns.start : columns.stop] = output[
            ...,
            rows.start - rows.window_start : rows.stop - rows.window_start,
            columns.start - columns.window_start : columns.stop - columns.window_start,
        ]
    assert result is not None
    return result


def overlap_tiles(network: Network, frames: Tensor, tile: int, margin: int, multiple: int = 1) -> Tensor:
    """The output at every pixel of a network without padding, with mirrored borders (Ronneberger 2015, figure 2).

    frames: (batch, channels, height, width). The network takes windows of tile + 2 * margin pixels a side and gives the
    inner `tile`; what lies outside the frame is its mirror image. Tiles follow each other in steps that are multiples
    of `multiple`, for a U-Net 2**depth, so that the result does not depend on the tile.

    Returns (batch, outputs, height, width). Raises ModelError for a bad argument, and where the network gives another
    size than `tile`.
    """
    _check(frames, tile, multiple, margin=margin)
    if tile < multiple:
        raise ModelError(f"Cannot tile by {tile} pixels in steps of {multiple}.", f"Use a tile of at least {multiple}.")
    height, width = frames.shape[-2:]
    step = tile // multiple * multiple
    result: Tensor | None = None
    for y, x in product(range(0, height, step), range(0, width, step)):
        window = frames
        for axis, start in ((-2, y), (-1, x)):
            wanted = torch.arange(start - margin, start + tile + margin, device=frames.device)
            window = window.index_select(axis, mirrored(wanted, frames.shape[axis]))
        output = _run(network, window, (tile, tile))
        if result is None:
            result = output.new_empty((*output.shape[:-2], height, width))
        target = result[..., y : y + step, x : x + step]
        target.copy_(output[..., : target.shape[-2], : target.shape[-1]])
    assert result is not None
    return result


def mirrored(positions: Tensor, extent: int) -> Tensor:
    """Positions on an endless line as positions 0 to extent - 1, mirrored at both end pixels as often as needed."""
    if extent == 1:
        return torch.zeros_like(positions)
    folded = positions.remainder(2 * (extent - 1))
    return torch.minimum(folded, 2 * (extent - 1) - folded)


def _spans(extent: int, tile: int, halo: int, multiple: int) -> Iterator[_Span]:
    for start in range(0, extent, tile):
        stop = min(start + tile, extent)
        window_start = max(start - halo, 0) // multiple * multiple
        window_stop = min(-(-(stop + halo) // multiple) * multiple, extent)
        yield _Span(start, stop, window_start, window_stop)


def _run(network: Network, window: Tensor, expected: tuple[int, int]) -> Tensor:
    output = network(window)
    if tuple(output.shape[-2:]) != expected:
        raise ModelError(
            f"Cannot put tiles together: the network made {tuple(output.shape)} of {tuple(window.shape)}.",
            f"Expected {expected[0]} rows and {expected[1]} columns.",
        )
    return output


def _check(frames: Tensor, tile: int, multiple: int, **surroundings: int) -> None:
    if frames.ndim != 4 or 0 in frames.shape[-2:]:
        raise ModelError(
            f"Cannot tile frames of shape {tuple(frames.shape)}.", "Expected (batch, channels, height, width)."
        )
    for name, value in (("tile", tile), ("multiple", multiple)):
        if value < 1:
            raise ModelError(f"Cannot tile frames with {name} {value}.", "Use at least one pixel.")
    for name, value in surroundings.items():
        if value < 0:
            raise ModelError(f"Cannot tile frames with {name} {value}.", "Use zero or more pixels.")
