"""Objects to find: connected parts of a mask, or points, as numbered maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from photon_triage.core.prepare import grow


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
    rows, columns = np.nonzero(mask)
    parts = connected_parts(mask)
    numbers = np.zeros(mask.shape, np.int32)
    numbers[rows, columns] = parts + 1
    order = np.argsort(parts, kind="stable")
    ends = np.cumsum(np.bincount(parts)) if len(parts) else np.empty(0, np.int64)
    places = np.stack([rows, columns], 1)[order].astype(np.int64)
    return Objects(numbers, tuple(np.split(places, ends[:-1])) if len(parts) else ())


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
    grown: NDArray[np.bool_] = grow(torch.from_numpy(mask)[None], margin)[0].numpy()
    return grown


def connected_parts(mask: NDArray[np.bool_], *, corners: bool = True) -> NDArray[np.int64]:
    """The part that each pixel of a mask belongs to, (n,), counted from 0 in reading order of their first pixels.

    corners: whether pixels that share a corner only are neighbours.
    """
    height, width = mask.shape
    count = int(mask.sum())
    place = np.full((height + 1, width + 2), -1)
    place[:height, 1:-1][mask] = np.arange(count)
    here = place[:height, 1:-1]
    pairs = []
    for down, right in ((0, 1), (1, 0), *(((1, -1), (1, 1)) if corners else ())):
        there = place[down : down + height, 1 + right : 1 + right + width]
        both = (here >= 0) & (there >= 0)
        pairs.append(np.stack([here[both], there[both]]))
    first, second = np.concatenate(pairs, axis=1)
    # Every pixel points to one of its part that comes earlier; who points where is halved in length every round.
    points_to = np.arange(count)
    while True:
        lower = np.minimum(points_to[first], points_to[second])
        merged = points_to.copy()
        for end in (first, second, points_to[first], points_to[second]):
            np.minimum.at(merged, end, lower)
        merged = merged[merged]
        if np.array_equal(merged, points_to):
            return np.unique(points_to, return_inverse=True)[1].astype(np.int64)
        points_to = merged
