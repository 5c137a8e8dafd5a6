"""The order of work: which frames come first."""

from __future__ import annotations

from typing import ClassVar, cast

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from photon_triage.core.session.store.filters import QUEUES, WHAT, Queue

KEYS = "1234567890c"
"""The key of each queue."""


class QueueScreen(ModalScreen[str | None]):
    """Asks for a queue: its number takes it at once, enter takes the one that is marked."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down,s,tab", "step(1)", "Next"),
        Binding("k,up", "step(-1)", "Previous"),
        Binding("enter", "take", "Take"),
        Binding("q,escape", "leave", "Back", show=False),
        *(Binding(key, f"choose({place})", "Take", show=False) for place, key in enumerate(KEYS)),
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
        for key, queue in zip(KEYS, QUEUES, strict=True):
            text = f"{'▶' if queue == self._queue else ' '} {key}  {queue:<10} {WHAT[queue]}"
            lines.append(Content.styled(text, "bold reverse") if queue == self._queue else Content(text))
        return Content("\n").join(lines)
