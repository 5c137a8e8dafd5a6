"""Small pictures of frames for contact sheets."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from photon_triage.core.frames import Box
from photon_triage.core.session.preview import Preview

SIDE = 240
"""Pixels of the longer side at most."""
WHITE_PERCENTILE = 99.5
GREYS = 252
INVALID, EDGE = 252, 253
"""Places in the palette behind the greys."""
PALETTE = [*(round(255 * level / (GREYS - 1)) for level in range(GREYS) for _ in range(3)), 40, 40, 70, 60, 255, 90]
LEAST_BOX = 6.0


def thumbnail(preview: Preview, boxes: Sequence[Box] = (), *, log: bool, peaks: bool) -> bytes:
    """A PNG of the frame, shape kept, boxes in pixels of the whole frame drawn on it.

    log: of counts, which span decades. peaks: keep the brightest of pixels that fall together, for Bragg spots; their
    mean otherwise.
    """
    rows, columns = preview.pixels.shape
    scale = min(SIDE / max(rows, columns), 1.0)
    size = max(round(rows * scale), 1), max(round(columns * scale), 1)
    pixels, valid = _fitted(preview.pixels, preview.valid, size, peaks=peaks)
    white = float(np.percentile(preview.pixels[preview.valid], WHITE_PERCENTILE)) if preview.valid.any() else 0.0
    white = white or float(preview.pixels.max()) or 1.0
    if log:
        pixels, white = np.log1p(pixels), float(np.log1p(white))
    shades = np.clip(pixels / white * (GREYS - 1) + 0.5, 0, GREYS - 1).astype(np.uint8)
    shades[~valid] = INVALID
    picture = Image.fromarray(shades)
    picture.putpalette(PALETTE)
    draw = ImageDraw.Draw(picture)
    down, across = size[0] / rows, size[1] / columns
    for box in boxes:
        left, top = (box.x - preview.left) * across, (box.y - preview.top) * down
        right = max(left + box.width * across, left + LEAST_BOX)
        draw.rectangle((left, top, right, max(top + box.height * down, top + LEAST_BOX)), outline=EDGE)
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return file.getvalue()


def _fitted(
    pixels: NDArray[np.float32], valid: NDArray[np.bool_], size: tuple[int, int], *, peaks: bool
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Pixels that fall together as one: (rows, columns) float32 of the new size, and whether any of them is valid."""
    for axis, wanted in enumerate(size):
        starts = np.arange(wanted) * pixels.shape[axis] // wanted
        if peaks:
            pixels = np.maximum.reduceat(pixels, starts, axis)
        else:
            many = np.maximum(np.add.reduceat(valid.astype(np.float32), starts, axis), 1)
            pixels = (np.add.reduceat(np.where(valid, pixels, 0), starts, axis) / many).astype(np.float32)
        valid = np.logical_or.reduceat(valid, starts, axis)
    return pixels, valid
