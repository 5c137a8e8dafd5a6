"""Objects to find: connected parts of a mask, or points, as numbered maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Objects:
    """The objects on an image.

    numbers: (height, width) int32, 0 where no object is, else the object's number from 1 on: a candidate there has
    found it. places: one (n, 2) array of rows and columns an object, where a patch about it may be centred.
    """

    numbers: NDArray[np.int32]
    places: tuple[NDArray[np.int64], ...]

    def __len__(self) -> int:
        return len(self.places)


def objects_in(mask: NDArray[np.bool_]) -> Objects:
    """Each connected part of a mask (height, width), neighbours by an edge or a corner, is an object."""
    from scipy.ndimage import label

    numbers = np.zeros(mask.shape, np.int32)
    count = label(mask, np.ones((3, 3)), output=numbers)
    members = numbers[mask]
    places = np.argwhere(mask)[np.argsort(members, kind="stable")]
    ends = np.cumsum(np.bincount(members, minlength=count + 1))[1:-1]
    return Objects(numbers, tuple(np.split(places, ends)) if count else ())


def objects_at(points: Sequence[tuple[int, int]], shape: tuple[int, int], radius: float) -> Objects:
    """Each point (x, y) is an object, found by a candidate within `radius` pixels; of two points, by the nearer."""
    numbers = np.zeros(shape, np.int32)
    nearest = np.full(shape, np.inf)
    for number, (x, y) in enumerate(points, 1):
        reach = int(radius)
        rows, columns = slice(max(y - reach, 0), y + reach + 1), slice(max(x - reach, 0), x + reach + 1)
        distance = np.hypot(*np.ogrid[rows.start - y : reach + 1, columns.start - x : reach + 1])
        away = distance[: shape[0] - rows.start, : shape[1] - columns.start]
        closer = (away <= radius) & (away < nearest[rows, columns])
        nearest[rows, columns][closer] = away[closer]
        numbers[rows, columns][closer] = number
    return Objects(numbers, tuple(np.array([[y, x]], np.int64) for x, y in points))


def widened(mask: NDArray[np.bool_], margin: int) -> NDArray[np.bool_]:
    """A mask (height, width) grown by `margin` pixels along rows and columns."""
    if not margin:
        return mask
    from scipy.ndimage import maximum_filter

    grown: NDArray[np.bool_] = maximum_filter(mask, 2 * margin + 1, mode="constant", cval=False)
    return grown
