"""Convolutions with weights laid out once for oneDNN, the library behind torch's convolutions on CPUs.

torch lays the weights out anew on every call; with one frame at a time that is as much work as a good part of the
convolution. The operators used are those that torch's own compiler uses for frozen weights. They are no documented
part of torch: `packing` tries them first, and where they fail nothing here is used.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

Activation = Callable[[Tensor], Tensor]

PLAIN: tuple[str, list[float], str] = ("none", [], "")
"""How the operator is told that nothing follows the convolution."""


class PackedConvolution(nn.Module):
    """A convolution whose weights are laid out for inputs of the shape that came first, and an activation.

    Inputs of other shapes are right too, but slower. `fused`: the operator's name of the activation, where it has it.
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(
        self, convolution: nn.Conv2d, activation: Activation | None, fused: tuple[str, list[float], str] = PLAIN
    ) -> None:
        super().__init__()
        self.activation, self.fused = activation, fused
        self.settings = (
            [int(extent) for extent in convolution.padding],
            list(convolution.stride),
            list(convolution.dilation),
            convolution.groups,
        )
        self.register_buffer("weight", convolution.weight.detach())
        self.register_buffer("bias", None if convolution.bias is None else convolution.bias.detach())
        self.is_packed = False

    def forward(self, *inputs: Tensor) -> Tensor:
        """Convolve and activate the one input, (batch, channels, rows, columns), best with channels last."""
        (x,) = inputs
        if not self.is_packed:
            self.weight = torch.ops.mkldnn._reorder_convolution_weight(self.weight, *self.settings, list(x.shape))
            self.is_packed = True
        output: Tensor = torch.ops.mkldnn._convolution_pointwise(x, self.weight, self.bias, *self.settings, *self.fused)
        return output if self.activation is None else self.activation(output)


class PackedProduct(nn.Module):
    """Several matrix products at once with matrices laid out once, (products, outputs, inputs) float32.

    bias: (products, outputs), added to the products.
    """

    def __init__(self, matrices: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.count, self.outputs, inputs = matrices.shape
        # A product with a matrix is a 1x1 convolution; a group for each of them.
        one = nn.Conv2d(self.count * inputs, self.count * self.outputs, 1, groups=self.count, device="meta")
        one.weight = nn.Parameter(matrices.reshape(self.count * self.outputs, inputs, 1, 1), requires_grad=False)
        one.bias = nn.Parameter(bias.flatten(), requires_grad=False)
        self.convolution = PackedConvolution(one, None)

    def forward(self, vectors: Tensor) -> Tensor:
        """(n, products, inputs) to (n, products, outputs)."""
        n = len(vectors)
        image = vectors.reshape(1, n, 1, -1).permute(0, 3, 1, 2)
        output: Tensor = self.convolution(image)
        return output.permute(0, 2, 3, 1).reshape(n, self.count, self.outputs)
