"""Which list to write, of which frames, and where."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TypeVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Static

if TYPE_CHECKING:
    from photon_triage.core.export.export import Format
    from photon_triage.core.export.selection import Select

Name = TypeVar("Name", bound=str)

SUFFIXES = {"crystfel": ".lst", "csv": ".csv"}


@dataclass(frozen=True, slots=True)
class ExportWish:
    """A list to write."""

    format: Format
    select: Select
    output: Path
    incomplete: bool


class ExportScreen(ModalScreen[ExportWish | None]):
    """Asks for format, selection and path; enter writes."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,down", "format", "Format", priority=True),
        Binding("tab", "select", "Selection", priority=True),
        Binding("ctrl+t", "incomplete", "Incomplete", priority=True),
        Binding("escape", "leave", "Back", show=False),
    ]

    def __init__(self, formats: tuple[Format, ...], selects: tuple[Select, ...], folder: Path) -> None:
        super().__init__()
        self._formats, self._selects, self._folder = formats, selects, folder
        self._format, self._select, self._incomplete = formats[0], selects[0], False
        self._stamp = time.strftime("%Y%m%d-%H%M%S")

    def compose(self) -> ComposeResult:
        """What is chosen, and a line for the path."""
        with Vertical(id="dialog") as dialog:
            dialog.border_title = Content("Export")
            dialog.border_subtitle = Content("enter writes · empty path leaves")
            yield Static(self._choices(), id="choices", markup=False)
            field = Input(str(self._proposal()), id="path")
            field.cursor_blink = False
            yield field

    def action_format(self) -> None:
        """Choose the next format."""
        self._choose(format=_next(self._formats, self._format))

    def action_select(self) -> None:
        """Choose the next selection."""
        self._choose(select=_next(self._selects, self._select))

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
        wish = ExportWish(self._format, self._select, Path(path).expanduser(), self._incomplete)
        self.dismiss(wish if path else None)

    def _choose(self, *, format: Format | None = None, select: Select | None = None) -> None:
        field = self.query_one("#path", Input)
        proposed = field.value == str(self._proposal())
        self._format, self._select = format or self._format, select or self._select
        if proposed:
            field.value = str(self._proposal())
        self.query_one("#choices", Static).update(self._choices())

    def _proposal(self) -> Path:
        return self._folder / f"{self._select}-{self._stamp}{SUFFIXES.get(self._format, '.txt')}"

    def _choices(self) -> Content:
        lines = [
            Content.assemble("format (↑↓)     ", *_marked(self._formats, self._format)),
            Content.assemble("frames (tab)    ", *_marked(self._selects, self._select)),
            Content(f"incomplete (^t) {'yes: although frames are still unread' if self._incomplete else 'no'}"),
        ]
        return Content("\n").join(lines)


def _next(names: tuple[Name, ...], name: Name) -> Name:
    return names[(names.index(name) + 1) % len(names)]


def _marked(names: tuple[Name, ...], chosen: Name) -> list[Content]:
    return [Content.styled(f"[{n}] ", "bold reverse") if n == chosen else Content(f" {n}  ") for n in names]
