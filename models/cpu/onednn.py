"""Convolutions by operators of oneDNN, the library behind torch's convolutions on CPUs, and their self-checks.

torch lays weights out anew on every call; with one frame at a time that is as much work as a good part of the
convolution. The operators used are those that torch's own compiler uses for frozen weights. They are no documented
part of torch, and what they run depends on torch, oneDNN and the processor: so each user tries them first, once in a
process, and takes torch's own convolutions where they fail.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional

Activation = Callable[[Tensor], Tensor]

PLAIN: tuple[str, list[float], str] = ("none", [], "")
"""How the operator is told that nothing follows the convolution."""

Trial = tuple[str, Callable[[], tuple[Tensor, Tensor]]]
"""Name of a computation, and the computation: its result, and the exact one in float64."""

SUMS = "Convolutions that are summed within oneDNN"
"""Name of `rectified_sum` in notices."""

FLOAT32_TOLERANCE = 1e-4
"""Error allowed in float32, relative to the largest value of the exact result: a plain convolution's is about 1e-6,
and Winograd's transforms lose up to a factor of ten."""


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


def rectified_sum(
    parts: Sequence[Tensor], weights: Sequence[Tensor], bias: Tensor | None, padding: Sequence[int]
) -> Tensor:
    """ReLU of the sum of the parts' convolutions at stride 1, each with its weights, and a bias.

    parts: (batch, channels, rows, columns) of equal extents. weights: (filters, channels, size, size) each. Sums and
    ReLU are done by the convolutions' own kernels, while the values are at hand.
    """
    kernels = torch.ops.mkldnn
    geometry = (list(padding), [1, 1], [1, 1], 1)
    ends = ["none"] * (len(parts) - 1) + ["relu"]
    maps: Tensor = kernels._convolution_pointwise(parts[0], weights[0], bias, *geometry, ends[0], [], "")
    for part, weight, end in zip(parts[1:], weights[1:], ends[1:], strict=True):
        activation = None if end == "none" else end
        maps = kernels._convolution_pointwise_(maps, part, weight, None, *geometry, "add", 1.0, activation, [], None)
    return maps


@cache
def sum_refusal() -> str:
    """Reason why `rectified_sum` is not used in this process, "" where it proved right."""
    generator = torch.Generator().manual_seed(0)

    def computation(count: int) -> Callable[[], tuple[Tensor, Tensor]]:
        def compute() -> tuple[Tensor, Tensor]:
            maps = torch.randn(2, 16 * count, 9, 10, generator=generator).contiguous(memory_format=torch.channels_last)
            weight, bias = (torch.randn(*shape, generator=generator) for shape in ((24, 16 * count, 3, 3), (24,)))
            exact = torch.relu(functional.conv2d(maps.double(), weight.double(), bias.double(), padding=1))
            return rectified_sum(torch.split(maps, 16, 1), torch.split(weight, 16, 1), bias, (1, 1)), exact

        return compute

    return first_failure([(f"a sum of {n} convolutions", computation(n)) for n in (1, 2, 3)], FLOAT32_TOLERANCE)


def first_failure(trials: Iterable[Trial], tolerance: float) -> str:
    """Reason why the first of the trials failed, "" where all are right.

    tolerance: error allowed, relative to the largest value of the exact result.
    """
    try:
        if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
            return "this torch has no oneDNN"
        with torch.inference_mode():
            for name, compute in trials:
                found, exact = compute()
                if found.shape != exact.shape:
                    return f"{name} has another shape"
                error = float((found.double() - exact).abs().max() / exact.abs().max())
                if not error <= tolerance:  # NaN is an error too
                    return f"{name} is off by {error:.1%}"
    except Exception as error:  # of which type depends on what refuses: torch, its operators' schemas, oneDNN
        return next(iter(str(error).splitlines()), "") or type(error).__name__
    return ""


def fallback_notice(operators: str, reason: str) -> str:
    """Notice that torch's own convolutions are used in place of some operators."""
    return (
        f"{operators} are not used on this CPU: they failed their self-check ({reason}). "
        "Results are the same, networks run slower."
    )
