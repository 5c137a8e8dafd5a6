"""Layers that read one other layer, each from its section of a cfg and the shape that it reads."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from photon_triage.models.common.errors import ModelError
from photon_triage.models.common.limits import require_map
from photon_triage.models.darknet.cfg import Section
from photon_triage.models.darknet.layers import ACTIVATIONS, Convolution, Layer, Output, Reorg, Shape, Upsample
from photon_triage.models.darknet.norm import NormForm
from photon_triage.models.darknet.pooling import Crop, Dropout, GlobalAverage, MaxPool, Softmax

MOST_WEIGHTS = 2**28
"""More weights than the largest layer of any published network has: 1 GiB, which a typing error would claim."""


def convolution_numbers(section: Section, shape: Shape, filters: int) -> int:
    """The weights of a convolution, biases and batch-norm aside."""
    return filters * shape[0] * section.integer("size", 1, minimum=1) ** 2 // section.integer("groups", 1, minimum=1)


def convolutional(section: Section, shape: Shape, filters: int, form: NormForm) -> Layer:
    """A convolution; `pad=1` means half the kernel size."""
    channels, groups = shape[0], section.integer("groups", 1, minimum=1)
    if channels % groups or filters % groups:
        raise ModelError(
            f"Cannot use groups={groups} of [convolutional] at line {section.line_of('groups')}: "
            f"{channels} channels and {filters} filters do not divide.",
            "Use a common divisor of both.",
        )
    size = section.integer("size", 1, minimum=1)
    padding = size // 2 if section.flag("pad") else section.integer("padding", 0, minimum=0)
    require_map((channels, *(extent + 2 * padding for extent in shape[1:])), f"{section.place} with its padding")
    return Convolution(
        channels,
        filters,
        size,
        section.integer("stride", 1, minimum=1),
        padding,
        groups,
        section.word("activation", "logistic", tuple(ACTIVATIONS)),
        section.flag("batch_normalize"),
        form,
    )


def maxpool(section: Section, shape: Shape) -> Layer:
    """A pooling; without `padding` Darknet pads size - 1 in all."""
    stride = section.integer("stride", 1, minimum=1)
    size = section.integer("size", stride, minimum=1)
    padding = section.integer("padding", size - 1, minimum=0)
    if padding > size:
        raise ModelError(
            f"Cannot use padding={padding} of [maxpool] at line {section.line_of('padding')}: "
            f"windows of {size} would stand outside the input.",
            f"Allowed: 0 to {size}.",
        )
    require_map((shape[0], *(extent + padding for extent in shape[1:])), f"{section.place} with its padding")
    return MaxPool(size, stride, padding)


def avgpool(section: Section, shape: Shape) -> Layer:
    """The mean over the map."""
    return GlobalAverage()


def crop(section: Section, shape: Shape) -> Layer:
    """A cut-out, no larger than its input."""
    shares = []
    for key, extent in (("crop_height", shape[1]), ("crop_width", shape[2])):
        wanted = section.integer(key, 1, minimum=1)
        if wanted > extent:
            raise ModelError(
                f"Cannot use {key}={wanted} of [crop] at line {section.line_of(key)}: the input has {extent}.",
                f"Allowed: 1 to {extent}.",
            )
        shares.append(Fraction(wanted, extent))
    return Crop(shares[0], shares[1], section.flag("flip"), not section.flag("noadjust"))


def reorg(section: Section, shape: Shape) -> Layer:
    """Darknet's reorg; rows, columns and channels must divide."""
    stride = section.integer("stride", 1, minimum=1)
    channels, height, width = shape
    if height % stride or width % stride or channels % stride**2:
        raise ModelError(
            f"Cannot build {section.place}: {width}x{height}x{channels} cannot be reorganised by {stride}.",
            f"Use rows and columns divisible by {stride} and channels divisible by {stride**2}.",
        )
    return Reorg(stride)


def upsample(section: Section, shape: Shape) -> Layer:
    """An enlargement."""
    return Upsample(section.integer("stride", 2, minimum=1), section.real("scale", 1.0))


def dropout(section: Section, shape: Shape) -> Layer:
    """A dropout."""
    probability = section.real("probability", 0.5, minimum=0.0)
    if probability >= 1:
        line = section.line_of("probability")
        raise ModelError(
            f"Cannot use probability={probability:g} of [dropout] at line {line}: nothing would be left.",
            "Allowed: 0 and above, below 1.",
        )
    return Dropout(probability)


def softmax(section: Section, shape: Shape) -> Layer:
    """A softmax."""
    groups = section.integer("groups", 1, minimum=1)
    if shape[0] % groups:
        raise ModelError(f"Cannot build {section.place}: its channels do not divide by {groups}.", "Use a divisor.")
    temperature = section.real("temperature", 1.0)
    if temperature <= 0:
        raise ModelError(
            f"Cannot use temperature={temperature:g} of [softmax] at line {section.line_of('temperature')}.",
            "Allowed: above 0.",
        )
    is_spatial = section.flag("spatial")
    if is_spatial and (groups, temperature) != (1, 1):
        raise ModelError(
            f"Cannot use spatial of [softmax] at line {section.line_of('spatial')} with groups and temperature: "
            "Darknet ignores them then.",
            "Remove groups= and temperature=, or spatial=.",
        )
    return Softmax(groups, temperature, is_spatial)


def cost(section: Section, shape: Shape) -> Layer:
    """A classifier's cost, which leaves its input as it is."""
    return Output()


MAKERS: dict[str, Callable[[Section, Shape], Layer]] = {
    "maxpool": maxpool,
    "avgpool": avgpool,
    "crop": crop,
    "reorg": reorg,
    "upsample": upsample,
    "dropout": dropout,
    "softmax": softmax,
    "cost": cost,
}
"""What makes the layers that need their section and their input's shape alone."""
