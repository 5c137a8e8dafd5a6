from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from photon_triage.core.training.data.objects import objects_at, objects_in, widened


def flood_filled(mask: NDArray[np.bool_]) -> set[frozenset[tuple[int, int]]]:
    """The connected parts, found one pixel after the other."""
    left = {(int(y), int(x)) for y, x in np.argwhere(mask)}
    parts = set()
    while left:
        waiting, part = [left.pop()], set()
        while waiting:
            y, x = waiting.pop()
            part.add((y, x))
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= near
            waiting += near
        parts.add(frozenset(part))
    return parts


@settings(max_examples=150, deadline=None)
@given(arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12))))
def test_objects_are_the_connected_parts(mask: NDArray[np.bool_]) -> None:
    objects = objects_in(mask)
    assert {frozenset(map(tuple, pixels.tolist())) for pixels in objects.places} == flood_filled(mask)
    for number, pixels in enumerate(objects.places, 1):
        assert (objects.numbers[pixels[:, 0], pixels[:, 1]] == number).all()
    assert np.array_equal(objects.numbers > 0, mask)


def test_a_long_winding_object_is_one() -> None:
    mask = np.zeros((201, 201), bool)
    mask[::2] = True
    mask[1::4, -1] = mask[3::4, 0] = True
    assert len(objects_in(mask)) == 1


def test_points_are_objects_out_to_a_radius_and_the_nearer_one_wins() -> None:
    objects = objects_at([(2, 3), (7, 3), (0, 11)], (12, 10), 3.0)
    y, x = np.mgrid[:12, :10]
    away = np.stack([np.hypot(x - px, y - py) for px, py in ((2, 3), (7, 3), (0, 11))])
    expected = np.where(away.min(0) <= 3, away.argmin(0) + 1, 0)
    assert np.array_equal(objects.numbers, expected)
    assert [place.tolist() for place in objects.places] == [[[3, 2]], [[3, 7]], [[11, 0]]]


def test_a_mask_is_widened_along_rows_and_columns() -> None:
    mask = np.zeros((9, 9), bool)
    mask[4, 7] = True
    wide = widened(mask, 2)
    assert wide[2:7, 5:9].all() and wide.sum() == 20
    assert widened(mask, 0) is mask
