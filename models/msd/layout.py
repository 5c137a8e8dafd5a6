"""The order of an MS-D network's layers, channels and weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

TAPS = 9
"""Values of a 3x3 kernel."""

BLOCK_CHANNELS = 10
"""Output channels computed together from all channels before them; more give larger matrix products, and more left to
do one layer at a time."""


@dataclass(frozen=True)
class LayerRun:
    """`count` layers in a row whose dilations are `dilation`, `dilation` + `step`, ...; `first` is a block's layer."""

    first: int
    count: int
    dilation: int
    step: int

    @property
    def largest(self) -> int:
        """The largest dilation."""
        return max(self.dilation, self.dilation + (self.count - 1) * self.step)

    def singles(self) -> tuple[LayerRun, ...]:
        """The same layers as runs of one."""
        return tuple(LayerRun(self.first + i, 1, self.dilation + i * self.step, 0) for i in range(self.count))


@dataclass(frozen=True)
class Block:
    """Consecutive layers of `width` channels each, which all read the channels 0 to `start` - 1.

    Layer l of the block writes the channels start + l · width and following, and reads those of the block before them.
    """

    start: int
    width: int
    dilations: tuple[int, ...]

    @property
    def channels(self) -> int:
        """Channels that the block adds."""
        return len(self.dilations) * self.width

    @property
    def stop(self) -> int:
        """The first channel behind the block."""
        return self.start + self.channels

    def alone(self, layer: int) -> Block:
        """One of the layers as a block; it reads the channels of this block before it."""
        return Block(self.start, self.width, self.dilations[layer : layer + 1])

    @cached_property
    def runs(self) -> tuple[LayerRun, ...]:
        """The layers, grouped where their dilations rise or fall in equal steps: one operation can serve a group."""
        runs: list[LayerRun] = []
        for layer, dilation in enumerate(self.dilations):
            last = runs[-1] if runs else None
            if last is not None and (last.count == 1 or dilation == last.dilation + last.count * last.step):
                runs[-1] = LayerRun(last.first, last.count + 1, last.dilation, last.step or dilation - last.dilation)
            else:
                runs.append(LayerRun(layer, 1, dilation, 0))
        return tuple(runs)


@dataclass(frozen=True)
class BlockWeights:
    """A block's weights as matrices.

    outer: (9 · channels, start), of the inputs that all its layers read; inner: for each layer (9 · width, channels of
    the block before it). Rows are in the order kernel column, layer, channel of the layer, kernel row.
    """

    outer: Tensor
    inner: tuple[Tensor, ...]


@dataclass(frozen=True)
class MsdLayout:
    """The shape of a network: input channels, channels of a layer, and each layer's dilation.

    The learnable 3x3 weights are one vector: layer after layer, each (width, channels before it, 3, 3) in C order.
    """

    in_channels: int
    width: int
    dilations: tuple[int, ...]

    @property
    def depth(self) -> int:
        """Layers, without the final 1x1."""
        return len(self.dilations)

    @property
    def channels(self) -> int:
        """Feature maps: the input's and every layer's."""
        return self.in_channels + self.depth * self.width

    @property
    def padding(self) -> int:
        """The largest dilation: how far a layer looks beyond the border."""
        return max(self.dilations)

    @property
    def radius(self) -> int:
        """How far away an input pixel can be that an output pixel depends on."""
        return sum(self.dilations)

    @property
    def weight_count(self) -> int:
        """3x3 weights of all layers."""
        return TAPS * self.width * sum(self.inputs(layer) for layer in range(self.depth))

    def inputs(self, layer: int) -> int:
        """Channels that a layer reads."""
        return self.in_channels + layer * self.width

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """The layers in blocks of about BLOCK_CHANNELS output channels."""
        size = max(1, BLOCK_CHANNELS // self.width)
        starts = range(0, self.depth, size)
        return tuple(Block(self.inputs(first), self.width, self.dilations[first : first + size]) for first in starts)

    def layer_weights(self, weights: Tensor) -> Iterator[Tensor]:
        """Views of the vector of weights, one for each layer: (width, channels before it, 3, 3)."""
        start = 0
        for layer in range(self.depth):
            shape = (self.width, self.inputs(layer), 3, 3)
            count = TAPS * shape[0] * shape[1]
            yield weights[start : start + count].view(shape)
            start += count

    def packing(self) -> Tensor:
        """(weight_count,) int64: where in the vector of weights each value of the blocks' matrices stands."""
        places = list(self.layer_weights(torch.arange(self.weight_count)))
        parts = []
        layer = 0
        for block in self.blocks:
            own = places[layer : layer + len(block.dilations)]
            layer += len(own)
            outer = torch.stack([place[:, : block.start] for place in own])
            parts.append(outer.permute(4, 0, 1, 3, 2).reshape(-1))
            parts += [place[:, block.start :].permute(3, 0, 2, 1).reshape(-1) for place in own]
        return torch.cat(parts)

    def matrices(self, packed: Tensor) -> tuple[BlockWeights, ...]:
        """The blocks' matrices as views of the weights in the order of `packing`."""
        position = 0

        def take(rows: int, columns: int) -> Tensor:
            nonlocal position
            position += rows * columns
            return packed[position - rows * columns : position].view(rows, columns)

        return tuple(
            BlockWeights(
                take(TAPS * block.channels, block.start),
                tuple(take(TAPS * self.width, layer * self.width) for layer in range(len(block.dilations))),
            )
            for block in self.blocks
        )
