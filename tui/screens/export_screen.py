"""Which list to write, of which frames, and where."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Static

if TYPE_CHECKING:
    from photon_triage.core.export.formats import ListFormat
    from photon_triage.core.export.list_content import Select

FORMATS_SHOWN = 5


@dataclass(frozen=True, slots=True)
class ExportWish:
    """A list to write."""

    format: str
    select: Select
    output: Path
    incomplete: bool


class ExportScreen(ModalScreen[ExportWish | None]):
    """Asks for format, selection and path; enter writes."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "format(1)", "Format", priority=True),
        Binding("up", "format(-1)", "Format", show=False, priority=True),
        Binding("tab", "select", "Selection", priority=True),
        Binding("ctrl+t", "incomplete", "Incomplete", priority=True),
        Binding("escape", "leave", "Back", show=False),
    ]

    def __init__(self, formats: tuple[ListFormat, ...], selects: tuple[Select, ...], folder: Path) -> None:
        super().__init__()
        self._formats, self._selects, self._folder = formats, selects, folder
        self._format, self._select, self._incomplete = formats[0], selects[0], False
        self._stamp = time.strftime("%Y%m%d-%H%M%S")

    def compose(self) -> ComposeResult:
        """What is chosen, and a line for the path."""
        with Vertical(id="dialog") as dialog:
            dialog.border_title = Content("Export")
            dialog.border_subtitle = Content("enter writes · esc leaves")
            yield Static(self._choices(), id="choices", markup=False)
            field = Input(str(self._proposal()), id="path")
            field.cursor_blink = False
            yield field

    def action_format(self, step: int) -> None:
        """Choose the next format, or the one before."""
        place = (self._formats.index(self._format) + step) % len(self._formats)
        self._choose(self._formats[place], self._select)

    def action_select(self) -> None:
        """Choose the next selection."""
        place = (self._selects.index(self._select) + 1) % len(self._selects)
        self._choose(self._format, self._selects[place])

    def action_incomplete(self) -> None:
        """Write although frames are unread, or not."""
        self._incomplete = not self._incomplete
        self.query_one("#choices", Static).update(self._choices())

    def action_leave(self) -> None:
        """Write nothing."""
        self.dismiss(None)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Write the list."""
        path = event.value.strip()
        wish = ExportWish(self._format.name, self._select, Path(path).expanduser(), self._incomplete)
        self.dismiss(wish if path else None)

    def _choose(self, format: ListFormat, select: Select) -> None:
        field = self.query_one("#path", Input)
        proposed = field.value == str(self._proposal())
        self._format, self._select = format, select
        if proposed:
            field.value = str(self._proposal())
        self.query_one("#choices", Static).update(self._choices())

    def _proposal(self) -> Path:
        """A format with a list for each file is proposed as a folder: several files may be selected."""
        suffix = "" if self._format.each else self._format.suffix
        name = f"{self._select}-{self._stamp}"
        return self._folder / (f"{name}{suffix}" if suffix else f"{name}-{self._format.name}")

    def _choices(self) -> Content:
        selects = (_marked(name, name == self._select) for name in self._selects)
        lines = [
            *self._format_lines(),
            Content.assemble("frames (tab)    ", *selects),
            Content(f"incomplete (^t) {'yes: although frames are still unread' if self._incomplete else 'no'}"),
        ]
        return Content("\n").join(lines)

    def _format_lines(self) -> list[Content]:
        """The formats about the chosen one, each with what it is."""
        formats, chosen = self._formats, self._formats.index(self._format)
        first = max(0, min(chosen - FORMATS_SHOWN // 2, len(formats) - FORMATS_SHOWN))
        widest = max(len(each.name) for each in formats) + len(_marked("", chosen=False))
        lines = [Content(f"format (↑↓)     {chosen + 1} of {len(formats)}")]
        for place in range(first, min(first + FORMATS_SHOWN, len(formats))):
            name = _marked(formats[place].name, place == chosen)
            lines.append(Content.assemble(name, " " * (widest - len(name)), formats[place].title))
        return lines


def _marked(name: str, chosen: bool) -> Content:
    return Content.styled(f"[{name}] ", "bold reverse") if chosen else Content(f" {name}  ")
