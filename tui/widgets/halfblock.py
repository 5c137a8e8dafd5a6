"""Pictures made of half-blocks: two pixels a cell, scaled, coloured and with boxes drawn on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from rich.segment import Segment
from rich.style import Style

from photon_triage.core.frames import Box
from photon_triage.core.session.preview import Preview

LEVELS = 24
"""Shades of a picture: few enough that equal neighbours are sent as one run over a slow line."""
INVALID = LEVELS
BOX = LEVELS + 1
OUTSIDE = LEVELS + 2
RAMP = " .:-=+*#%@"
CLIPS = (90.0, 95.0, 98.0, 99.0, 99.5, 99.9, 100.0)
MAPS = {
    "grey": ((0, 0, 0), (255, 255, 255)),
    "fire": ((0, 0, 0), (110, 10, 60), (220, 60, 20), (255, 180, 30), (255, 255, 220)),
    "ice": ((0, 0, 0), (20, 40, 120), (30, 140, 190), (150, 230, 220), (255, 255, 255)),
}
INVALID_COLOUR = (40, 40, 70)
BOX_COLOUR = (60, 255, 90)


@dataclass(frozen=True, slots=True)
class Look:
    """How counts become shades: percentile that is white, logarithm or not, colour map, whole frame or region."""

    clip: int = 3
    log: bool = True
    colours: str = "grey"
    whole: bool = False
    peaks: bool = False
    """Keep the brightest pixel of those that share a cell, for Bragg spots; the mean otherwise."""

    def contrast(self, step: int) -> Look:
        """More contrast (a lower percentile is white) or, negative, less."""
        return replace(self, clip=max(0, min(self.clip - step, len(CLIPS) - 1)))

    def next_colours(self) -> Look:
        """The next colour map."""
        names = list(MAPS)
        return replace(self, colours=names[(names.index(self.colours) + 1) % len(names)])


def shades(preview: Preview, boxes: Sequence[Box], look: Look, width: int, height: int) -> NDArray[np.uint8]:
    """The picture as (rows, columns) uint8 shades, fitted into `width` by `height` square pixels, shape kept.

    Shades are 0 .. LEVELS-1, or INVALID, or BOX on a box's edge.
    """
    rows, columns = preview.pixels.shape
    scale = min(width / columns, height / rows)
    out_rows, out_columns = max(round(rows * scale), 1), max(round(columns * scale), 1)
    pixels, valid = _fit(preview, out_rows, out_columns, peaks=look.peaks)
    white = float(np.percentile(preview.pixels[preview.valid], CLIPS[look.clip])) if preview.valid.any() else 0.0
    if look.log:
        pixels, white = np.log1p(pixels), float(np.log1p(white))
    if white <= 0:
        white = float(pixels.max()) or 1.0
    picture: NDArray[np.uint8] = np.clip(pixels / white * (LEVELS - 1) + 0.5, 0, LEVELS - 1).astype(np.uint8)
    picture[~valid] = INVALID
    for box in boxes:
        _draw(picture, box, preview, out_columns / columns, out_rows / rows)
    return picture


def cells_of(picture: NDArray[np.uint8], colours: str) -> list[list[Segment]]:
    """Lines of half-blocks, two rows of the picture each."""
    if len(picture) % 2:
        picture = np.vstack([picture, np.full((1, picture.shape[1]), OUTSIDE, np.uint8)])
    lines = []
    for upper, lower in zip(picture[0::2].tolist(), picture[1::2].tolist(), strict=True):
        line: list[Segment] = []
        pair, count = (upper[0], lower[0]), 0
        for here in zip(upper, lower, strict=True):
            if here != pair:
                line.append(Segment(("█" if pair[0] == pair[1] else "▀") * count, _style(*pair, colours)))
                pair, count = here, 0
            count += 1
        line.append(Segment(("█" if pair[0] == pair[1] else "▀") * count, _style(*pair, colours)))
        lines.append(line)
    return lines


def letters_of(picture: NDArray[np.uint8]) -> list[list[Segment]]:
    """The same without colour: one character for two rows, X where invalid, o on a box's edge."""
    signs = np.array([RAMP[level * len(RAMP) // LEVELS] for level in range(LEVELS)] + ["x", "o", " "])
    if len(picture) % 2:
        picture = np.vstack([picture, picture[-1:]])
    pairs = np.stack([picture[0::2], picture[1::2]])
    # Box and invalid have the highest numbers, so the larger of two shades keeps edges and peaks.
    brightest = np.where((pairs == BOX).any(axis=0), BOX, np.where((pairs == INVALID).all(axis=0), INVALID, 0))
    known = np.where(pairs < LEVELS, pairs, 0).max(axis=0)
    return [[Segment("".join(signs[line]))] for line in np.where(brightest > 0, brightest, known)]


def _fit(preview: Preview, rows: int, columns: int, *, peaks: bool) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    pixels, valid = preview.pixels, preview.valid
    for axis, wanted in ((0, rows), (1, columns)):
        have = pixels.shape[axis]
        starts = np.arange(wanted) * have // wanted
        if wanted >= have:
            pixels, valid = np.take(pixels, starts, axis), np.take(valid, starts, axis)
        elif peaks:
            pixels = np.maximum.reduceat(pixels, starts, axis)
            valid = np.logical_or.reduceat(valid, starts, axis)
        else:
            many = np.maximum(np.add.reduceat(valid.astype(np.float32), starts, axis), 1)
            pixels = (np.add.reduceat(np.where(valid, pixels, 0), starts, axis) / many).astype(np.float32)
            valid = np.logical_or.reduceat(valid, starts, axis)
    return pixels, valid


def _draw(picture: NDArray[np.uint8], box: Box, preview: Preview, across: float, down: float) -> None:
    rows, columns = picture.shape
    left, right = (round((x - preview.left) * across) for x in (box.x, box.x + box.width))
    top, bottom = (round((y - preview.top) * down) for y in (box.y, box.y + box.height))
    for row in (top, bottom - 1):
        if 0 <= row < rows:
            picture[row, max(left, 0) : max(right, 0)] = BOX
    for column in (left, right - 1):
        if 0 <= column < columns:
            picture[max(top, 0) : max(bottom, 0), column] = BOX


@lru_cache(maxsize=4096)
def _style(upper: int, lower: int, colours: str) -> Style:
    return Style(color=_colour(upper, colours), bgcolor=_colour(lower, colours))


@lru_cache(maxsize=256)
def _colour(shade: int, colours: str) -> str:
    if shade == OUTSIDE:
        red, green, blue = (0, 0, 0)
    elif shade == BOX:
        red, green, blue = BOX_COLOUR
    elif shade == INVALID:
        red, green, blue = INVALID_COLOUR
    else:
        stops = np.array(MAPS[colours], dtype=float)
        at = shade / (LEVELS - 1) * (len(stops) - 1)
        red, green, blue = (int(np.interp(at, np.arange(len(stops)), stops[:, channel])) for channel in range(3))
    return f"#{red:02x}{green:02x}{blue:02x}"
