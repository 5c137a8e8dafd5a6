"""Drawings over a frame: rings at round values of q or d, boxes, candidates and masks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from photon_triage.core.frames import Box, Geometry
from photon_triage.core.radial import q_map, radius_at, unknown_of
from photon_triage.core.session.store.preview import Preview
from photon_triage.core.session.store.rows import ClassMap

RINGS = ("off", "q", "d")
UNITS = {"q": "nm⁻¹", "d": "Å"}
LEAST_RINGS = 3
MOST_RINGS = 6
LEAST_GAP = 7.0
"""Pixels of the picture between two rings, at the least."""
ROUND_D = (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 7.0)
"""Resolutions in Å, and ten and a hundred times these, that a ring may be at."""
DOT = 2.0
"""Pixels of the picture from one dot of a ring to the next."""
LEVELS = 24
"""Shades of a picture: few enough that equal neighbours are sent as one run over a slow line."""
TINTS = ((230, 60, 60), (60, 140, 255), (240, 200, 40), (200, 80, 220), (60, 210, 190), (240, 140, 40), (150, 220, 80))
"""Colours of a segmentation's classes but the background; shade LEVELS · n + level is a level in the n-th of them."""
INVALID = LEVELS * (len(TINTS) + 1)
BOX, MARK, OUTSIDE, RING = INVALID + 1, INVALID + 2, INVALID + 3, INVALID + 4
MARK_SIDE = 24.0
"""Pixels of the frame that the box about a candidate covers."""
LEAST_MARK = 3
"""Pixels of the picture that a box about a candidate has at least."""
OVERLAYS = ("tint", "outline", "off")


@dataclass(frozen=True)
class Rings:
    """Circles on a frame: their centre and radii in pixels of the whole frame, each with the text at it."""

    x: float
    y: float
    radii: tuple[float, ...]
    labels: tuple[str, ...]

    def on(self, shape: tuple[int, ...], preview: Preview) -> NDArray[np.bool_]:
        """(rows, columns) bool of a picture of that shape, true on a ring."""
        rows, columns = shape
        scale, x, y = self._placed(columns, preview)
        across, down = np.arange(columns) + 0.5 - x, np.arange(rows) + 0.5 - y
        distance = np.hypot(down[:, None], across[None])
        angle = np.arctan2(down[:, None], across[None]) + math.pi
        found = np.zeros((rows, columns), bool)
        for radius in self.radii:
            dots = np.floor(angle * radius * scale / DOT).astype(np.intp) % 2 == 0
            found |= (np.abs(distance - radius * scale) < 0.5) & dots
        return found

    def texts(self, shape: tuple[int, ...], preview: Preview) -> list[tuple[int, int, str]]:
        """(line, column, text) in cells of a picture of that shape: the labels, where the rings are seen best."""
        rows, columns = shape
        scale, x, y = self._placed(columns, preview)
        best: list[tuple[int, int, str]] = []
        for across, down in ((1, 0), (-1, 0), (0, 1), (0, -1), (0.7, 0.7), (-0.7, 0.7), (0.7, -0.7), (-0.7, -0.7)):
            placed: list[tuple[int, int, str]] = []
            for radius, label in zip(self.radii, self.labels, strict=True):
                column, row = x + across * radius * scale, y + down * radius * scale
                line, left = int(row // 2), int(column - len(label) / 2)
                free = all(line != other or left > start + len(text) for other, start, text in placed)
                if 0 <= row < rows and 0 <= left <= columns - len(label) and free:
                    placed.append((line, left, label))
            if len(placed) > len(best):
                best = placed
        return best

    def _placed(self, columns: int, preview: Preview) -> tuple[float, float, float]:
        """Pixels of the picture in one of the frame, and the centre in pixels of the picture."""
        scale = columns / preview.pixels.shape[1]
        return scale, (self.x + 0.5 - preview.left) * scale, (self.y + 0.5 - preview.top) * scale


def rings_of(geometry: Geometry, preview: Preview, kind: str, scale: float) -> Rings | str:
    """Rings of a kind ("q" or "d") for a frame drawn `scale` times as large, or why there are none."""
    x, y = geometry.beam_center_x, geometry.beam_center_y
    if (unknown := unknown_of(geometry)) or x is None or y is None:
        return f"no rings: {unknown} unknown"
    reach = _reach(preview, x, y)
    largest = q_map(geometry, reach) or 0.0
    values = _round_q(largest) if kind == "q" else _round_d(largest)
    gap = max(LEAST_GAP / scale, reach / (MOST_RINGS + 1))
    radii: list[float] = []
    labels: list[str] = []
    for q, label in values:
        radius = radius_at(geometry, q)
        if radius is None or radius > reach:
            break
        if radius - (radii[-1] if radii else 0.0) >= gap:
            radii.append(radius)
            labels.append(label)
    return Rings(x, y, tuple(radii), tuple(labels)) if radii else "no rings: none fits the frame"


def _reach(preview: Preview, x: float, y: float) -> float:
    """The longest distance from the beam that is seen, straight across or down."""
    height, width = preview.pixels.shape
    left, top = x - preview.left, y - preview.top
    return float(max(abs(left), abs(left - width), abs(top), abs(top - height)))


def _round_q(largest: float) -> list[tuple[float, str]]:
    """Multiples of a round step up to the largest q in nm⁻¹."""
    if largest <= 0:
        return []
    steps = [factor * 10.0**power for power in range(-4, 4) for factor in (1, 2, 5)]
    step = max((step for step in steps if largest / step >= LEAST_RINGS), default=steps[0])
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return [(step * place, f"{step * place:.{decimals}f}") for place in range(1, int(largest / step) + 1)]


def _round_d(largest: float) -> list[tuple[float, str]]:
    """Round resolutions in Å from the coarsest that a ring may be at to the finest that the largest q gives."""
    finest = 20 * math.pi / largest if largest > 0 else math.inf
    found = sorted({value * factor for factor in (1.0, 10.0, 100.0) for value in ROUND_D}, reverse=True)
    return [(20 * math.pi / d, f"{d:g}") for d in found if d >= finest]


@dataclass(frozen=True, eq=False)
class Drawn:
    """What is drawn on a frame: boxes of detections, candidates of which one may be chosen, classes, rings."""

    boxes: Sequence[Box] = ()
    points: Sequence[tuple[int, int]] = ()
    chosen: tuple[int, int] | tuple[()] = ()
    classes: ClassMap | None = None
    rings: Rings | None = None


def draw_over(picture: NDArray[np.uint8], drawn: Drawn, preview: Preview, overlay: str) -> None:
    """Draw on a picture (rows, columns) of shades, in place; the chosen candidate comes last."""
    if drawn.classes is not None and overlay != "off":
        _tint(picture, drawn.classes, preview, outline=overlay == "outline")
    if drawn.rings is not None:
        picture[drawn.rings.on(picture.shape, preview)] = RING
    for point in drawn.points:
        if point != drawn.chosen:
            _draw(picture, _box_about(point, picture, preview), MARK, preview)
    for box in drawn.boxes:
        _draw(picture, box, BOX, preview)
    if drawn.chosen:
        _draw(picture, _box_about(drawn.chosen, picture, preview), BOX, preview)


def _box_about(point: tuple[int, int], picture: NDArray[np.uint8], preview: Preview) -> Box:
    side = max(MARK_SIDE, LEAST_MARK * preview.pixels.shape[1] / picture.shape[1])
    return Box(point[0] - side / 2, point[1] - side / 2, side, side)


def _tint(picture: NDArray[np.uint8], classes: ClassMap, preview: Preview, *, outline: bool) -> None:
    """Give pixels the colour of their class: all, or only those at the class's edge."""
    rows, columns = picture.shape
    height, width = preview.pixels.shape
    y = (np.arange(rows) * 2 + 1) * height // (2 * rows) + preview.top - classes.top
    x = (np.arange(columns) * 2 + 1) * width // (2 * columns) + preview.left - classes.left
    inside = ((y >= 0) & (y < classes.values.shape[0]))[:, None] & ((x >= 0) & (x < classes.values.shape[1]))[None]
    here = classes.values[np.clip(y, 0, classes.values.shape[0] - 1)][:, np.clip(x, 0, classes.values.shape[1] - 1)]
    object_ = inside & (here != classes.background) & (picture != INVALID)
    if outline:
        padded = np.pad(here, 1, mode="edge")
        edge = np.zeros(here.shape, bool)
        for other in (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]):
            edge |= other != here
        object_ &= edge
    tint = 1 + (here - (here > classes.background)) % len(TINTS)
    picture[object_] += (LEVELS * tint[object_]).astype(np.uint8)


def _draw(picture: NDArray[np.uint8], box: Box, shade: int, preview: Preview) -> None:
    """Draw the edge of a box given in pixels of the frame."""
    rows, columns = picture.shape
    down, across = rows / preview.pixels.shape[0], columns / preview.pixels.shape[1]
    left, right = (round((x - preview.left) * across) for x in (box.x, box.x + box.width))
    top, bottom = (round((y - preview.top) * down) for y in (box.y, box.y + box.height))
    for row in (top, bottom - 1):
        if 0 <= row < rows:
            picture[row, max(left, 0) : max(right, 0)] = shade
    for column in (left, right - 1):
        if 0 <= column < columns:
            picture[max(top, 0) : max(bottom, 0), column] = shade
