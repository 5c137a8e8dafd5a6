"""Detection heads: the settings of a `[region]` (v2) or `[yolo]` (v3) section."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Literal

from photon_triage.models.common.errors import ModelError, ModelWarning
from photon_triage.models.darknet.cfg import Section

BOX_VALUES = 5
"""Values of an anchor before its classes: x, y, w, h, objectness."""


@dataclass(frozen=True)
class HeadConfig:
    """A detection head: where it stands, its anchors and its loss's weights.

    `anchors` are all (width, height) pairs: in cells for a region head, in pixels of the input for a yolo head. `mask`
    tells which of them the head predicts, in the order of its channels; a cell has `values` channels for each. A cell
    is `stride` pixels wide and high; `extra_cells` (rows, columns) is how many the grid has beyond those of the input,
    because a layer pads. `bias_match` tells whether a truth goes to the anchor of the best shape, or to the predicted
    box of the best shape. `thresh` is the IoU above which a cell is not held to be empty (`ignore_thresh` of a yolo
    head).
    """

    kind: Literal["region", "yolo"]
    layer: int
    line: int
    classes: int
    anchors: tuple[tuple[float, float], ...]
    mask: tuple[int, ...]
    stride: int
    net_width: int
    net_height: int
    extra_cells: tuple[int, int] = (0, 0)
    bias_match: bool = True
    softmax: bool = True
    rescore: bool = False
    object_scale: float = 1.0
    noobject_scale: float = 1.0
    class_scale: float = 1.0
    coord_scale: float = 1.0
    thresh: float = 0.5
    jitter: float = 0.2
    random: bool = False

    @property
    def values(self) -> int:
        """Channels of one anchor: four of the box, the objectness, the classes."""
        return BOX_VALUES + self.classes

    @property
    def has_softmax(self) -> bool:
        """Whether the classes exclude each other; those of a yolo head never do."""
        return self.kind == "region" and self.softmax

    @property
    def channels(self) -> int:
        """Channels of the head's tensor."""
        return len(self.mask) * self.values


def read_head(
    section: Section,
    layer: int,
    stride: int,
    net_size: tuple[int, int],
    grid: tuple[int, int],
    classes: int | None,
) -> HeadConfig:
    """The head that `section` describes, for an input and a grid of (height, width); `classes` replaces the cfg's.

    Raises ModelError, with the line, for anchors, masks and options that cannot be used.
    """
    is_region = section.name == "region"
    number = section.integer("num", 1, minimum=1)
    anchors = _read_anchors(section, number)
    mask = read_mask(section, number)
    if section.integer("coords", 4) != 4:
        raise ModelError(
            f"Cannot use coords of [{section.name}] at line {section.line_of('coords')}: not supported.", "Allowed: 4."
        )
    if not is_region and section.real("truth_thresh", 1.0) < 1:
        line = section.line_of("truth_thresh")
        raise ModelError(f"Cannot use truth_thresh of [yolo] at line {line}: not supported below 1.", "Allowed: 1.")
    head_classes = section.integer("classes", 20, minimum=1) if classes is None else classes
    return HeadConfig(
        kind="region" if is_region else "yolo",
        layer=layer,
        line=section.line,
        classes=head_classes,
        anchors=anchors,
        mask=mask,
        stride=stride,
        net_width=net_size[1],
        net_height=net_size[0],
        extra_cells=(grid[0] - net_size[0] // stride, grid[1] - net_size[1] // stride),
        bias_match=not is_region or section.flag("bias_match"),
        softmax=is_region and section.flag("softmax"),
        rescore=is_region and section.flag("rescore"),
        object_scale=section.real("object_scale", 1.0),
        noobject_scale=section.real("noobject_scale", 1.0),
        class_scale=section.real("class_scale", 1.0),
        coord_scale=section.real("coord_scale", 1.0),
        thresh=section.real("thresh" if is_region else "ignore_thresh", 0.5),
        jitter=section.real("jitter", 0.2),
        random=section.flag("random"),
    )


def read_mask(section: Section, number: int) -> tuple[int, ...]:
    """The numbers of the anchors that a head predicts: those under `mask` of a yolo head, else all `number`.

    Raises ModelError, with the line, for a mask that names other anchors.
    """
    mask = section.integers("mask") if section.name == "yolo" else ()
    wrong = [anchor for anchor in mask if not 0 <= anchor < number]
    if wrong:
        raise ModelError(
            f"Cannot use mask of [yolo] at line {section.line_of('mask')}: it names anchor {wrong[0]} "
            f"where num={number}.",
            f"Allowed: 0 to {number - 1}.",
        )
    return mask or tuple(range(number))


def _read_anchors(section: Section, number: int) -> tuple[tuple[float, float], ...]:
    """The first `number` anchors; as in Darknet, more of them have no effect, which is warned of."""
    given = section.reals("anchors")
    flat = given[: 2 * number]
    if len(given) > 2 * number:
        warnings.warn(
            f"The cfg has {len(given)} numbers in anchors of [{section.name}] (line {section.line_of('anchors')}) "
            f"where num={number} needs {2 * number}: the others have no effect.",
            ModelWarning,
            stacklevel=2,
        )
    if len(flat) != 2 * number or min(flat) <= 0:
        raise ModelError(
            f"Cannot use anchors of [{section.name}] at line {section.line_of('anchors')}: "
            f"expected {2 * number} positive numbers for num={number}, got {len(given)}.",
            "Give a width and a height for each anchor.",
        )
    return tuple(zip(flat[::2], flat[1::2], strict=True))
