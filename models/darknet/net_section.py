"""The `[net]` section: the input's size and how the network is trained."""

from __future__ import annotations

from dataclasses import dataclass

from photon_triage.models.common.errors import ModelError
from photon_triage.models.darknet.cfg import Section

POLICIES = ("constant", "step", "steps", "exp", "poly", "sigmoid")


@dataclass(frozen=True)
class NetConfig:
    """The `[net]` section: the input's size in pixels and how the network is trained.

    `learning_rate` applies to the mean over the `batch` images of sums over cells; `burn_in`, `steps` and `max_batches`
    count batches. The augmentation values (`angle` in degrees, `saturation`, `exposure`, `hue`, `aspect`, crops in
    pixels) are kept for the training.
    """

    width: int
    height: int
    channels: int
    batch: int
    subdivisions: int
    learning_rate: float
    momentum: float
    decay: float
    burn_in: int
    power: float
    policy: str
    steps: tuple[int, ...]
    scales: tuple[float, ...]
    step: int
    scale: float
    gamma: float
    max_batches: int
    angle: float
    saturation: float
    exposure: float
    hue: float
    aspect: float
    flip: bool
    min_crop: int
    max_crop: int


def read_net(section: Section) -> NetConfig:
    """The values of the `[net]` section, Darknet's defaults where it is silent."""
    steps, scales = section.integers("steps"), section.reals("scales")
    if len(steps) != len(scales):
        raise ModelError(
            f"Cannot use steps of [net] at line {section.line_of('steps')}: "
            f"expected as many scales as steps, got {len(steps)} steps and {len(scales)} scales.",
            "Give one scale for each step.",
        )
    return NetConfig(
        width=section.integer("width", minimum=1),
        height=section.integer("height", minimum=1),
        channels=section.integer("channels", 3, minimum=1),
        batch=section.integer("batch", 1, minimum=1),
        subdivisions=section.integer("subdivisions", 1, minimum=1),
        learning_rate=section.real("learning_rate", 0.001, minimum=0.0),
        momentum=section.real("momentum", 0.9, minimum=0.0),
        decay=section.real("decay", 0.0001, minimum=0.0),
        burn_in=section.integer("burn_in", 0, minimum=0),
        power=section.real("power", 4.0),
        policy=section.word("policy", "constant", POLICIES),
        steps=steps,
        scales=scales,
        step=section.integer("step", 1, minimum=1),
        scale=section.real("scale", 1.0),
        gamma=section.real("gamma", 1.0),
        max_batches=section.integer("max_batches", 0, minimum=0),
        angle=section.real("angle", 0.0),
        saturation=section.real("saturation", 1.0),
        exposure=section.real("exposure", 1.0),
        hue=section.real("hue", 0.0),
        aspect=section.real("aspect", 1.0),
        flip=section.flag("flip", True),
        min_crop=section.integer("min_crop", 0, minimum=0),
        max_crop=section.integer("max_crop", 0, minimum=0),
    )
