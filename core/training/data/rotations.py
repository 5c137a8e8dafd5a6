"""Turning a diffraction pattern about the beam, photon by photon.

At small angles the pattern of a particle that was turned about the beam is the turned pattern, and a pattern is the
same when inverted through the beam (Friedel's law). So what half a detector has measured tells the other half, and a
turned pattern has no other holes than those that the beam's gap and bad pixels leave.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SYMMETRIES = 8


def turned(images: Tensor, which: int) -> Tensor:
    """Images (..., n, n) turned by `which` quarters of a circle, from 4 on mirrored first."""
    mirrored = images.flip(-1) if which >= 4 else images
    return torch.rot90(mirrored, which % 4, (-2, -1))


Indices = NDArray[np.int64]

ENOUGH_MATES = 0.5
"""Part of the region's pixels whose Friedel mates were measured too, from which a frame is inverted, not mirrored."""


def rotated(frame: NDArray[np.float32], center: NDArray[np.float32], angle: float) -> NDArray[np.float32]:
    """A frame turned about the beam by `angle` (radians, from x to y), of the same shape.

    center: (2,) x and y in pixels. A pixel takes the counts of one measured pixel, at most about one pixel from where
    it lay, or those of that pixel's Friedel mate; 0 where neither was measured. Three shears by whole pixels move every
    pixel of the plane to a pixel of its own (Paeth 1986), so counts stay independent.
    """
    y, x, c = _plane(frame.shape, center)
    source = _sheared(x - c[0], y - c[1], -angle)
    return _taken(frame, *source, center)


def inverted(
    frame: NDArray[np.float32], box: NDArray[np.float32], center: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A frame and its box inverted through the beam, the beam taken at the nearest half pixel.

    Where less than ENOUGH_MATES of the pixels have a measured mate, as on half a detector, the inverted pattern lies
    outside of the region: the frame is mirrored at the beam's column, which is its inversion seen from behind.
    """
    rows, columns = frame.shape
    twice = np.rint(2 * center.astype(np.float64)).astype(np.int64)
    down, along = twice[1] - np.arange(rows), twice[0] - np.arange(columns)
    share = _inside(down, rows).mean() * _inside(along, columns).mean()
    if share < ENOUGH_MATES:
        down = np.arange(rows)
    new = np.zeros_like(frame)
    good = np.ix_(_inside(down, rows), _inside(along, columns))
    new[good] = frame[np.ix_(down[_inside(down, rows)], along[_inside(along, columns)])]
    return new, _box(box, (twice[0] + 1) / columns, None if share < ENOUGH_MATES else (twice[1] + 1) / rows)


def _box(box: NDArray[np.float32], across: float, down: float | None) -> NDArray[np.float32]:
    """A box whose edges x become across - x, and y down - y where given, as far as it lies in the region."""
    moved = box.copy()
    for place, mirror in ((0, across), (1, down)):
        if mirror is None:
            continue
        middle, half = mirror - box[place], box[place + 2] / 2
        low, high = np.clip([middle - half, middle + half], 0, 1)
        if high > low:
            moved[place], moved[place + 2] = (low + high) / 2, high - low
    return moved


def _plane(shape: tuple[int, ...], center: NDArray[np.float32]) -> tuple[Indices, Indices, Indices]:
    """The rows and columns of all pixels, (rows, 1) and (1, columns), and the pixel of the beam."""
    y, x = np.arange(shape[0])[:, None], np.arange(shape[1])[None, :]
    return y, x, np.rint(center.astype(np.float64)).astype(np.int64)


def _sheared(x: Indices, y: Indices, angle: float) -> tuple[Indices, Indices]:
    """Whole steps (x, y) from the beam turned by an angle: by half a turn, which is exact, and by three shears."""
    turns = round(angle / math.pi)
    rest = angle - turns * math.pi
    sign = -1 if turns % 2 else 1
    x, y = sign * x, sign * y
    shear, other = -math.tan(rest / 2), math.sin(rest)
    x = x + np.rint(shear * y).astype(np.int64)
    y = y + np.rint(other * x).astype(np.int64)
    x = x + np.rint(shear * y).astype(np.int64)
    return x, y


def _taken(frame: NDArray[np.float32], x: Indices, y: Indices, center: NDArray[np.float32]) -> NDArray[np.float32]:
    """What was measured at steps (x, y) from the beam, else at their mates, else 0."""
    rows, columns = frame.shape
    middle = np.rint(center.astype(np.float64)).astype(np.int64)
    # The mate about the beam itself, which may lie between two pixels.
    twice = np.rint(2 * center.astype(np.float64)).astype(np.int64)
    x, y = x + middle[0], y + middle[1]
    there = _inside(x, columns) & _inside(y, rows)
    x, y = np.where(there, x, twice[0] - x), np.where(there, y, twice[1] - y)
    there |= _inside(x, columns) & _inside(y, rows)
    return np.where(there, frame[np.where(there, y, 0), np.where(there, x, 0)], np.float32(0))


def _inside(places: Indices, count: int) -> NDArray[np.bool_]:
    return (places >= 0) & (places < count)
