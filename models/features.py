"""What a detector sees in a frame: the features that its last convolutions read, pooled over the grid."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from photon_triage.models.builder import HEADS
from photon_triage.models.darknet import Darknet
from photon_triage.models.errors import ModelError


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
