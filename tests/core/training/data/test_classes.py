from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from photon_triage.core.common.errors import TrainingError
from photon_triage.core.frames import FrameKey
from photon_triage.core.training.data.classes import VOID, class_maps, object_masks
from photon_triage.core.training.data.images import Image, MaskedImage


def examples(*masks: Sequence[int]) -> list[MaskedImage]:
    """One-row images with these masks."""
    found = []
    for mask in masks:
        pixels = np.zeros((1, len(mask)), np.uint8)
        image = Image(FrameKey("/a.tif", "", 0), pixels, np.ones(pixels.shape, bool))
        found.append(MaskedImage(image, np.array([mask])))
    return found


def test_values_in_ascending_order_are_the_classes() -> None:
    maps, classes = class_maps(examples([7, 0, 3], [3, 3, 0]), ("nothing", "fibre", "void space"))
    assert classes == ("nothing", "fibre", "void space")
    assert [found.tolist() for found in maps] == [[[2, 0, 1]], [[1, 1, 0]]]


def test_two_values_are_background_and_object() -> None:
    assert class_maps(examples([0, 255]))[1] == ("background", "object")
    assert class_maps(examples([0, 4, 9]))[1] == ("background", "class-4", "class-9")


def test_void_and_unusable_pixels_count_nowhere() -> None:
    given = examples([0, 1, 255, 1])
    given[0].image.usable[0, 3] = False
    maps, classes = class_maps(given, void=255)
    assert maps[0].tolist() == [[0, 1, VOID, VOID]] and len(classes) == 2


@pytest.mark.parametrize(
    ("mask", "names", "void", "complaint"),
    [
        ([0, 0], (), None, "one class only, the value 0"),
        ([5, 5], (), 5, "nothing but the void value 5"),
        (list(range(40)), (), None, "40 values from 0 to 39"),
        ([0, 1, 2], ("a", "b"), None, "the values 0, 1, 2, the names are a, b"),
        ([0, 1], ("a", "a"), None, "the names are a, a"),
    ],
)
def test_masks_that_say_nothing_are_told(
    mask: list[int], names: tuple[str, ...], void: int | None, complaint: str
) -> None:
    with pytest.raises(TrainingError, match=complaint):
        class_maps(examples(mask), names, void)


def test_objects_have_any_value_but_the_lowest() -> None:
    found, counted = object_masks(examples([0, 1, 0, 9], [0, 0, 7, 5]), ("synapse",), void=5)
    assert [mask.tolist() for mask in found] == [[[False, True, False, True]], [[False, False, True, False]]]
    assert [good.tolist() for good in counted] == [[[True] * 4], [[True, True, True, False]]]


def test_a_name_tells_which_value_is_no_object() -> None:
    assert object_masks(examples([0, 255]), ("disc", "background"))[0][0].tolist() == [[True, False]]
