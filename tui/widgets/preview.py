"""The frame under the cursor as a picture, with its detections."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

from rich.segment import Segment
from textual.content import Content
from textual.strip import Strip
from textual.widget import Widget

from photon_triage.core.session.preview import Preview
from photon_triage.core.session.results import Detection, FrameRow
from photon_triage.tui.text import safe_text
from photon_triage.tui.widgets.halfblock import CLIPS, Look, cells_of, letters_of, shades


class PreviewPane(Widget, can_focus=True):
    """Shows one frame; drawn again only when the frame, its look or the pane's size changes."""

    help_text = (
        "The frame in counts, cut to the recipe's region, boxes where the network found a hit. "
        "Enter: whole width and back. + - contrast, l logarithm, m colours, w whole frame."
    )

    def __init__(self, look: Look, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._drawn_for: tuple[object, ...] = ()
        self.look = look
        self.letters = False
        """Draw with characters instead of colours."""
        self.frame_id: int | None = None
        """The frame that is drawn."""
        self._preview: Preview | None = None
        self._detections: Sequence[Detection] = ()
        self._message = ""
        self._lines: list[list[Segment]] = []
        self.border_title = Content("frame")

    def show_frame(self, row: FrameRow, preview: Preview, detections: Sequence[Detection]) -> None:
        """Draw a frame."""
        self.frame_id, self._preview, self._detections, self._message = row.id, preview, detections, ""
        self._entitle(row)
        self.refresh()

    def show_message(self, message: str, row: FrameRow | None = None) -> None:
        """Say why there is no picture."""
        self.frame_id, self._preview, self._detections = row.id if row else None, None, ()
        self._message = safe_text(message)
        self._entitle(row)
        self.refresh()

    def change_look(self, look: Look) -> None:
        """Draw in another way."""
        self.look = look
        self._tell_look()
        self.refresh()

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
        boxes = [detection.box for detection in self._detections]
        picture = shades(self._preview, boxes, self.look, width, 2 * height)
        self._lines = letters_of(picture) if self.letters else cells_of(picture, self.look.colours)
        self._drawn_for = wanted

    def _entitle(self, row: FrameRow | None) -> None:
        if row is None:
            self.border_title = Content("frame")
        else:
            score = "no score" if row.score is None else f"score {row.score:.3f}"
            name = safe_text(PurePath(row.key.file).name)
            best = self._detections[0] if self._detections else None
            found = f"   {safe_text(best.category)} {best.score:.2f}" if best else ""
            self.border_title = Content(f"frame {row.id}   {score}{found}   {name} #{row.key.index:04d}")
        self._tell_look()

    def _tell_look(self) -> None:
        preview, look = self._preview, self.look
        if preview is None:
            self.border_subtitle = Content("")
            return
        height, width = preview.pixels.shape
        whole = (height, width) == (preview.frame_height, preview.frame_width)
        region = "whole frame" if whole else "ROI"
        scale = "log" if look.log else "linear"
        drawn = "letters" if self.letters else look.colours
        self.border_subtitle = Content(f"{scale} · p{CLIPS[look.clip]:g} · {width}×{height} {region} · {drawn}")


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
