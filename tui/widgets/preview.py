"""The frame under the cursor as a picture, with its detections."""

from __future__ import annotations

import time
from pathlib import PurePath

from rich.segment import Segment
from textual.content import Content
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from photon_triage.core.errors import TriageError
from photon_triage.core.session.preview import Preview, Previewer
from photon_triage.core.session.rows import FrameRow
from photon_triage.tui.text import safe_text
from photon_triage.tui.widgets.halfblock import CLIPS, Look, cells_of, letters_of, shades
from photon_triage.tui.widgets.overlay import Drawn
from photon_triage.tui.widgets.rows import Finds, RowStore

PICTURE_REST_S = 1.0
"""A live list changes the picture no more often than this."""


class PreviewPane(Widget, can_focus=True):
    """Shows one frame, read in a thread; drawn again only when the frame, its look or the pane's size changes."""

    help_text = (
        "The frame in counts or grey values, cut to the recipe's region or to what is about the candidate; boxes where "
        "the networks found something, colours for the classes of a segmentation. "
        "Enter: whole width and back. + - contrast, l logarithm, m colours, o overlay, w whole frame."
    )

    class Loaded(Message, bubble=False):
        """A frame has been read, or could not be."""

        def __init__(self, row: FrameRow, preview: Preview | str, finds: Finds) -> None:
            super().__init__()
            self.row = row
            self.preview = preview
            self.finds = finds

    def __init__(self, previewer: Previewer, store: RowStore, look: Look, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._previewer, self._store = previewer, store
        self._loading = False
        self._wanted: FrameRow | None = None
        self._shown: FrameRow | None = None
        self._drawn_at = 0.0
        self._drawn_for: tuple[object, ...] = ()
        self.look = look
        self.letters = False
        """Draw with characters instead of colours."""
        self._preview: Preview | None = None
        self._finds = Finds()
        self._message = ""
        self._lines: list[list[Segment]] = []
        self.border_title = Content("frame")

    def want(self, row: FrameRow | None, *, at_once: bool) -> None:
        """Show that frame; unless `at_once`, no sooner than PICTURE_REST_S after the one before."""
        self._wanted = row
        rest = 0.0 if at_once else PICTURE_REST_S - (time.monotonic() - self._drawn_at)
        if rest > 0:
            self.set_timer(rest, self._load_next)
        else:
            self._load_next()

    @property
    def shown_id(self) -> int | None:
        """The frame that is drawn, or whose message is."""
        return None if self._shown is None else self._shown.id

    def change_look(self, look: Look) -> None:
        """Draw in another way."""
        again = look.whole != self.look.whole
        self.look = look
        self._tell_look()
        self.refresh()
        if again:
            self._wanted, self._shown = self._shown, None
            self._load_next()

    def on_preview_pane_loaded(self, message: Loaded) -> None:
        """Draw what has been read, unless another frame is wanted meanwhile."""
        self._loading = False
        if self._wanted is None:
            self._shown, self._drawn_at = message.row, time.monotonic()
            told = isinstance(message.preview, str)
            self._preview = None if isinstance(message.preview, str) else message.preview
            self._message = safe_text(str(message.preview)) if told else ""
            self._finds = message.finds
            self._entitle(message.row)
            self.refresh()
        self._load_next()

    def _load_next(self) -> None:
        row = self._wanted
        if self._loading or row is None:
            return
        self._wanted = None
        if self._shown is not None and (row.id, row.score) == (self._shown.id, self._shown.score):
            return
        self._loading = True
        whole = self.look.whole
        self.run_worker(lambda: self._load(row, whole), thread=True, group="picture")

    def _load(self, row: FrameRow, whole: bool) -> None:
        try:
            preview: Preview | str = self._previewer.load(row.key, whole=whole)
        except (TriageError, OSError, ValueError) as error:
            preview = str(error)
        self.post_message(self.Loaded(row, preview, self._store.finds(row)))

    def render_line(self, y: int) -> Strip:
        """A line of the picture, centred, or of the message."""
        width, height = self.size
        plain = self.rich_style
        if self._preview is None:
            lines = _wrapped(self._message, width - 2)
            text = " " + lines[y - 1] if 0 < y <= len(lines) else ""
            return Strip([Segment(text.ljust(width), plain)], width)
        self._draw(width, height)
        above = (height - len(self._lines)) // 2
        if not 0 <= y - above < len(self._lines):
            return Strip([Segment(" " * width, plain)], width)
        line = self._lines[y - above]
        used = sum(len(segment.text) for segment in line)
        before = (width - used) // 2
        parts = [Segment(" " * before, plain), *line, Segment(" " * (width - used - before), plain)]
        return Strip([Segment(part.text, part.style or plain) for part in parts], width)

    def on_mount(self) -> None:
        """Draw without colour where there is none."""
        self.letters = self.letters or self.app.no_color or self.app.console.color_system is None

    def _draw(self, width: int, height: int) -> None:
        wanted = (self._preview, self.look, width, height, self.letters)
        if self._preview is None or wanted == self._drawn_for:
            return
        finds = self._finds
        drawn = Drawn(
            [detection.box for detection in finds.detections],
            [(candidate.x, candidate.y) for candidate in finds.candidates],
            self._preview.key.point,
            finds.mask,
        )
        picture = shades(self._preview, drawn, self.look, width, 2 * height)
        self._lines = letters_of(picture) if self.letters else cells_of(picture, self.look.colours)
        self._drawn_for = wanted

    def _entitle(self, row: FrameRow) -> None:
        score = "no score" if row.score is None else f"score {row.score:.3f}"
        name = safe_text(PurePath(row.key.file).name)
        best = self._finds.detections[0] if self._finds.detections else None
        found = f"  {safe_text(best.category)} {best.score:.2f}" if best else ""
        place = " at {},{}".format(*row.key.point) if row.key.point else ""
        what = "candidate" if row.key.point else "frame"
        self.border_title = Content(f"{what} {row.id}  {score}{found}  {name} #{row.key.index:04d}{place}")
        self._tell_look()

    def _tell_look(self) -> None:
        preview, look = self._preview, self.look
        if preview is None:
            self.border_subtitle = Content("")
            return
        height, width = preview.pixels.shape
        whole = (height, width) == (preview.frame_height, preview.frame_width)
        region = "whole frame" if whole else "about it" if preview.key.point else "ROI"
        scale = "log" if look.log else "linear"
        drawn = "letters" if self.letters else look.colours
        mask = self._finds.mask
        named = [name for place, name in enumerate(mask.classes) if place != mask.background] if mask else []
        overlay = f"{safe_text(', '.join(named))} {look.overlay} · " if named else ""
        self.border_subtitle = Content(
            f"{overlay}{scale} · p{CLIPS[look.clip]:g} · {width}×{height} {region} · {drawn}"
        )


def _wrapped(text: str, width: int) -> list[str]:
    lines, line = [], ""
    for word in text.split(" "):
        while len(word) > width > 0:
            if line:
                lines.append(line)
            lines.append(word[:width])
            line, word = "", word[width:]
        if line and len(line) + 1 + len(word) > width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    return [*lines, line]
