"""Puts bitmaps over the half-blocks of a pane once the cursor rests, in step with what else is painted."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.timer import Timer
from textual.widget import Widget

from photon_triage.core.session.store.contrast import reduced
from photon_triage.tui.terminal.images import PictureOutput
from photon_triage.tui.terminal.images.encoders import (
    BAND,
    BYTES_A_SECOND,
    COARSENESS,
    LARGEST_ID,
    NUMBERS,
    Bitmap,
    delete_kitty,
    encode_kitty,
    encode_sixel,
    placeholders,
    within_budget,
)
from photon_triage.tui.terminal.slow_terminal import LineApp
from photon_triage.tui.terminal.terminal import Multiplexer
from photon_triage.tui.widgets.halfblock import Look, levels_of, rgb_of
from photon_triage.tui.widgets.pictures import Picture, PictureTarget
from photon_triage.tui.widgets.rings import OUTSIDE, draw_over

REST_S = 0.3
"""A bitmap follows when the picture has stood this long: whoever holds a key down sees half-blocks."""
SETTLE_S = 0.05
"""What was painted over a bitmap is let come to an end before it is sent again."""


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


@dataclass(frozen=True, eq=False)
class EncodedBitmap:
    """A picture as a control sequence, and the cells that it covers."""

    picture: Picture
    canvas: PictureTarget
    rows: int
    columns: int
    data: str


class BitmapPainter:
    """Draws what one pane shows as sixels or by kitty's protocol; with other output it does nothing.

    The pane hears `Encoded` when a bitmap has been made, and has it sent by `send`.
    """

    class Encoded(Message, bubble=False):
        """A bitmap has been made in a thread."""

        def __init__(self, bitmap: EncodedBitmap) -> None:
            super().__init__()
            self.bitmap = bitmap

    def __init__(self, pane: Widget, output: PictureOutput) -> None:
        self._pane, self._output = pane, output
        self._on = output.images in ("sixel", "kitty")
        self._wanted: tuple[Picture, PictureTarget] | None = None
        self._encoding = False
        self._sent: EncodedBitmap | None = None
        self._timer: Timer | None = None
        self._free_at = 0.0
        """When the line has taken what was sent."""
        self._id = random.randrange(1, LARGEST_ID)
        app = pane.app
        if output.images == "sixel" and isinstance(app, LineApp):
            app.painted_over.append(self._painted)

    def want(self, picture: Picture, canvas: PictureTarget) -> None:
        """A pane shows that picture now; its bitmap follows."""
        if not self._on or self._pane.app.no_color:
            return
        if self._sent is not None and self._sent.picture is picture and self._sent.canvas == canvas:
            return
        self._forget()
        if picture.preview is not None:
            self._wanted = (picture, canvas)
            self._after(max(REST_S, self._free_at - time.monotonic()), self._encode)

    def lines(self, picture: Picture, canvas: PictureTarget) -> Sequence[Strip]:
        """The cells that show the bitmap by placeholders; none where half-blocks are to be painted."""
        sent = self._sent
        if self._output.images != "kitty" or sent is None or sent.picture is not picture or sent.canvas != canvas:
            return ()
        return placeholders(self._id, sent.columns, sent.rows)

    def close(self) -> None:
        """Make the terminal forget the picture."""
        self._forget()
        self._on = False

    def _after(self, seconds: float, call: object) -> None:
        if self._timer is not None:
            self._timer.stop()
        self._timer = self._pane.set_timer(seconds, call)  # type: ignore[arg-type]

    def _forget(self) -> None:
        if self._sent is not None and self._output.images == "kitty":
            self._write(delete_kitty(self._id, self._output.multiplexer))
            self._id = self._id % LARGEST_ID + 1
        self._sent = self._wanted = None

    def _encode(self) -> None:
        wanted = self._wanted
        if wanted is None:
            return
        if self._encoding:
            self._after(REST_S, self._encode)
            return
        self._encoding = True
        picture, canvas = wanted
        lines = picture.lines(canvas)
        rows, columns, picture_id = len(lines), max((line.cell_length for line in lines), default=0), self._id

        def work() -> None:
            output, data = self._output, ""
            if rows and columns and output.images == "sixel":
                data = sixel_of(picture, canvas.look, columns, rows, output.cell)
            elif 0 < rows <= len(NUMBERS) and columns:
                data = kitty_of(picture, canvas.look, columns, rows, output.cell, picture_id, output.multiplexer)
            self._pane.post_message(self.Encoded(EncodedBitmap(picture, canvas, rows, columns, data)))

        self._pane.run_worker(work, thread=True, exclusive=True, group="bitmap")

    def send(self, made: EncodedBitmap) -> None:
        """Send what has been made, unless something else is shown meanwhile."""
        self._encoding = False
        if self._wanted != (made.picture, made.canvas) or not made.data:
            return
        self._wanted, self._sent = None, made
        if self._output.images == "kitty":
            self._write(made.data)
            self._pane.refresh()
        else:
            self._paint()

    def _paint(self) -> None:
        """Write the sixels where the half-blocks stand."""
        pane, sent = self._pane, self._sent
        app = pane.app
        if sent is None or pane.screen is not app.screen or not pane.display or not isinstance(app, LineApp):
            return
        region = self._region(sent)
        if region.area:
            self._write(f"\x1b[{region.y + 1};{region.x + 1}H{sent.data}")
            # Cells that are to be painted again must be sent, although their text is what was sent before.
            app.forget_lines(region)

    def _painted(self, regions: Sequence[Region]) -> None:
        """Something was painted: where it was over the bitmap, this is sent again."""
        if self._sent is not None and self._pane.screen is self._pane.app.screen:
            region = self._region(self._sent)
            if any(region.overlaps(each) for each in regions):
                self._after(max(SETTLE_S, self._free_at - time.monotonic()), self._paint)

    def _region(self, sent: EncodedBitmap) -> Region:
        inside = self._pane.content_region
        left, above = (inside.width - sent.columns) // 2, (inside.height - sent.rows) // 2
        return Region(inside.x + left, inside.y + above, sent.columns, sent.rows)

    def _write(self, sequence: str) -> None:
        app = self._pane.app
        if isinstance(app, LineApp) and app.send(sequence):
            self._free_at = time.monotonic() + len(sequence) / BYTES_A_SECOND
