"""Pictures made of half-blocks: two pixels a cell, scaled, coloured, with boxes drawn on them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray
from rich.segment import Segment
from rich.style import Style

from photon_triage.core.session.store.contrast import CLIPS, Reduced, reduced
from photon_triage.core.session.store.preview import Preview
from photon_triage.tui.widgets.rings import (
    BOX,
    INVALID,
    LEVELS,
    MARK,
    OUTSIDE,
    OVERLAYS,
    RING,
    RINGS,
    TINTS,
    Drawn,
    draw_over,
)

_STOPS = {
    "grey": "000000 ffffff",
    "viridis": (
        "440154 471164 482071 472e7c 443b84 3f4889 3a548c 34608d 2f6c8e 2a768e 26818e 228b8d "
        "1f958b 1fa088 24aa83 2fb47c 42be71 58c765 70cf57 8bd646 a8db34 c5e021 e2e418 fde725"
    ),
    "magma": (
        "000004 060518 110c2f 1e1149 2f1163 420f75 54137d 651a80 782281 892881 9b2e7f ad347c "
        "bf3a77 d0416f e04c67 ed5a5f f66e5c fb835f fd9869 feac76 fec185 fed597 fde9aa fcfdbf"
    ),
    "cividis": (
        "00224e 002a61 003171 1c396f 2d416d 3a486c 45506c 50576c 5b606e 656870 6e6f73 777777 "
        "817f78 8c8878 969077 a19975 ada272 b9ab6d c4b468 d0be62 dcc859 e8d24f f5dc41 fee838"
    ),
    "jet": "000080 0000ff 0080ff 00ffff 80ff80 ffff00 ff8000 ff0000 800000",
}
"""Colours at equal distances. viridis, magma: van der Walt, Smith 2015; cividis: Nuñez, Anderton, Renslow 2018."""
MAPS = tuple(_STOPS)
RAMP = " .:-=+*#%@"
DRAWN_COLOURS = {
    INVALID: (40, 40, 70),
    BOX: (60, 255, 90),
    MARK: (255, 160, 40),
    OUTSIDE: (0, 0, 0),
    RING: (80, 190, 220),
}
"""Of shades that are no levels."""
TINT_SHARE = 0.45
"""How much of a class's colour is in a tinted shade."""


@cache
def _stops(name: str) -> NDArray[np.float64]:
    return np.array([list(bytes.fromhex(stop)) for stop in _STOPS[name].split()], dtype=float)


def colour_at(name: str, value: float) -> tuple[float, float, float]:
    """Red, green and blue in [0, 255] of a value in [0, 1]."""
    stops = _stops(name)
    at = value * (len(stops) - 1)
    red, green, blue = (float(np.interp(at, np.arange(len(stops)), stops[:, channel])) for channel in range(3))
    return red, green, blue


@dataclass(frozen=True, slots=True)
class Look:
    """How counts become shades: percentile that is white, logarithm or not, colour map, whole frame or region."""

    clip: int = 3
    log: bool = True
    colours: str = "grey"
    whole: bool = False
    peaks: bool = False
    """Keep the brightest pixel of those that share a cell, for Bragg spots; the mean otherwise."""
    overlay: str = "tint"
    """How a segmentation is shown: one of OVERLAYS."""
    rings: str = "off"
    """What rings are at: one of RINGS."""

    def contrast(self, step: int) -> Look:
        """More contrast (a lower percentile is white) or, negative, less."""
        return replace(self, clip=max(0, min(self.clip - step, len(CLIPS) - 1)))

    def next_colours(self) -> Look:
        """The next colour map."""
        return replace(self, colours=MAPS[(MAPS.index(self.colours) + 1) % len(MAPS)])

    def next_overlay(self) -> Look:
        """The next way to show a segmentation."""
        return replace(self, overlay=OVERLAYS[(OVERLAYS.index(self.overlay) + 1) % len(OVERLAYS)])

    def next_rings(self) -> Look:
        """Rings at the next kind of value."""
        return replace(self, rings=RINGS[(RINGS.index(self.rings) + 1) % len(RINGS)])


def levels_of(frame: Reduced, look: Look) -> NDArray[np.uint8]:
    """The picture as (rows, columns) uint8 shades: levels 0 .. LEVELS-1, or INVALID."""
    picture: NDArray[np.uint8] = (frame.shades(look.clip, log=look.log) * (LEVELS - 1) + 0.5).astype(np.uint8)
    picture[~frame.valid] = INVALID
    return picture


def shades(preview: Preview, drawn: Drawn, look: Look, width: int, height: int) -> NDArray[np.uint8]:
    """The picture as (rows, columns) uint8 shades, fitted into `width` by `height` square pixels, shape kept.

    Shades are levels 0 .. LEVELS-1, tinted or not, or INVALID, or RING, BOX and MARK where something is drawn.
    """
    picture = levels_of(reduced(preview, width, height, peaks=look.peaks), look)
    draw_over(picture, drawn, preview, look.overlay)
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
                line.append(_run(*pair, count, colours))
                pair, count = here, 0
            count += 1
        line.append(_run(*pair, count, colours))
        lines.append(line)
    return lines


def letters_of(picture: NDArray[np.uint8]) -> list[list[Segment]]:
    """The same without colour: one character for two rows.

    x where invalid, o on the edge of a box, + on that of another candidate's, ° on a ring, a digit where there is a
    class.
    """
    ramp = [RAMP[level * len(RAMP) // LEVELS] for level in range(LEVELS)]
    digits = [str(number) for number in range(1, len(TINTS) + 1) for _ in range(LEVELS)]
    signs = np.array([*ramp, *digits, "x", "o", "+", " ", "°"])
    if len(picture) % 2:
        picture = np.vstack([picture, picture[-1:]])
    pairs = np.stack([picture[0::2], picture[1::2]])
    special = np.where((pairs == INVALID).all(axis=0), INVALID, 0)
    for edge in (RING, MARK, BOX):
        special = np.where((pairs == edge).any(axis=0), edge, special)
    # Tinted shades have the higher numbers, so the larger of two keeps classes and peaks.
    known = np.where(pairs < INVALID, pairs, 0).max(axis=0)
    return [[Segment("".join(signs[line]))] for line in np.where(special > 0, special, known)]


def rgb_of(shade: int, colours: str) -> tuple[int, int, int]:
    """Red, green and blue of a shade in a colour map."""
    if shade in DRAWN_COLOURS:
        return DRAWN_COLOURS[shade]
    tint, level = divmod(shade, LEVELS)
    mixed = np.array(colour_at(colours, level / (LEVELS - 1)))
    if tint:
        mixed = (1 - TINT_SHARE) * mixed + TINT_SHARE * np.array(TINTS[tint - 1])
    red, green, blue = (int(channel) for channel in mixed)
    return red, green, blue


@lru_cache(maxsize=8192)
def _run(upper: int, lower: int, count: int, colours: str) -> Segment:
    """Equal cells beside each other; pictures share them, so that thousands of cells are not thousands of objects."""
    return Segment(("█" if upper == lower else "▀") * count, _style(upper, lower, colours))


@lru_cache(maxsize=4096)
def _style(upper: int, lower: int, colours: str) -> Style:
    return Style(color=_colour(upper, colours), bgcolor=_colour(lower, colours))


@lru_cache(maxsize=256)
def _colour(shade: int, colours: str) -> str:
    red, green, blue = rgb_of(shade, colours)
    return f"#{red:02x}{green:02x}{blue:02x}"
