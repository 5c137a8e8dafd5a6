"""Small pictures of frames for contact sheets."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from photon_triage.core.frames import Box
from photon_triage.core.session.store.contrast import CLIPS, reduced
from photon_triage.core.session.store.preview import Preview

SIDE = 240
"""Pixels of the longer side at most."""
WHITE = CLIPS.index(99.5)
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
    small = reduced(preview, min(SIDE, columns), min(SIDE, rows), peaks=peaks)
    shades = (small.shades(WHITE, log=log) * (GREYS - 1) + 0.5).astype(np.uint8)
    shades[~small.valid] = INVALID
    picture = Image.fromarray(shades)
    picture.putpalette(PALETTE)
    draw = ImageDraw.Draw(picture)
    down, across = shades.shape[0] / rows, shades.shape[1] / columns
    for box in boxes:
        left, top = (box.x - preview.left) * across, (box.y - preview.top) * down
        right = max(left + box.width * across, left + LEAST_BOX)
        draw.rectangle((left, top, right, max(top + box.height * down, top + LEAST_BOX)), outline=EDGE)
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return file.getvalue()
