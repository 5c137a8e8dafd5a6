"""Feature maps with mirrored borders, laid out so that a dilated kernel's tap is one offset for every pixel."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


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
    def inner(self) -> tuple[int, int]:
        """The first pixel that is not border, and the one behind the last."""
        margin = self.padding * self.pitch + self.padding
        return margin, self.pixels - margin

    def interior(self, first: int, last: int) -> Tensor:
        """(last - first, batch, height, width): a view of those channels without borders."""
        p = self.padding
        height, width = self.maps.shape[-2:]
        return self.maps[first:last, :, p : height - p, p : width - p]

    def mirror(self, first: int, last: int) -> None:
        """Fill the borders of those channels by reflection about the outermost pixels, first columns, then rows."""
        p = self.padding
        maps = self.maps[first:last]
        for axis in (-1, -2):
            size = maps.shape[axis]
            maps.narrow(axis, 0, p).copy_(maps.narrow(axis, p + 1, p).flip(axis))
            maps.narrow(axis, size - p, p).copy_(maps.narrow(axis, size - 2 * p - 1, p).flip(axis))

    def fold(self, first: int, last: int) -> None:
        """Add the borders of those channels to the pixels they mirror: the adjoint of `mirror`."""
        p = self.padding
        maps = self.maps[first:last]
        for axis in (-2, -1):
            size = maps.shape[axis]
            maps.narrow(axis, p + 1, p).add_(maps.narrow(axis, 0, p).flip(axis))
            maps.narrow(axis, size - 2 * p - 1, p).add_(maps.narrow(axis, size - p, p).flip(axis))
