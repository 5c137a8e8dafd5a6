"""Darknet's layers as torch modules that also know their output's shape and their cost; pools are in `pooling`."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from fractions import Fraction
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from photon_triage.models.common.errors import ModelError

NormForm = Literal["cpu", "cuda"]
"""How a running variance v divides: "cpu" by sqrt(v) + 1e-6, "cuda" by sqrt(v + 1e-5)."""

CPU_EPSILON = 1e-6
"""Added to the deviation by Darknet's CPU build."""

CUDA_EPSILON = 1e-5
"""Added to the variance by Darknet's CUDA build, and by both builds while training."""

NORM_MOMENTUM = 0.01
"""Weight of a new batch in the running mean and variance, as in Darknet."""


Shape = tuple[int, int, int]
"""Channels, height, width of one image's feature map."""

LEAKY_SLOPE = 0.1
"""Slope of the leaky activation below zero, as in Darknet."""

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda x: x,
    "leaky": lambda x: functional.leaky_relu(x, LEAKY_SLOPE, inplace=True),
    "relu": lambda x: functional.relu(x, inplace=True),
    "logistic": torch.sigmoid,
    "mish": functional.mish,
    "swish": functional.silu,
}
"""Activations by their cfg name; the first ones work in place."""


class BatchNorm(nn.BatchNorm2d):
    """Batch-norm that divides by a batch's sqrt(variance + 1e-5) in training, and as `form` says with running values.

    The forms move the heads of a YOLO network by about 1e-4 of their largest value. "cpu" is what Darknet's CPU build
    and, within 1e-6, OpenCV compute; "cuda" is what a network computes while it is trained.
    """

    def __init__(self, filters: int, form: NormForm = "cpu") -> None:
        super().__init__(filters, eps=CUDA_EPSILON, momentum=NORM_MOMENTUM)
        self.form = form

    def forward(self, input: Tensor) -> Tensor:
        """Normalise feature maps (batch, filters, height, width)."""
        if self.training or self.form == "cuda":
            return super().forward(input)
        assert self.running_mean is not None
        variance = self.deviation().square()
        return functional.batch_norm(input, self.running_mean, variance, self.weight, self.bias, eps=0.0)

    def deviation(self) -> Tensor:
        """What the running values divide by, (filters,)."""
        assert self.running_var is not None
        if self.form == "cuda":
            return torch.sqrt(self.running_var + CUDA_EPSILON)
        return torch.sqrt(self.running_var) + CPU_EPSILON


def checked_form(form: str) -> NormForm:
    """The form, if it is one; raises ModelError."""
    for known in get_args(NormForm):
        if form == known:
            return known  # type: ignore[no-any-return]
    raise ModelError(f"Cannot build a network with norm_form={form!r}.", f"Allowed: {', '.join(get_args(NormForm))}.")


class Layer(nn.Module):
    """One section of a cfg: feature maps (batch, channels, height, width) in, one out."""

    @abstractmethod
    def forward(self, *inputs: Tensor) -> Tensor:
        """The layer's output for the outputs of its sources."""

    @abstractmethod
    def output_shape(self, *shapes: Shape) -> Shape:
        """The shape of the output for the shapes of the sources."""

    @property
    def reduction(self) -> Fraction:
        """By how much the rows and columns become fewer, padding aside."""
        return Fraction(1)

    def macs(self, shape: Shape) -> int:
        """Multiply-accumulate operations for an output of `shape`; only convolutions count."""
        return 0

    def describe(self) -> str:
        """Kernel size and stride for the layer table."""
        return ""


class _Kernel(nn.Conv2d):
    """A convolution that begins with Darknet's weights: normal with deviation sqrt(2 / inputs of a filter), bias 0."""

    def reset_parameters(self) -> None:
        """Draw the weights."""
        nn.init.normal_(self.weight, std=math.sqrt(2 / self.weight[0].numel()))
        if self.bias is not None:
            nn.init.zeros_(self.bias)


class Convolution(Layer):
    """A convolution, batch-norm where wanted, and an activation."""

    def __init__(
        self,
        in_channels: int,
        filters: int,
        size: int,
        stride: int,
        padding: int,
        groups: int,
        activation: str,
        normalize: bool,
        form: NormForm = "cpu",
    ) -> None:
        super().__init__()
        self.convolution = _Kernel(in_channels, filters, size, stride, padding, groups=groups, bias=not normalize)
        self.norm = BatchNorm(filters, form) if normalize else None
        self.activation = activation
        self.is_folded = False

    def forward(self, *inputs: Tensor) -> Tensor:
        """Convolve, normalise and activate the one input."""
        output: Tensor = self.convolution(inputs[0])
        if self.norm is not None:
            output = self.norm(output)
        return ACTIVATIONS[self.activation](output)

    def output_shape(self, *shapes: Shape) -> Shape:
        """(filters, rows, columns) for the one input's shape."""
        _, height, width = shapes[0]
        size, stride, padding = self._geometry()
        rows, columns = ((extent + 2 * padding - size) // stride + 1 for extent in (height, width))
        return self.convolution.out_channels, rows, columns

    @property
    def reduction(self) -> Fraction:
        """The stride."""
        return Fraction(self.convolution.stride[0])

    def macs(self, shape: Shape) -> int:
        """Weights times output positions."""
        return self.convolution.weight.numel() * shape[1] * shape[2]

    def describe(self) -> str:
        """Kernel size and stride."""
        size, stride, _ = self._geometry()
        return f"{size}x{size}/{stride}"

    def fold_norm(self) -> None:
        """Turn the batch-norm's running statistics into the convolution's weights and a bias, in place."""
        norm, convolution = self.norm, self.convolution
        if norm is None or norm.running_mean is None:
            return
        with torch.no_grad():
            factor = norm.weight / norm.deviation()
            convolution.weight.mul_(factor[:, None, None, None])
            convolution.bias = nn.Parameter(norm.bias - norm.running_mean * factor)
        self.norm, self.is_folded = None, True

    def _geometry(self) -> tuple[int, int, int]:
        padding = self.convolution.padding
        return self.convolution.kernel_size[0], self.convolution.stride[0], int(padding[0])


class Route(Layer):
    """The sources' channels one after the other; of several `groups` of channels only `group`, where asked."""

    def __init__(self, groups: int = 1, group: int = 0) -> None:
        super().__init__()
        self.groups, self.group = groups, group

    def forward(self, *inputs: Tensor) -> Tensor:
        """Concatenate the inputs."""
        parts = [x.chunk(self.groups, dim=1)[self.group] for x in inputs] if self.groups > 1 else list(inputs)
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)

    def output_shape(self, *shapes: Shape) -> Shape:
        """The sources' channels together, at the first source's height and width."""
        return sum(shape[0] // self.groups for shape in shapes), shapes[0][1], shapes[0][2]


class Reorg(Layer):
    """Darknet's reorg: `stride`² times the channels, a `stride`-th of the rows and columns.

    Not pixel-unshuffle: Darknet reads the memory of C channels as if it were C / stride² channels of a map `stride`
    times as wide and high, and the weights published for YOLOv2 expect that order.
    """

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, *inputs: Tensor) -> Tensor:
        """Reorder the one input."""
        batch, channels, height, width = inputs[0].shape
        s = self.stride
        split = inputs[0].reshape(batch, channels // (s * s), height, s, width, s)
        return split.permute(0, 3, 5, 1, 2, 4).reshape(batch, channels * s * s, height // s, width // s)

    def output_shape(self, *shapes: Shape) -> Shape:
        """(channels · stride², height / stride, width / stride)."""
        channels, height, width = shapes[0]
        return channels * self.stride**2, height // self.stride, width // self.stride

    @property
    def reduction(self) -> Fraction:
        """The stride."""
        return Fraction(self.stride)

    def describe(self) -> str:
        """The stride."""
        return f"/{self.stride}"


class Shortcut(Layer):
    """The sum of two layers' outputs, activated."""

    def __init__(self, activation: str) -> None:
        super().__init__()
        self.activation = activation

    def forward(self, *inputs: Tensor) -> Tensor:
        """Add the two inputs."""
        return ACTIVATIONS[self.activation](inputs[0] + inputs[1])

    def output_shape(self, *shapes: Shape) -> Shape:
        """The shape of both sources."""
        return shapes[0]


class Upsample(Layer):
    """Every value repeated `stride` times along rows and columns, times `scale`."""

    def __init__(self, stride: int, scale: float) -> None:
        super().__init__()
        self.stride, self.scale = stride, scale

    def forward(self, *inputs: Tensor) -> Tensor:
        """Enlarge the one input."""
        larger = functional.interpolate(inputs[0], scale_factor=float(self.stride), mode="nearest")
        return larger if self.scale == 1 else larger * self.scale

    def output_shape(self, *shapes: Shape) -> Shape:
        """(channels, height · stride, width · stride)."""
        channels, height, width = shapes[0]
        return channels, height * self.stride, width * self.stride

    @property
    def reduction(self) -> Fraction:
        """One by the stride."""
        return Fraction(1, self.stride)

    def describe(self) -> str:
        """The factor."""
        return f"{self.stride}x"


class Output(Layer):
    """Where a head's raw tensor leaves the network: `[region]`, `[yolo]`, a final `[softmax]` or `[cost]`."""

    def forward(self, *inputs: Tensor) -> Tensor:
        """The one input as it is."""
        return inputs[0]

    def output_shape(self, *shapes: Shape) -> Shape:
        """The source's shape."""
        return shapes[0]
