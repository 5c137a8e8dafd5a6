"""The virtual powder on the screen: hits, misses, or their difference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from rich.segment import Segment
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.screen import Screen
from textual.strip import Strip
from textual.widget import Widget

from photon_triage.core.common.errors import SessionError
from photon_triage.core.frames import FrameKey
from photon_triage.core.session.store.contrast import CLIPS, reduced
from photon_triage.core.session.store.powder import FILE, Powder, read_powder
from photon_triage.core.session.store.preview import Preview
from photon_triage.tui.screens.help import HELP, explain
from photon_triage.tui.snapshot.snapshot import Snapshot
from photon_triage.tui.terminal.text import safe_text
from photon_triage.tui.widgets.halfblock import Look, cells_of, letters_of, levels_of
from photon_triage.tui.widgets.keys import KeyFooter
from photon_triage.tui.widgets.status import StatusLine

VIEWS = ("hits, mean", "misses, mean", "hits less misses", "hits, maximum", "misses, maximum")
REFRESH_S = 2.0
HELP_TEXT = (
    "What all hits look like together, what all misses do, and what the hits have more. Hits are what the list calls "
    "so, whatever the labels say."
)


def image_of(powder: Powder, view: str) -> NDArray[np.float32]:
    """What a view shows, (height, width) float32; of the difference what the hits have more."""
    match view:
        case "hits, mean":
            return powder.hits.mean
        case "misses, mean":
            return powder.misses.mean
        case "hits, maximum":
            return powder.hits.max
        case "misses, maximum":
            return powder.misses.max
    return np.maximum(powder.difference, 0)


class PowderPane(Widget):
    """A powder as half-blocks, or as letters where there is no colour."""

    def __init__(self, look: Look, *, letters: bool, id: str | None = None) -> None:
        super().__init__(id=id)
        self.look, self._letters = look, letters
        self.view = VIEWS[0]
        self._powder: Powder | None = None
        self._message = "reading the powder …"
        self._lines: list[list[Segment]] = []
        self._drawn_for: tuple[object, ...] = ()

    def take(self, powder: Powder | None, message: str) -> None:
        """Show a newer powder, or say why there is none."""
        self._powder, self._message = powder, message
        self.entitle()
        self.refresh()

    def entitle(self) -> None:
        """Say what is shown."""
        told = f"Powder  {self.view}"
        if self._powder is not None:
            told += f"   {self._powder.hits.n:,} hits, {self._powder.misses.n:,} misses"
            told += "   SIMULATED" if self._powder.simulated else ""
        self.border_title = Content(told)
        look = self.look
        self.border_subtitle = Content(f"{'log' if look.log else 'linear'} · p{CLIPS[look.clip]:g} · P next view")

    def render_line(self, y: int) -> Strip:
        """A line of the picture, centred, or of the message."""
        width, height = self.size
        plain = self.rich_style
        self._draw(width, height)
        above = (height - len(self._lines)) // 2
        if self._powder is None or not 0 <= y - above < len(self._lines):
            text = f" {self._message}"[:width] if y == 1 and self._powder is None else ""
            return Strip([Segment(text.ljust(width), plain)], width)
        line = self._lines[y - above]
        used = sum(len(segment.text) for segment in line)
        before = (width - used) // 2
        parts = [Segment(" " * before, plain), *line, Segment(" " * (width - used - before), plain)]
        return Strip([Segment(part.text, part.style or plain) for part in parts], width)

    def _draw(self, width: int, height: int) -> None:
        wanted = (self._powder, self.view, self.look, width, height)
        if self._powder is None or wanted == self._drawn_for or width < 1 or height < 1:
            return
        image = image_of(self._powder, self.view)
        preview = Preview(FrameKey("", "", 0), image, self._powder.valid, 0, 0, *image.shape)
        picture = levels_of(reduced(preview, width, 2 * height, peaks=self.look.peaks), self.look)
        self._lines = letters_of(picture) if self._letters else cells_of(picture, self.look.colours)
        self._drawn_for = wanted


class PowderScreen(Screen[None]):
    """The powder over the whole screen; read again as the engine writes it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("P", "view", "Next view", tooltip="Hits, misses, difference, maxima", key_display="P"),
        Binding("escape,q,enter", "close", "Back", tooltip="Back to the list", key_display="q"),
        HELP,
        Binding("l", "logarithm", "Log", tooltip="Logarithmic or linear picture"),
        Binding("plus,equals_sign", "contrast(1)", "Contrast+", tooltip="More contrast", key_display="+"),
        Binding("minus", "contrast(-1)", "Contrast-", tooltip="Less contrast", key_display="-"),
        Binding("m", "colours", "Colours", tooltip="Next colour map"),
    ]

    class Read(Message):
        """The powder has been read, or could not be."""

        def __init__(self, powder: Powder | None, message: str) -> None:
            super().__init__()
            self.powder = powder
            self.message = message

    def __init__(
        self, folder: Path, look: Look, snapshot: Callable[[], Snapshot], threshold: Callable[[], float], letters: bool
    ) -> None:
        super().__init__()
        self._folder, self._snapshot, self._threshold = folder, snapshot, threshold
        self._pane = PowderPane(look, letters=letters, id="powder")
        self._known: object = None

    def compose(self) -> ComposeResult:
        """The picture and the keys."""
        yield StatusLine(id="status")
        yield self._pane
        yield KeyFooter(id="keys")

    def on_mount(self) -> None:
        """Follow the file."""
        self.set_interval(REFRESH_S, self._follow)
        self._pane.entitle()
        self._follow()

    def _follow(self) -> None:
        self.query_one(StatusLine).show(self._snapshot(), self._threshold(), paused=False)
        self.run_worker(self._read, thread=True, exclusive=True, group="powder")

    def _read(self) -> None:
        try:
            stat = (self._folder / FILE).stat()
            known = (stat.st_ino, stat.st_mtime_ns)
            if known == self._known:
                return
            powder, message = read_powder(self._folder), ""
            self._known = known
        except FileNotFoundError:
            powder, message = None, "no powder yet: the engine writes it some seconds after the first frames"
        except (SessionError, OSError) as error:
            powder, message = None, safe_text(str(error))
        self.post_message(self.Read(powder, message))

    def on_powder_screen_read(self, message: Read) -> None:
        """Show what was read."""
        self._pane.take(message.powder, message.message)

    def action_close(self) -> None:
        """Back to the list."""
        self.dismiss(None)

    def action_help(self) -> None:
        """What the keys do."""
        explain(self, "Virtual powder", HELP_TEXT)

    def action_view(self) -> None:
        """The next view."""
        self._pane.view = VIEWS[(VIEWS.index(self._pane.view) + 1) % len(VIEWS)]
        self._look(self._pane.look)

    def action_logarithm(self) -> None:
        """Logarithmic or linear."""
        self._look(replace(self._pane.look, log=not self._pane.look.log))

    def action_contrast(self, step: int) -> None:
        """More or less contrast."""
        self._look(self._pane.look.contrast(step))

    def action_colours(self) -> None:
        """The next colour map."""
        self._look(self._pane.look.next_colours())

    def _look(self, look: Look) -> None:
        self._pane.look = look
        self._pane.entitle()
        self._pane.refresh()
