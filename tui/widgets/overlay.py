"""What is drawn over a picture: boxes of detections, marks at candidates, colours of a segmentation's classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from photon_triage.core.frames import Box
from photon_triage.core.session.store.preview import Preview
from photon_triage.core.session.store.rows import ClassMap
from photon_triage.tui.widgets.rings import Rings

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
