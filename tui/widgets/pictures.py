"""Frames made ready to be drawn, read ahead of the keys and kept within a bound."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

from rich.color import ColorSystem
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from photon_triage.core.common.errors import TriageError
from photon_triage.core.frames import FrameKey
from photon_triage.core.radial import RadialProfile, radial_profile
from photon_triage.core.session.store.contrast import reduced
from photon_triage.core.session.store.preview import Preview, Previewer
from photon_triage.core.session.store.rows import FrameRow
from photon_triage.tui.terminal.repaint import sequences_of, set_sequences
from photon_triage.tui.terminal.text import safe_text
from photon_triage.tui.widgets.halfblock import Look, cells_of, letters_of, levels_of
from photon_triage.tui.widgets.rings import Drawn, Rings, draw_over, rings_of
from photon_triage.tui.widgets.rows import Finds, RowStore

BYTES_KEPT = 128 * 2**20
"""Of frames that were read; the one on the screen is kept whatever its size."""
PICTURES_KEPT = 64
"""However small: a list that follows the newest has a new one every second, for which nobody comes back."""
BYTES_A_CELL = 110
"""At most what a cell of a drawn picture takes: tracemalloc found 104 for noise, 31 for a smooth picture."""
LABEL = Style(color="#c8f0ff", bgcolor="#000000")

Key = tuple[FrameKey, int, float | None, str | None, bool]


@dataclass(frozen=True, slots=True)
class PictureTarget:
    """What a picture is drawn for: cells, look, and whether by letters instead of colours of the terminal."""

    width: int
    height: int
    look: Look
    letters: bool
    system: ColorSystem = ColorSystem.TRUECOLOR


class Picture:
    """A frame with all that is drawn on it; drawn once for each canvas."""

    def __init__(self, row: FrameRow, preview: Preview | None, message: str, finds: Finds, *, counts: bool) -> None:
        self.row, self.preview, self.message, self.finds = row, preview, message, finds
        self.counts = counts
        """Whether pixels are counts about a beam, not grey values."""
        self.rings: Rings | str = ""
        """What is drawn of them, or why nothing is."""
        self.profile: RadialProfile | None = None
        self._canvas: PictureTarget | None = None
        self._lines: list[Strip] = []

    @property
    def bytes(self) -> int:
        """About how much memory it holds."""
        if self.preview is None:
            return 1000
        drawn = self._canvas.width * self._canvas.height * BYTES_A_CELL if self._canvas else 0
        mask = self.finds.mask.values.nbytes if self.finds.mask else 0
        return self.preview.pixels.nbytes + self.preview.valid.nbytes + mask + drawn

    def lines(self, canvas: PictureTarget) -> list[Strip]:
        """The picture's lines, none where there is only a message."""
        if self.preview is not None and canvas != self._canvas and canvas.width > 0 and canvas.height > 0:
            self._lines = self._draw(self.preview, canvas)
            self._canvas = canvas
        return self._lines

    def _draw(self, preview: Preview, canvas: PictureTarget) -> list[Strip]:
        look = canvas.look
        frame = reduced(preview, canvas.width, 2 * canvas.height, peaks=look.peaks)
        picture = levels_of(frame, look)
        self.rings = self._rings(preview, look, picture.shape[1])
        rings = self.rings if isinstance(self.rings, Rings) else None
        draw_over(picture, self._drawn(preview, rings), preview, look.overlay)
        drawn = letters_of(picture) if canvas.letters else cells_of(picture, look.colours)
        lines = [Strip(line) for line in drawn]
        for line, column, text in rings.texts(picture.shape, preview) if rings else ():
            lines[line] = _written(lines[line], column, text, None if canvas.letters else LABEL)
        if not canvas.letters:
            for strip in lines:
                set_sequences(strip, sequences_of(strip, canvas.system))
        return lines

    def drawn(self, look: Look, width: int) -> Drawn:
        """What is drawn on the frame in that look, for a picture so many pixels wide."""
        rings = self._rings(self.preview, look, width) if self.preview else None
        return self._drawn(self.preview, rings if isinstance(rings, Rings) else None)

    def _rings(self, preview: Preview, look: Look, width: int) -> Rings | str:
        if look.rings == "off" or not self.counts:
            return ""
        return rings_of(self.finds.geometry, preview, look.rings, width / preview.pixels.shape[1])

    def _drawn(self, preview: Preview | None, rings: Rings | None) -> Drawn:
        finds = self.finds
        return Drawn(
            [detection.box for detection in finds.detections],
            [(candidate.x, candidate.y) for candidate in finds.candidates],
            preview.key.point if preview else (),
            finds.mask,
            rings,
        )


class Gallery:
    """Pictures by frame: read through one previewer; the last ones are kept within bounds; from any thread."""

    def __init__(self, previewer: Previewer, store: RowStore, *, counts: bool) -> None:
        self._previewer, self._store, self._counts = previewer, store, counts
        self._kept: OrderedDict[Key, Picture] = OrderedDict()
        self._lock = threading.Lock()
        self.found = self.missed = 0
        """How often a picture was there before it was wanted, and how often not."""

    def peek(self, row: FrameRow, *, whole: bool) -> Picture | None:
        """The picture of a row, where it has been read already."""
        with self._lock:
            picture = self._kept.get(_key(row, whole))
            if picture is not None:
                self._kept.move_to_end(_key(row, whole))
            return picture

    def load(self, row: FrameRow, canvas: PictureTarget) -> Picture:
        """The picture of a row, read and drawn; one with a message instead where the frame cannot be read."""
        whole = canvas.look.whole
        picture = self.peek(row, whole=whole)
        if picture is None:
            picture = self._read(row, whole)
        picture.lines(canvas)
        if picture.preview is not None:
            with self._lock:
                self._kept[_key(row, whole)] = picture
                self._shrink()
        return picture

    def _read(self, row: FrameRow, whole: bool) -> Picture:
        try:
            preview = self._previewer.load(row.key, whole=whole)
        except (TriageError, OSError, ValueError) as error:
            return Picture(row, None, safe_text(str(error)), self._store.finds(row), counts=self._counts)
        picture = Picture(row, preview, "", self._store.finds(row), counts=self._counts)
        centre = picture.finds.geometry.beam_center_x, picture.finds.geometry.beam_center_y
        if self._counts and centre[0] is not None and centre[1] is not None:
            x, y = centre[0] - preview.left, centre[1] - preview.top
            picture.profile = radial_profile(preview.pixels, preview.valid, x, y)
        return picture

    def _shrink(self) -> None:
        total = sum(picture.bytes for picture in self._kept.values())
        while (total > BYTES_KEPT and len(self._kept) > 1) or len(self._kept) > PICTURES_KEPT:
            _, dropped = self._kept.popitem(last=False)
            total -= dropped.bytes


def _key(row: FrameRow, whole: bool) -> Key:
    # Another score means another model, whose boxes are others; another digest means other pixels.
    return row.key, row.id, row.score, row.digest, whole


def _written(strip: Strip, column: int, text: str, style: Style | None) -> Strip:
    """A line with a text over some of its cells."""
    width = strip.cell_length
    return Strip.join([strip.crop(0, column), Strip([Segment(text, style)]), strip.crop(column + len(text), width)])
