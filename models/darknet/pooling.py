"""Darknet's layers that make maps smaller or only touch their values: pools, crop, dropout, softmax."""

from __future__ import annotations

import math
from fractions import Fraction

import torch
from torch import Tensor
from torch.nn import functional

from photon_triage.models.darknet.layers import Layer, Shape


class MaxPool(Layer):
    """The largest value in windows of `size` every `stride`, with Darknet's padding.

    `padding` is the total, of which the smaller half stands left and above; the output has
    (extent + padding - size) // stride + 1 rows or columns, and what is outside the input never wins.
    """

    def __init__(self, size: int, stride: int, padding: int) -> None:
        super().__init__()
        self.size, self.stride, self.padding = size, stride, padding

    def forward(self, *inputs: Tensor) -> Tensor:
        """Pool the one input."""
        x = inputs[0]
        before = self.padding // 2
        after_rows, after_columns = (self._needed_after(extent) for extent in x.shape[-2:])
        if after_rows <= 0 and after_columns <= 0 and before == 0:
            return functional.max_pool2d(x, self.size, self.stride)
        if self._symmetric(x.shape[-2]) and self._symmetric(x.shape[-1]):
            return functional.max_pool2d(x, self.size, self.stride, before)
        pads = (before, max(after_columns, 0), before, max(after_rows, 0))
        return functional.max_pool2d(functional.pad(x, pads, value=-math.inf), self.size, self.stride)

    def output_shape(self, *shapes: Shape) -> Shape:
        """(channels, rows, columns) for the one input's shape."""
        channels, height, width = shapes[0]
        return channels, self._output_extent(height), self._output_extent(width)

    @property
    def reduction(self) -> Fraction:
        """The stride."""
        return Fraction(self.stride)

    def describe(self) -> str:
        """Window and stride."""
        return f"{self.size}x{self.size}/{self.stride}"

    def _output_extent(self, extent: int) -> int:
        return (extent + self.padding - self.size) // self.stride + 1

    def _needed_after(self, extent: int) -> int:
        return (self._output_extent(extent) - 1) * self.stride + self.size - self.padding // 2 - extent

    def _symmetric(self, extent: int) -> bool:
        before = self.padding // 2
        torchs_extent = (extent + 2 * before - self.size) // self.stride + 1
        return 2 * before <= self.size and torchs_extent == self._output_extent(extent)


class GlobalAverage(Layer):
    """The mean over all positions, one value a channel."""

    def forward(self, *inputs: Tensor) -> Tensor:
        """Average the one input to (batch, channels, 1, 1)."""
        return inputs[0].mean(dim=(2, 3), keepdim=True)

    def output_shape(self, *shapes: Shape) -> Shape:
        """(channels, 1, 1)."""
        return shapes[0][0], 1, 1


class Crop(Layer):
    """A cut-out of the input: the middle one, and in training one at random that may be mirrored.

    `height_share` and `width_share` are the parts of the input that remain. With `adjust`, values of 0 to 1 become
    -1 to 1, as Darknet's crop does unless it is told `noadjust`.
    """

    def __init__(self, height_share: Fraction, width_share: Fraction, flip: bool, adjust: bool) -> None:
        super().__init__()
        self.height_share, self.width_share = height_share, width_share
        self.flip, self.adjust = flip, adjust

    def forward(self, *inputs: Tensor) -> Tensor:
        """Cut from the one input."""
        x = inputs[0]
        _, rows, columns = self.output_shape((x.shape[1], x.shape[2], x.shape[3]))
        spare = (x.shape[2] - rows, x.shape[3] - columns)
        top, left = (int(torch.randint(n + 1, ())) if self.training else n // 2 for n in spare)
        cut = x[..., top : top + rows, left : left + columns]
        if self.flip and self.training and bool(torch.rand(()) < 0.5):
            cut = cut.flip(-1)
        return 2 * cut - 1 if self.adjust else cut

    def output_shape(self, *shapes: Shape) -> Shape:
        """The source's channels, and its rows and columns times the shares."""
        channels, height, width = shapes[0]
        return channels, int(height * self.height_share), int(width * self.width_share)


class Dropout(Layer):
    """Zeroes a share of the values while training."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, *inputs: Tensor) -> Tensor:
        """Drop from the one input."""
        return functional.dropout(inputs[0], self.probability, self.training)

    def output_shape(self, *shapes: Shape) -> Shape:
        """The source's shape."""
        return shapes[0]

    def describe(self) -> str:
        """The share that is dropped."""
        return f"p={self.probability:g}"


class Softmax(Layer):
    """Softmax over all values of a frame, in `groups` equal parts of channels; `spatial`: over the channels of a pixel.

    As in Darknet, the pixels of a map are not told apart unless `spatial` says so.
    """

    def __init__(self, groups: int, temperature: float, spatial: bool = False) -> None:
        super().__init__()
        self.groups, self.temperature, self.spatial = groups, temperature, spatial

    def forward(self, *inputs: Tensor) -> Tensor:
        """Normalise the one input."""
        x = inputs[0]
        if self.spatial:
            return torch.softmax(x, dim=1)
        return torch.softmax(x.reshape(len(x), self.groups, -1) / self.temperature, dim=2).reshape(x.shape)

    def output_shape(self, *shapes: Shape) -> Shape:
        """The source's shape."""
        return shapes[0]
