"""Dialogs about the list: its filter, and its queue."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, cast

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from photon_triage.core.common.errors import UsageError
from photon_triage.core.session.store.filters import HELP, QUEUES, WHAT, Queue, parse_filter
from photon_triage.tui.snapshot.snapshot import SHOWN, ListSpec
from photon_triage.tui.terminal.text import safe_text

QUEUE_KEYS = "1234567890c"
"""The key of each queue."""


class FilterScreen(ModalScreen[ListSpec]):
    """Asks for a filter; enter takes it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "kind(-1)", "Kind", priority=True),
        Binding("down,tab", "kind(1)", "Kind", priority=True),
        Binding("escape", "leave", "Back", show=False),
    ]

    def __init__(self, spec: ListSpec) -> None:
        super().__init__()
        self._before = self._spec = spec

    def compose(self) -> ComposeResult:
        """One line to type in, one to choose from."""
        with Vertical(id="dialog") as dialog:
            dialog.border_title = Content("Filter")
            dialog.border_subtitle = Content("↑↓ what · enter takes it · empty shows all files")
            field = Input(
                self._spec.text, placeholder="text in file or run, score:0.5..0.9, state:undecided ...", id="text"
            )
            field.cursor_blink = False
            yield field
            yield Static(self._kinds(), id="kinds", markup=False)
            yield Static(Content(HELP), id="terms", markup=False)
            yield Static(Content(""), id="complaint", markup=False)

    def action_kind(self, step: int) -> None:
        """Choose the next kind."""
        shown = SHOWN[(SHOWN.index(self._spec.shown) + step) % len(SHOWN)]
        self._spec = replace(self._spec, shown=shown)
        self.query_one("#kinds", Static).update(self._kinds())

    def action_leave(self) -> None:
        """Keep the filter as it was."""
        self.dismiss(self._before)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Take the filter, or say what of it is not understood."""
        text = event.value.strip()
        try:
            parse_filter(text)
        except UsageError as error:
            self.query_one("#complaint", Static).update(Content.styled(f"✗ {safe_text(error.message)}", "bold $error"))
        else:
            self.dismiss(replace(self._spec, text=text))

    def _kinds(self) -> Content:
        parts = [
            Content.styled(f"[{name}]", "bold reverse") if name == self._spec.shown else Content(f" {name} ")
            for name in SHOWN
        ]
        return Content(" ").join(parts)


class QueueScreen(ModalScreen[str | None]):
    """Asks for a queue: its number takes it at once, enter takes the one that is marked."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down,s,tab", "step(1)", "Next"),
        Binding("k,up", "step(-1)", "Previous"),
        Binding("enter", "take", "Take"),
        Binding("q,escape", "leave", "Back", show=False),
        *(Binding(key, f"choose({place})", "Take", show=False) for place, key in enumerate(QUEUE_KEYS)),
    ]

    def __init__(self, queue: str) -> None:
        super().__init__()
        self._queue: Queue = cast("Queue", queue)

    def compose(self) -> ComposeResult:
        """One line for each queue."""
        with Vertical(id="dialog") as dialog:
            dialog.border_title = Content("What to look at first")
            dialog.border_subtitle = Content("1-9 0 c takes one · j k enter · q back")
            yield Static(self._lines(), id="queues", markup=False)

    def action_step(self, step: int) -> None:
        """Mark the next queue."""
        self._queue = QUEUES[(QUEUES.index(self._queue) + step) % len(QUEUES)]
        self.query_one("#queues", Static).update(self._lines())

    def action_take(self) -> None:
        """Take the marked queue."""
        self.dismiss(self._queue)

    def action_choose(self, place: int) -> None:
        """Take the queue of that number."""
        self.dismiss(QUEUES[place])

    def action_leave(self) -> None:
        """Keep the queue as it was."""
        self.dismiss(None)

    def _lines(self) -> Content:
        lines = []
        for key, queue in zip(QUEUE_KEYS, QUEUES, strict=True):
            text = f"{'▶' if queue == self._queue else ' '} {key}  {queue:<10} {WHAT[queue]}"
            lines.append(Content.styled(text, "bold reverse") if queue == self._queue else Content(text))
        return Content("\n").join(lines)
