"""A frame at the size of its picture, and the limits between which it is drawn.

Limits are taken from the pixels that are drawn, not from those of the frame: of pixels that share one of the picture,
the brightest of counts with Bragg peaks is far above the frame's percentiles, and a mean of noise is far inside them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from photon_triage.core.session.store.preview import Preview

CLIPS = (90.0, 95.0, 98.0, 99.0, 99.5, 99.9, 100.0)
"""Percentiles that can be white."""
DARK_PERCENTILE = 1.0
DARK_PERCENTILE_OF_PEAKS = 50.0
"""Black, as a percentile. Most pixels of a picture of Bragg peaks hold none: what half of them hold is background."""
LEAST_RANGE_OF_PEAKS = 10.0
"""Times of its black that are white at least in a picture of Bragg peaks: one with few or none stays dark."""
LEAST_DEVIATIONS = 12.0
"""Standard deviations of the background between black and white at least, for counts: a frame of noise stays dark."""
DEVIATION_OF_MEDIAN = 1.4826
"""Standard deviation of a normal distribution by its median absolute deviation, which signal hardly changes."""
HOT_RATIO = 100.0
"""Times of its neighbours' counts that make a pixel hot; a Bragg peak has at least a few per cent beside it."""
HOT_TOGETHER = 3
"""The neighbour that counts, from the highest on: up to three hot pixels may lie together."""
NEIGHBOURS = [(down, across) for down in (-1, 0, 1) for across in (-1, 0, 1) if down or across]

Size = tuple[int, int]
"""Rows and columns."""


@dataclass(frozen=True, eq=False)
class Reduced:
    """A frame at the size of its picture: enough to draw it in any scale and contrast.

    pixels: (rows, columns) float32, of an image above its black. valid: (rows, columns) bool. black: what is drawn
    black. whites: the percentiles CLIPS, each above black where anything is.
    """

    pixels: NDArray[np.float32]
    valid: NDArray[np.bool_]
    black: float
    whites: tuple[float, ...]

    def shades(self, clip: int, *, log: bool) -> NDArray[np.float32]:
        """The pixels from 0, black, to 1, the white of CLIPS[clip]: (rows, columns) float32."""
        pixels, black, white = self.pixels, self.black, self.whites[clip]
        if log:
            pixels, black, white = np.log1p(pixels), float(np.log1p(black)), float(np.log1p(white))
        if white <= black:
            white = float(pixels.max())
        within = np.clip(pixels, black, max(black, white))  # first: what is far above white divides to infinity
        shades: NDArray[np.float32] = np.clip((within - black) / ((white - black) or 1.0), 0, 1).astype(np.float32)
        return shades


def reduced(preview: Preview, width: float, height: float, *, peaks: bool) -> Reduced:
    """The frame fitted into `width` by `height` square pixels, its shape kept.

    peaks: keep the brightest of pixels that fall together, for Bragg peaks; their mean otherwise.
    """
    rows, columns = preview.pixels.shape
    scale = min(width / columns, height / rows)
    size = max(round(rows * scale), 1), max(round(columns * scale), 1)
    pixels, valid = _pooled(preview.pixels, preview.valid, size, peaks=peaks), _any(preview.valid, size)
    telling = valid & ~_any(_hot_pixels(preview), size) if preview.counts else valid
    values = pixels[telling if telling.any() else valid]
    black, whites = _limits(values, DARK_PERCENTILE_OF_PEAKS if peaks else DARK_PERCENTILE)
    if preview.counts:
        least = max(LEAST_RANGE_OF_PEAKS * black if peaks else 0.0, black + LEAST_DEVIATIONS * _deviation(values))
        whites = tuple(max(white, least) for white in whites)
    else:  # grey values mean something at any sign; the logarithm is of what is above black
        pixels, black, whites = np.maximum(pixels - black, 0), 0.0, tuple(white - black for white in whites)
    return Reduced(np.where(valid, pixels, 0), valid, black, whites)


def _limits(values: NDArray[np.float32], dark: float) -> tuple[float, tuple[float, ...]]:
    """The percentile `dark` of some values, and the percentiles CLIPS; 0 where there is no value."""
    if not values.size:
        return 0.0, (0.0,) * len(CLIPS)
    black, *whites = np.percentile(values, (dark, *CLIPS)).tolist()
    return black, tuple(whites)


def _deviation(values: NDArray[np.float32]) -> float:
    """The standard deviation of the background among some values, 0 where there is no value.

    By the median absolute deviation; where most pixels hold no photon that is 0, and the 84th percentile tells.
    """
    if not values.size:
        return 0.0
    middle, high = np.percentile(values, (50.0, 84.1)).tolist()
    return DEVIATION_OF_MEDIAN * float(np.median(np.abs(values - middle))) or high - middle


def _hot_pixels(preview: Preview) -> NDArray[np.bool_]:
    """Pixels whose counts are far above those of their neighbours, (height, width) bool."""
    pixels, (height, width) = preview.pixels, preview.pixels.shape
    sample = pixels[::4, ::4][preview.valid[::4, ::4]]
    rows, columns = np.nonzero(pixels > HOT_RATIO * (1 + (float(np.median(sample)) if sample.size else 0.0)))
    beside = np.zeros((len(NEIGHBOURS), len(rows)), np.float32)
    for values, (down, across) in zip(beside, NEIGHBOURS, strict=True):
        y, x = rows + down, columns + across
        inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        values[inside] = pixels[y[inside], x[inside]]
    third = np.partition(beside, -HOT_TOGETHER, axis=0)[-HOT_TOGETHER]
    hot = np.zeros(pixels.shape, np.bool_)
    hot[rows, columns] = pixels[rows, columns] > HOT_RATIO * (1 + third)
    return hot


def _pooled(pixels: NDArray[np.float32], valid: NDArray[np.bool_], size: Size, *, peaks: bool) -> NDArray[np.float32]:
    """Valid pixels that fall together as one, (rows, columns) float32 of the new size."""
    pixels = np.where(valid, pixels, -np.inf if peaks else 0).astype(np.float32)
    for axis, wanted in enumerate(size):
        starts = _starts(pixels.shape[axis], wanted)
        if wanted >= pixels.shape[axis]:
            pixels, valid = np.take(pixels, starts, axis), np.take(valid, starts, axis)
        elif peaks:
            pixels = np.maximum.reduceat(pixels, starts, axis)
        else:
            many = np.maximum(np.add.reduceat(valid.astype(np.float32), starts, axis), 1)
            pixels = (np.add.reduceat(pixels, starts, axis) / many).astype(np.float32)
            valid = np.logical_or.reduceat(valid, starts, axis)
    return pixels


def _any(mask: NDArray[np.bool_], size: Size) -> NDArray[np.bool_]:
    """Whether any of the pixels that fall together is true, (rows, columns) bool of the new size."""
    for axis, wanted in enumerate(size):
        starts = _starts(mask.shape[axis], wanted)
        mask = np.take(mask, starts, axis) if wanted >= mask.shape[axis] else np.logical_or.reduceat(mask, starts, axis)
    return mask


def _starts(extent: int, wanted: int) -> NDArray[np.intp]:
    """Where each of `wanted` pixels of the picture begins in the frame."""
    return np.arange(wanted) * extent // wanted
