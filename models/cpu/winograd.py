"""Winograd's minimal filtering: 3x3 convolutions with fewer multiplications, on a CPU, for inference."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from photon_triage.models.cpu.onednn import Activation, PackedProduct

POINTS = {2: (0.0, 1.0, -1.0), 4: (0.0, 1.0, -1.0, 0.5, -2.0)}
"""The points at which the polynomials are multiplied, by outputs of a tile's side.

Those of Barabasz, Anderson, Soodhalter & Gregg, ACM Trans. Math. Softw. 46 (2020) 37, table of the least error.
"""

LARGE_MAP = 16
"""From this many rows and columns on tiles have 4x4 outputs; on smaller maps too much of such tiles would be waste."""

PAGE = 1024
"""Float32 values in a page of memory. Where channels fill whole pages, the values that a product reads together share
the few lines of a cache's set and drive each other out; SPARE_CHANNELS channels of zeros part them."""

SPARE_CHANNELS = 16


def transforms(tile: int) -> tuple[Tensor, Tensor, Tensor]:
    """The matrices A, B, G of F(tile, 3): outputs = Aᵀ((G·filter) ⊙ (Bᵀ·inputs)), float64, along one axis.

    A: (tile + 2, tile), B: (tile + 2, tile + 2), G: (tile + 2, 3). By Toom and Cook: evaluate at the points and at
    infinity, multiply, interpolate (Lavin & Gray, CVPR 2016).
    """
    points, rows = torch.tensor(POINTS[tile], dtype=torch.float64), tile + 2

    def evaluation(coefficients: int) -> Tensor:
        values = torch.zeros(rows, coefficients, dtype=torch.float64)
        values[:-1] = points[:, None] ** torch.arange(coefficients)
        values[-1, -1] = 1.0
        return values

    return evaluation(tile), torch.linalg.inv(evaluation(rows)), evaluation(3)


class WinogradConvolution(nn.Module):
    """A 3x3 convolution of stride 1 with a border of one zero, a bias, and an activation, by Winograd's method.

    `weight`: (filters, channels, 3, 3), `bias`: (filters,), both float32. Tiles have 4x4 outputs, 2x2 where the first
    input is small; that takes 4 or 2.25 times fewer multiplications, and 4 or 1.8 times the memory for weights.
    """

    weight: Tensor | None
    bias: Tensor
    to_points: Tensor
    to_outputs: Tensor

    def __init__(self, weight: Tensor, bias: Tensor, activation: Activation) -> None:
        super().__init__()
        self.register_buffer("weight", weight.detach())
        self.register_buffer("bias", bias.detach())
        self.activation = activation
        self.tile = 0
        self.spare = 0 if weight.shape[1] % PAGE else SPARE_CHANNELS

    def forward(self, *inputs: Tensor) -> Tensor:
        """Convolve and activate the one input (batch, channels, rows, columns) float32, best with channels last."""
        (x,) = inputs
        batch, _, height, width = x.shape
        if self.weight is not None:
            self._transform(self.weight, 4 if min(height, width) >= LARGE_MAP else 2)
        tile, side = self.tile, self.tile + 2
        rows, columns = -(-height // tile), -(-width // tile)
        around = (1, columns * tile + 1 - width, 1, rows * tile + 1 - height, 0, self.spare)
        padded = functional.pad(x, around).permute(0, 2, 3, 1)
        tiles = padded.unfold(1, side, tile).unfold(2, side, tile).permute(0, 1, 2, 4, 5, 3)
        products = self.product(torch.matmul(self.to_points, tiles.reshape(-1, side * side, padded.shape[-1])))
        outputs = self.activation(torch.matmul(self.to_outputs, products))
        grid = outputs.view(batch, rows, columns, tile, tile, -1).permute(0, 1, 3, 2, 4, 5)
        whole = grid.reshape(batch, rows * tile, columns * tile, -1)
        return whole[:, :height, :width].permute(0, 3, 1, 2)

    def _transform(self, weight: Tensor, tile: int) -> None:
        """Keep the transformed filters in place of the filters."""
        a, b, g = transforms(tile)
        self.register_buffer("to_points", torch.kron(b.T, b.T).float())
        self.register_buffer("to_outputs", torch.kron(a.T, a.T).float())
        filters = functional.pad(_transformed_filters(weight, g), (0, self.spare))
        bias = filters.new_zeros(filters.shape[:2])
        # What is added at the point 1 arrives at all outputs alike.
        bias[POINTS[tile].index(1.0) * (tile + 3)] = self.bias
        self.product = PackedProduct(filters, bias)
        self.tile, self.weight = tile, None


def _transformed_filters(weight: Tensor, g: Tensor, at_once: int = 64) -> Tensor:
    """The filters at the points, (points, filters, channels); in float64, a few filters at a time for the memory."""
    both, (filters, channels) = torch.kron(g, g), weight.shape[:2]
    found = weight.new_empty(len(both), filters, channels)
    for start in range(0, filters, at_once):
        taps = weight[start : start + at_once].reshape(-1, 9).double()
        found[:, start : start + at_once] = (both @ taps.T).view(len(both), -1, channels)
    return found
