"""Small networks, random weights, heads."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from photon_triage.models.darknet.darknet import Darknet
from photon_triage.models.darknet.heads import HeadConfig
from photon_triage.models.inference.precision import bfloat16_refusal

needs_bfloat16 = pytest.mark.skipif(
    bool(bfloat16_refusal(torch.device("cpu"))), reason="the processor cannot compute in bfloat16"
)

NET = "[net]\nwidth=32\nheight=32\nchannels=3\n"


def convolution(filters: int, size: int = 3, *, normalize: bool = True, activation: str = "leaky") -> str:
    return (
        f"[convolutional]\nbatch_normalize={int(normalize)}\nfilters={filters}\nsize={size}\nstride=1\npad=1\n"
        f"activation={activation}\n"
    )


SMALL = (
    NET
    + convolution(8)
    + "[maxpool]\nsize=2\nstride=2\n"
    + convolution(4, 1)
    + convolution(14, 1, normalize=False, activation="linear")
    + "[region]\nanchors=1,1, 3,2\nbias_match=1\nclasses=2\ncoords=4\nnum=2\nsoftmax=1\nrescore=1\nthresh=.6\n"
    + "object_scale=5\nnoobject_scale=1\nclass_scale=1\ncoord_scale=1\n"
)
"""Two classes and two anchors on a 16x16 grid."""


def thinned(cfg: str, width: int, height: int) -> str:
    """The network with an eighth of the filters, but for the last ones, and another input size."""
    cfg = re.sub(r"filters=(\d{2,4})", lambda m: f"filters={int(m[1]) // 8 if int(m[1]) >= 32 else m[1]}", cfg)
    return re.sub(r"height=\d+", f"height={height}", re.sub(r"width=\d+", f"width={width}", cfg))


def with_random_weights(model: Darknet, seed: int = 0) -> Darknet:
    """The model with batch-norm statistics and biases that differ from their defaults."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, layer in model.convolutions():
            if layer.norm is not None:
                assert layer.norm.running_mean is not None and layer.norm.running_var is not None
                layer.norm.running_mean.normal_(0, 0.2, generator=generator)
                layer.norm.running_var.uniform_(0.5, 1.5, generator=generator)
                layer.norm.weight.uniform_(0.7, 1.3, generator=generator)
                layer.norm.bias.normal_(0, 0.1, generator=generator)
            elif layer.convolution.bias is not None:
                layer.convolution.bias.normal_(0, 0.1, generator=generator)
    return model.eval()


def region_head(**changes: object) -> HeadConfig:
    settings: dict[str, object] = {
        "kind": "region",
        "layer": 0,
        "line": 1,
        "classes": 2,
        "anchors": ((1.0, 1.2), (3.0, 2.0), (0.5, 2.5)),
        "mask": (0, 1, 2),
        "stride": 32,
        "net_width": 160,
        "net_height": 128,
        "softmax": True,
        "rescore": True,
        "object_scale": 5.0,
        "noobject_scale": 1.0,
        "class_scale": 1.0,
        "coord_scale": 1.0,
        "thresh": 0.6,
    }
    return HeadConfig(**{**settings, **changes})  # type: ignore[arg-type]


def yolo_head(**changes: object) -> HeadConfig:
    settings: dict[str, object] = {
        "kind": "yolo",
        "anchors": ((20.0, 30.0), (60.0, 40.0), (120.0, 90.0), (35.0, 20.0)),
        "mask": (1, 3),
        "softmax": False,
        "rescore": False,
        "object_scale": 1.0,
        "thresh": 0.5,
    }
    return region_head(**{**settings, **changes})


TINY: dict[str, dict[str, Any]] = {
    "darknet": {"cfg": SMALL},
    "lenet": {"patch": 16, "kernels": [3, 3], "hidden": [6]},
    "lenet3d": {"patch": 12, "kernels": [3, 3], "widths": [2, 3], "hidden": [4]},
    "msd": {"depth": 4},
    "radial": {"bins": 16, "widths": [3, 4], "hidden": 5},
    "unet": {"depth": 2, "width": 4},
}
"""A small network of every family."""

SIZES: dict[str, tuple[int, int] | None] = {
    "darknet": None,
    "lenet": None,
    "lenet3d": None,
    "msd": (24, 20),
    "radial": None,
    "unet": (16, 24),
}
"""Pixels of small frames for them; None where the network has a size of its own."""


BFLOAT16_ROUNDING, TF32_ROUNDING = 2.0**-8, 2.0**-11
"""Relative error of a value rounded to 8 and to 11 significant bits."""


def rounding_error(layers: int, rounding: float = BFLOAT16_ROUNDING) -> float:
    """Error, relative to the largest output, that rounding explains in a network of so many layers in a row.

    Each layer rounds its weights, its bias, its sums and what its activation gives; independent errors add in squares.
    """
    return math.sqrt(4 * layers) * rounding


def relative_error(found: Tensor, exact: Tensor) -> float:
    """The largest difference, relative to the largest value of the exact result."""
    return float((found.detach().double() - exact.detach().double()).abs().max() / exact.detach().double().abs().max())


def with_other_weights(model: nn.Module) -> nn.Module:
    """The model with parameters that are nowhere 0."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.2, generator=generator)
    return model.eval()
