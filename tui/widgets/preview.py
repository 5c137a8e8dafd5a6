"""The frame under the cursor as a picture, with its detections."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import PurePath

from rich.color import ColorSystem
from rich.segment import Segment
from rich.style import Style
from textual.content import Content
from textual.filter import ANSIToTruecolor
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from photon_triage.core.session.store.contrast import CLIPS
from photon_triage.core.session.store.rows import FrameRow
from photon_triage.tui.terminal.images import PictureOutput
from photon_triage.tui.terminal.images.encoders import BYTES_A_SECOND
from photon_triage.tui.terminal.repaint import bytes_of, set_sequences
from photon_triage.tui.terminal.text import safe_text
from photon_triage.tui.widgets.halfblock import Look
from photon_triage.tui.widgets.pane import entitle
from photon_triage.tui.widgets.picture_painter import BitmapPainter
from photon_triage.tui.widgets.pictures import Gallery, Picture, PictureTarget
from photon_triage.tui.widgets.rings import UNITS

PICTURE_REST_S = 1.0
"""A live list changes the picture no more often than this, and no more often than a slow line takes one."""


class PreviewPane(Widget, can_focus=True):
    """Shows one frame, read in a thread; drawn again only when the frame, its look or the pane's size changes."""

    help_text = (
        "The frame in counts or grey values, cut to the recipe's region or to what is about the candidate; boxes where "
        "the networks found something, colours for the classes of a segmentation, rings at round values where the "
        "geometry is known. Enter: whole width and back. + - contrast, l logarithm, m colours, r rings, i radial "
        "profile, o overlay, w whole frame, < > the frames before and after it in the run."
    )

    class PictureLoaded(Message, bubble=False):
        """A picture has been read."""

        def __init__(self, picture: Picture, ahead: bool) -> None:
            super().__init__()
            self.picture = picture
            self.ahead = ahead

    class PictureShown(Message):
        """Another picture is on the screen, or the same in another look."""

        def __init__(self, picture: Picture | None) -> None:
            super().__init__()
            self.picture = picture

    def __init__(self, gallery: Gallery, look: Look, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._gallery = gallery
        self._plain = Style()
        self._direct = False
        """The lines of the picture are put into the frame, not rendered by it."""
        self._loading = False
        self._wanted: FrameRow | None = None
        self._ahead: list[FrameRow] = []
        self._shown: FrameRow | None = None
        self._drawn_at = 0.0
        self.look = look
        self.letters = False
        """Draw with characters instead of colours."""
        self._output = PictureOutput()
        self._bitmaps: BitmapPainter
        self.picture: Picture | None = None
        self.note = ""
        """What the title says beside the frame."""
        self.border_title = Content("frame")

    def want(self, row: FrameRow | None, *, at_once: bool, ahead: Sequence[FrameRow] = ()) -> None:
        """Show that frame, then read `ahead`; unless `at_once`, only when the picture before has stood for its time."""
        self._wanted, self._ahead = row, list(ahead)
        rest = 0.0 if at_once else self._stands_s() - (time.monotonic() - self._drawn_at)
        if rest > 0:
            self.set_timer(rest, self._load_next)
        else:
            self._load_next()

    @property
    def shown_id(self) -> int | None:
        """The frame that is drawn, or whose message is."""
        return None if self._shown is None else self._shown.id

    def _stands_s(self) -> float:
        """How long a picture that nobody asked for stands."""
        lines = () if self.letters else self._picture_lines()
        return max(PICTURE_REST_S, bytes_of(lines) / BYTES_A_SECOND)

    def change_look(self, look: Look) -> None:
        """Draw in another way."""
        again = look.whole != self.look.whole
        self.look = look
        if again:
            self._wanted, self._shown = self._wanted or self._shown, None
            self._load_next()
        self._repaint()

    def on_preview_pane_picture_loaded(self, message: PictureLoaded) -> None:
        """Draw what has been read, unless another frame is wanted meanwhile."""
        self._loading = False
        if not message.ahead and self._wanted is None:
            self._show(message.picture)
        self._load_next()

    def on_bitmap_painter_encoded(self, message: BitmapPainter.Encoded) -> None:
        """Send the bitmap."""
        self._bitmaps.send(message.bitmap)

    def _load_next(self) -> None:
        """Show the frame that is wanted, at once where it has been read ahead; else read the next one ahead."""
        row = self._wanted
        if row is not None and self._shown is not None and _same(row, self._shown):
            self._wanted = row = None
        if row is not None and (picture := self._gallery.peek(row, whole=self.look.whole)) is not None:
            self._wanted = row = None
            self._gallery.found += 1
            self._show(picture)
        if self._loading:
            return
        if row is not None:
            self._wanted = None
            self._gallery.missed += 1
            self._load(row, ahead=False)
            return
        while self._ahead:
            following = self._ahead.pop(0)
            if self._gallery.peek(following, whole=self.look.whole) is None:
                self._load(following, ahead=True)
                return

    def _load(self, row: FrameRow, *, ahead: bool) -> None:
        self._loading = True
        canvas = self._canvas()
        self.run_worker(
            lambda: self.post_message(self.PictureLoaded(self._gallery.load(row, canvas), ahead)),
            thread=True,
            group="picture",
        )

    def _show(self, picture: Picture) -> None:
        self.picture, self._shown, self._drawn_at = picture, picture.row, time.monotonic()
        self._repaint()

    def _repaint(self) -> None:
        picture = self.picture
        if picture is not None:
            picture.lines(self._canvas())
            self._entitle(picture)
            self._bitmaps.want(picture, self._canvas())
        self.refresh()
        self.post_message(self.PictureShown(picture))

    def _canvas(self) -> PictureTarget:
        system = self.app.console._color_system or ColorSystem.TRUECOLOR
        return PictureTarget(self.size.width, self.size.height, self.look, self.letters, system)

    def render_lines(self, crop: Region) -> list[Strip]:
        """The lines that are to be painted.

        Those of a picture in colours go past Textual's caches, filters and styles: a picture has thousands of segments,
        all of which are new with every frame. Of its frame's sides, one line is rendered for all.
        """
        self._plain = self.rich_style  # takes long to tell
        lines = () if self.letters else self._picture_lines()
        self._direct = bool(lines) and all(isinstance(one, ANSIToTruecolor) for one in self.get_line_filters())
        if not self._direct:
            return super().render_lines(crop)
        (left, top), (width, height) = self.content_offset, self.size
        blank = super().render_lines(Region(0, top, self.outer_size.width, 1))[0]
        above = top + (height - len(lines)) // 2
        strips = []
        for y in crop.line_range:
            if above <= y < above + len(lines):
                strips.append(self._framed(lines[y - above], blank, left, width))
            elif top <= y < top + height:
                strips.append(blank)
            else:
                strips += super().render_lines(Region(0, y, self.outer_size.width, 1))
        return [strip.crop(crop.x, crop.right) for strip in strips]

    def _framed(self, line: Strip, blank: Strip, left: int, width: int) -> Strip:
        start = left + (width - line.cell_length) // 2
        before, after = blank.crop(0, start), blank.crop(start + line.cell_length)
        whole = Strip([*before, *line, *after], blank.cell_length)
        set_sequences(whole, "".join(part.render(self.app.console) for part in (before, line, after)))
        return whole

    def _picture_lines(self) -> Sequence[Strip]:
        """The lines of the picture, or of what stands for a bitmap; none where there is a message instead."""
        picture = self.picture
        if picture is None or picture.preview is None or self._output.images == "off":
            return ()
        canvas = self._canvas()
        return self._bitmaps.lines(picture, canvas) or picture.lines(canvas)

    def render_line(self, y: int) -> Strip:
        """A line of the picture, centred, or of the message."""
        width, height = self.size
        plain = self._plain
        drawn = self._picture_lines()
        if not drawn:
            lines = _wrapped(self._message(self.picture), width - 2)
            text = " " + lines[y - 1] if 0 < y <= len(lines) else ""
            return Strip([Segment(text.ljust(width), plain)], width)
        above = (height - len(drawn)) // 2
        if self._direct or not 0 <= y - above < len(drawn):
            return Strip([Segment(" " * width, plain)], width)
        line = drawn[y - above]
        before = (width - line.cell_length) // 2
        after = width - line.cell_length - before
        parts = [Segment(" " * before, plain), *line, Segment(" " * after, plain)]
        return Strip([Segment(part.text, part.style or plain) for part in parts], width)

    def _message(self, picture: Picture | None) -> str:
        if picture is not None and picture.preview is not None:
            return "Pictures are off (--images off)."
        return picture.message if picture else ""

    def on_unmount(self) -> None:
        """Take the bitmap from the terminal."""
        self._bitmaps.close()

    def on_mount(self) -> None:
        """Draw without colour where there is none, and in the way that the terminal takes."""
        self._output = getattr(self.app, "output", PictureOutput())
        self._bitmaps = BitmapPainter(self, self._output)
        self.letters = self.letters or getattr(self.app, "letters", self.app.no_color)

    def on_resize(self) -> None:
        """Say anew what fits."""
        if self.picture is not None:
            self._repaint()

    def _entitle(self, picture: Picture) -> None:
        row, finds = picture.row, picture.finds
        score = "no score" if row.score is None else f"score {row.score:.3f}"
        name = safe_text(PurePath(row.key.file).name)
        best = finds.detections[0] if finds.detections else None
        found = f"  {safe_text(best.category)} {best.score:.2f}" if best else ""
        place = " at {},{}".format(*row.key.point) if row.key.point else ""
        what = "candidate" if row.key.point else "frame"
        note = f"  {self.note}" if self.note else ""
        title = f"{what} {row.id}{note}  {score}{found}  {name} #{row.key.index:04d}{place}"
        entitle(self, title=title, subtitle=self._told_look(picture))

    def _told_look(self, picture: Picture) -> str:
        preview, look = picture.preview, self.look
        if preview is None:
            return ""
        height, width = preview.pixels.shape
        whole = (height, width) == (preview.frame_height, preview.frame_width)
        region = "whole frame" if whole else "about it" if preview.key.point else "ROI"
        mask = picture.finds.mask
        named = [name for place, name in enumerate(mask.classes) if place != mask.background] if mask else []
        parts = [f"{safe_text(', '.join(named))} {look.overlay}"] if named else []
        parts += ["log" if look.log else "linear", f"p{CLIPS[look.clip]:g}", f"{width}×{height} {region}"]
        told = " · ".join([*parts, "letters" if self.letters else look.colours])
        without = isinstance(picture.rings, str)
        of_rings = [str(picture.rings), "no rings"] if without else [f"rings {look.rings}/{UNITS[look.rings]}"]
        room = self.size.width - 2 - len(told) - 3
        fitting = next((text for text in [*of_rings, look.rings] if len(text) <= room), "") if picture.rings else ""
        return f"{fitting} · {told}" if fitting else told


def _same(row: FrameRow, other: FrameRow) -> bool:
    return (row.id, row.key, row.score, row.digest) == (other.id, other.key, other.score, other.digest)


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
