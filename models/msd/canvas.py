"""Feature maps with mirrored borders, laid out so that a dilated kernel's tap is one offset for every pixel."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import torch
from torch import Tensor

LEAST_ROWS = 32
"""Rows of a band at least: a layer is computed up to a dilation beyond its band on both sides."""


@dataclass(frozen=True)
class Band:
    """A part of a canvas: whole frames, or rows of one frame; borders belong to the first and the last rows.

    frames: from, to. rows: from, to, the border's included. In the canvas's matrix these are the pixels `start` to
    `stop` - 1.
    """

    frames: tuple[int, int]
    rows: tuple[int, int]
    start: int
    stop: int


@dataclass(frozen=True)
class Canvas:
    """Feature maps (channels, batch, height + 2 · padding, width + 2 · padding), contiguous.

    Seen as a matrix (channels, pixels), the pixel a tap of a kernel of dilation d reads is (row · pitch + column) · d
    further, the same for every pixel: a convolution is made of matrix products of shifted views. What such a product
    gives in the borders has no meaning; `mirror` overwrites it.
    """

    maps: Tensor
    padding: int

    @classmethod
    def empty(cls, channels: int, batch: int, size: tuple[int, int], padding: int, like: Tensor) -> Canvas:
        """A canvas for frames of `size` (height, width) in the dtype and on the device of `like`, not filled."""
        height, width = size
        shape = (channels, batch, height + 2 * padding, width + 2 * padding)
        return cls(torch.empty(shape, dtype=like.dtype, device=like.device), padding)

    @cached_property
    def flat(self) -> Tensor:
        """(channels, pixels): a view."""
        return self.maps.view(self.maps.shape[0], -1)

    @cached_property
    def pixels(self) -> int:
        """Pixels of a channel, borders included."""
        return self.maps[0].numel()

    @cached_property
    def pitch(self) -> int:
        """Pixels from one row to the next."""
        return self.maps.shape[-1]

    @cached_property
    def margin(self) -> int:
        """Pixels before the first that is not border, and behind the last: how far a kernel's tap reaches at most."""
        return self.padding * self.pitch + self.padding

    @property
    def whole(self) -> Band:
        """All of the canvas as one band."""
        return Band((0, self.maps.shape[1]), (0, self.maps.shape[2]), 0, self.pixels)

    def interior(self, first: int, last: int, band: Band | None = None) -> Tensor:
        """(last - first, frames, rows, columns): a view of those channels without borders, of a band where given."""
        p, (height, width) = self.padding, self.maps.shape[-2:]
        band = band or self.whole
        rows = slice(max(band.rows[0], p), min(band.rows[1], height - p))
        return self.maps[first:last, slice(*band.frames), rows, p : width - p]

    def bands(self, count: int) -> tuple[Band, ...]:
        """The canvas in about `count` bands of the same size, fewer where they would be of few rows."""
        batch, height = self.maps.shape[1], self.maps.shape[2]
        frame = height * self.pitch
        if batch >= count:
            cuts = [batch * i // count for i in range(count + 1)]
            return tuple(Band((a, b), (0, height), a * frame, b * frame) for a, b in pairwise(cuts))
        parts = max(1, min(count // batch, height // (2 * self.padding + LEAST_ROWS)))
        cuts = [height * i // parts for i in range(parts + 1)]
        return tuple(
            Band((index, index + 1), (a, b), index * frame + a * self.pitch, index * frame + b * self.pitch)
            for index in range(batch)
            for a, b in pairwise(cuts)
        )

    def mirror(self, first: int, last: int, band: Band) -> None:
        """Fill the band's borders of those channels by reflection about the outermost pixels."""
        for border, mirrored, axis in self._borders(first, last, band):
            border.copy_(mirrored.flip(axis))

    def fold(self, first: int, last: int, band: Band) -> None:
        """Add the band's borders of those channels to the pixels that they mirror: the adjoint of `mirror`."""
        for border, mirrored, axis in reversed(self._borders(first, last, band)):
            mirrored.add_(border.flip(axis))

    def _borders(self, first: int, last: int, band: Band) -> list[tuple[Tensor, Tensor, int]]:
        """Each border, the pixels that it mirrors, and along which axis: columns first, then rows with the corners."""
        p, (height, width) = self.padding, self.maps.shape[-2:]
        maps = self.maps[first:last, slice(*band.frames)]
        rows = maps[..., slice(*band.rows), :]
        borders = [
            (rows[..., :p], rows[..., p + 1 : 2 * p + 1], -1),
            (rows[..., width - p :], rows[..., width - 2 * p - 1 : width - p - 1], -1),
        ]
        if band.rows[0] == 0:
            borders.append((maps[..., :p, :], maps[..., p + 1 : 2 * p + 1, :], -2))
        if band.rows[1] == height:
            borders.append((maps[..., height - p :, :], maps[..., height - 2 * p - 1 : height - p - 1, :], -2))
        return borders
