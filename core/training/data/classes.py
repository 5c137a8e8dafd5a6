"""From masks as they were drawn to class maps: which value is which class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_triage.core.common.errors import TrainingError
from photon_triage.core.training.data.images import MaskedImage
from photon_triage.models.common.classes import BACKGROUND

VOID = 255
"""In a class map: a pixel that is neither learned nor scored."""

MOST_CLASSES = 32
NOTHING = (BACKGROUND, "other")


def class_maps(
    examples: Sequence[MaskedImage], names: Sequence[str] = (), void: int | None = None
) -> tuple[list[NDArray[np.uint8]], tuple[str, ...]]:
    """The class of every pixel, (height, width) uint8 an image, and the names of the classes.

    The masks' values in ascending order are the classes in the order of `names`; two are "background" and "object"
    where no names are given. The value `void`, and pixels that are not usable, become VOID. Raises TrainingError.
    """
    masks, values = _masks_and_values(examples, void)
    if len(values) > MOST_CLASSES:
        raise TrainingError(
            f"Could not train on {len(masks)} masks: they hold {len(values)} values from {values[0]} to {values[-1]}.",
            "A mask holds a whole number a class; a smoothed or scaled mask must be thresholded first.",
        )
    classes = tuple(names) or _names(values)
    if len(classes) != len(values) or len(set(classes)) != len(classes):
        raise TrainingError(
            f"Could not name the classes: the masks hold the values {', '.join(map(str, values))}, "
            f"the names are {', '.join(classes)}.",
            "Give --classes with one name a value, each once, in ascending order of the values, and --void for a "
            "value that is no class.",
        )
    maps = []
    for example, mask in zip(examples, masks, strict=True):
        found = np.searchsorted(values, mask).astype(np.uint8)
        if void is not None:
            found[mask == void] = VOID
        found[~example.image.usable] = VOID
        maps.append(found)
    return maps, classes


def object_masks(
    examples: Sequence[MaskedImage], names: Sequence[str] = (), void: int | None = None
) -> tuple[list[NDArray[np.bool_]], list[NDArray[np.bool_]]]:
    """Where objects are and which pixels count, (height, width) bool an image each.

    Objects have any value but the lowest, so that a number an object serves as well; where there is a name for every
    value, any but that of the class "background" or "other". Raises TrainingError.
    """
    masks, values = _masks_and_values(examples, void)
    named = dict(zip(names, values, strict=True)) if len(names) == len(values) else {}
    nothing = next((named[name] for name in NOTHING if name in named), values[0])
    counted = [
        each.image.usable if void is None else each.image.usable & (mask != void)
        for each, mask in zip(examples, masks, strict=True)
    ]
    return [(mask != nothing) & good for mask, good in zip(masks, counted, strict=True)], counted


def _masks_and_values(examples: Sequence[MaskedImage], void: int | None) -> tuple[list[NDArray[Any]], list[int]]:
    """The masks and their values in ascending order, at least two."""
    masks: list[NDArray[Any]] = []
    for example in examples:
        if example.mask is None:
            raise TrainingError(f"Could not train on {example.image.name}: it has no mask.", "Give --masks.")
        masks.append(example.mask)
    values = sorted({int(value) for mask in masks for value in np.unique(mask)} - {void})
    if len(values) < 2:
        raise TrainingError(
            f"Could not train on {len(masks)} masks: they hold one class only, the value {values[0]}."
            if values
            else f"Could not train on {len(masks)} masks: they hold nothing but the void value {void}.",
            "Give masks with at least two values, such as 0 where nothing is and 1 on the objects.",
        )
    return masks, values


def _names(values: Sequence[int]) -> tuple[str, ...]:
    return (BACKGROUND, "object") if len(values) == 2 else (BACKGROUND, *(f"class-{value}" for value in values[1:]))
