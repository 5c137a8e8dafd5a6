"""Representations of frames: the features that a network's last layers read, pooled over the frame."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor, nn

from photon_triage.models.common.errors import ModelError
from photon_triage.models.darknet.builder import HEADS
from photon_triage.models.darknet.darknet import Darknet


class Features(nn.Module):
    """A Darknet network up to its last convolutions, one for each head, and the mean over the grid of what they read.

    The network is shared, not copied: what trains here trains there. The last convolutions themselves get no gradient.
    Raises ModelError for a network without a convolution.
    """

    def __init__(self, network: Darknet) -> None:
        super().__init__()
        self.network = network
        convolutions = [index for index, _ in network.convolutions()]
        if not convolutions:
            raise ModelError("Cannot take features of this network: it has no convolution.", "Choose another model.")
        heads = [row.index for row in network.layer_table() if row.kind in HEADS] or [len(network.layers)]
        self._last = [max(index for index in convolutions if index < head) for head in heads]
        channels = {index: layer.convolution.in_channels for index, layer in network.convolutions()}
        self.size = sum(channels[index] for index in self._last)
        """Features of a frame."""

    def forward(self, x: Tensor) -> Tensor:
        """Features (batch, size) of an input (batch, channels, height, width)."""
        with self._reading() as read:
            self.network(x)
        return torch.cat([maps.mean((2, 3)) for maps in read], 1)

    def fused(self) -> Features:
        """A copy for inference, as `Darknet.fused` makes it."""
        return Features(self.network.fused()).eval()

    @contextmanager
    def _reading(self) -> Iterator[list[Tensor]]:
        """What the last convolutions read while the block runs."""
        read: list[Tensor] = []

        def note(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            read.append(inputs[0])

        hooks = [self.network.layers[index].register_forward_pre_hook(note) for index in self._last]
        try:
            yield read
        finally:
            for hook in hooks:
                hook.remove()


class Representing(Protocol):
    """A network that tells what its last layer reads of a frame, pooled."""

    @property
    def representation_size(self) -> int:
        """How many numbers that are."""
        ...

    def representation(self, frames: Tensor, /) -> Tensor:
        """The numbers, (batch, representation_size), of an input as the network takes it."""
        ...


class Representation(nn.Module):
    """A network as the function from its input to its representation, for inference.

    Raises ModelError for a network that has none, as a detector, for which `Features` stands.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        if not hasattr(network, "representation"):
            raise ModelError(
                f"Cannot take a representation of a {type(network).__name__}.", "Choose a model of another family."
            )
        self.network = network

    @property
    def size(self) -> int:
        """Numbers of a representation."""
        network: Representing = self.network  # type: ignore[assignment]
        return network.representation_size

    def forward(self, x: Tensor) -> Tensor:
        """The representation (batch, size) of an input as the network takes it."""
        network: Representing = self.network  # type: ignore[assignment]
        return network.representation(x)

    def fused(self) -> Representation:
        """A copy for inference, as the network makes it."""
        fuse = getattr(self.network, "fused", None)
        return Representation(copy.deepcopy(self.network) if fuse is None else fuse()).eval()
