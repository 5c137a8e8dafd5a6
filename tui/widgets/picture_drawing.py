"""A frame with what is drawn on it, in pixels of the terminal."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from photon_triage.core.session.store.contrast import reduced
from photon_triage.tui.terminal.images.bitmap import BAND, COARSENESS, Bitmap, encode_kitty, encode_sixel, within_budget
from photon_triage.tui.terminal.terminal import Multiplexer
from photon_triage.tui.widgets.halfblock import Look, levels_of, rgb_of
from photon_triage.tui.widgets.overlay import OUTSIDE, draw_over
from photon_triage.tui.widgets.pictures import Picture


def sixel_of(picture: Picture, look: Look, columns: int, rows: int, cell: tuple[int, int]) -> str:
    """The picture as sixels within so many cells, in their middle, and the cells about it emptied; within the budget.

    It begins where the terminal's cursor stands, and moves it. "" where half-blocks show as much: a frame of noise, in
    which no two neighbours are alike, takes more than the budget.
    """
    # A band that is not whole would reach into the line below.
    height, width = rows * cell[0] // BAND * BAND, columns * cell[1]

    def encoded(coarseness: int) -> str:
        bitmap = bitmap_of(picture, look, width // coarseness, height // coarseness)
        before = (width - bitmap.pixels.shape[1] * coarseness) // 2 // cell[1]
        return (f"\x1b[{before}C" if before else "") + encode_sixel(bitmap, coarseness)

    # Erased are cells with the background of the moment; what was saved comes back with the cursor.
    emptied = f"\x1b[{columns}X\x1b[1B" * rows
    sixels = within_budget(encoded, coarsest=cell[1] - 1)
    return f"\x1b7\x1b[40m{emptied}\x1b8{sixels}" if sixels else ""


def kitty_of(
    picture: Picture,
    look: Look,
    columns: int,
    rows: int,
    cell: tuple[int, int],
    picture_id: int,
    multiplexer: Multiplexer,
) -> str:
    """The picture for so many cells as kitty takes it, within the budget; the terminal enlarges it."""
    assert picture.preview is not None
    own_height, own_width = picture.preview.pixels.shape
    height, width = min(rows * cell[0], own_height), min(columns * cell[1], own_width)

    def encoded(coarseness: int) -> str:
        bitmap = bitmap_of(picture, look, max(width // coarseness, 1), max(height // coarseness, 1))
        return encode_kitty(bitmap, picture_id, columns, rows, multiplexer)

    return within_budget(encoded, coarsest=COARSENESS[-1])


def bitmap_of(picture: Picture, look: Look, width: int, height: int) -> Bitmap:
    """The picture in its look, fitted into so many pixels, its shape kept."""
    preview = picture.preview
    assert preview is not None
    pixels = levels_of(reduced(preview, max(width, 1), max(height, 1), peaks=look.peaks), look)
    draw_over(pixels, picture.drawn(look, pixels.shape[1]), preview, look.overlay)
    return Bitmap(pixels, palette(look.colours))


@lru_cache(maxsize=8)
def palette(colours: str) -> NDArray[np.uint8]:
    """(shades, 3) uint8: red, green and blue of every shade."""
    found = np.zeros((256, 3), np.uint8)
    found[: OUTSIDE + 2] = [rgb_of(shade, colours) for shade in range(OUTSIDE + 2)]
    return found
