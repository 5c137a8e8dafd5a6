"""Augmentation: the symmetries, rotations, noise and gaps that an experiment could have had just as well.

A pixel of which nothing is known is 0, as where it is bad or in a gap. Photons are never made: where counts are whole
they stay whole, and what was drawn from Poisson's law stays so, except for `gain`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from photon_triage.core.common.errors import TrainingError

SYMMETRIES = 8
Indices = NDArray[np.int64]
ENOUGH_MATES = 0.5
"""Part of the region's pixels whose Friedel mates were measured too, from which a frame is inverted, not mirrored."""
LEAST_KEPT = 0.3
"""Thinning keeps at least this part of the photons."""
GAIN = 1.5
"""A gain lies between 1 / GAIN and GAIN."""
LARGEST_PANEL, LARGEST_GAP = 0.25, 0.08
"""A dead panel's sides and a gap's width, as parts of the region's."""
WHAT = {
    "rotate": "turned about the beam by any angle, filled by Friedel's law",
    "friedel": "inverted through the beam; on half a detector, where the other half was not measured, mirrored",
    "mirror": "left and right exchanged",
    "thin": "a weaker pulse: each photon is kept with the same chance",
    "gaps": "a dead panel, or a gap elsewhere",
    "gain": "counts multiplied, as by a gain that is not known exactly",
}
AUGMENTATIONS = tuple(WHAT)
DEFAULT_AUGMENTATIONS = ("mirror", "thin")


def turned(images: Tensor, which: int) -> Tensor:
    """Images (..., n, n) turned by `which` quarters of a circle, from 4 on mirrored first."""
    mirrored = images.flip(-1) if which >= 4 else images
    return torch.rot90(mirrored, which % 4, (-2, -1))


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


def checked_augmentations(given: str | None) -> tuple[str, ...]:
    """The augmentations that an option names: "all", "none", or names with commas; None is the default.

    Raises TrainingError that says which there are.
    """
    if given is None:
        return DEFAULT_AUGMENTATIONS
    if given in ("all", "none"):
        return AUGMENTATIONS if given == "all" else ()
    names = [name.strip() for name in given.split(",") if name.strip()]
    if unknown := [name for name in names if name not in WHAT]:
        told = "; ".join(f"{name}: {what}" for name, what in WHAT.items())
        raise TrainingError(f"Could not augment by {', '.join(unknown)}.", f"Allowed: all, none, or of these: {told}.")
    return tuple(name for name in AUGMENTATIONS if name in names)


def augment(
    counts: NDArray[Any],
    boxes: NDArray[np.float32],
    rng: np.random.Generator,
    names: Sequence[str] = DEFAULT_AUGMENTATIONS,
    centers: NDArray[np.float32] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """New counts and boxes, each augmentation on half of the frames, drawn anew for each.

    counts: (batch, rows, columns). boxes: (batch, 4), centre x first, as parts of the width and height. centers:
    (batch, 2) x and y of the beam in pixels of the region, NaN where unknown: such frames are not turned.
    """
    turned = boxes.copy()
    changed: NDArray[np.float32] = _thinned(counts, rng) if "thin" in names else counts.astype(np.float32)
    for name, turn in (("rotate", _rotate), ("friedel", _invert)):
        if name in names:
            turn(changed, turned, _known(centers, len(counts)), rng)
    if "mirror" in names:
        mirrored = rng.random(len(counts)) < 0.5
        changed[mirrored] = changed[mirrored][:, :, ::-1]
        turned[mirrored, 0] = 1 - turned[mirrored, 0]
    if "gaps" in names:
        for frame in np.flatnonzero(rng.random(len(counts)) < 0.5):
            _blind(changed[frame], rng)
    if "gain" in names:
        chosen = rng.random(len(counts)) < 0.5
        gains = np.where(chosen, GAIN ** rng.uniform(-1, 1, len(counts)), 1.0).astype(np.float32)
        changed *= gains[:, None, None]
    return changed, turned


def _thinned(counts: NDArray[Any], rng: np.random.Generator) -> NDArray[np.float32]:
    """Half of the frames with a part of their photons.

    Thinning a Poisson count binomially gives the Poisson count of a weaker pulse, so it stays exact; counts that are
    not whole are scaled.
    """
    kept = np.where(rng.random(len(counts)) < 0.5, rng.uniform(LEAST_KEPT, 1.0, len(counts)), 1.0)
    if counts.dtype.kind != "i":
        return np.asarray(counts * kept[:, None, None], np.float32)
    lit = np.nonzero(counts)
    thinned = np.zeros(counts.shape, np.float32)
    thinned[lit] = rng.binomial(counts[lit], kept[lit[0]])
    return thinned


def _rotate(
    counts: NDArray[np.float32], boxes: NDArray[np.float32], centers: NDArray[np.float32], rng: np.random.Generator
) -> None:
    """Turn half of the frames in place. A box holds what of a disc about the beam lies in the region: it stays."""
    chosen, angles = rng.random(len(counts)) < 0.5, rng.uniform(0, 2 * np.pi, len(counts))
    for frame in np.flatnonzero(chosen & np.isfinite(centers).all(1)):
        counts[frame] = rotated(counts[frame], centers[frame], float(angles[frame]))


def _invert(
    counts: NDArray[np.float32], boxes: NDArray[np.float32], centers: NDArray[np.float32], rng: np.random.Generator
) -> None:
    """Invert half of the frames in place."""
    chosen = rng.random(len(counts)) < 0.5
    for frame in np.flatnonzero(chosen & np.isfinite(centers).all(1)):
        counts[frame], boxes[frame] = inverted(counts[frame], boxes[frame], centers[frame])


def _blind(frame: NDArray[np.float32], rng: np.random.Generator) -> None:
    """Let a panel, or a gap across the whole frame, count nothing."""
    rows, columns = frame.shape
    if rng.random() < 0.5:
        height, width = (max(1, round(side * LARGEST_PANEL * rng.uniform(0.2, 1))) for side in frame.shape)
    else:
        across = rng.random() < 0.5
        thickness = max(1, round((rows if across else columns) * LARGEST_GAP * rng.random()))
        height, width = (thickness, columns) if across else (rows, thickness)
    top, left = (int(rng.integers(0, room + 1)) for room in (rows - height, columns - width))
    frame[top : top + height, left : left + width] = 0


def _known(centers: NDArray[np.float32] | None, count: int) -> NDArray[np.float32]:
    return np.full((count, 2), np.nan, np.float32) if centers is None else centers
