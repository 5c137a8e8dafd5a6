"""The orders of work: chosen by key or from the palette, and the audit's draw."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import ClassVar, cast

from textual.app import ComposeResult, SystemCommand
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from photon_triage.core.common.errors import TriageError
from photon_triage.core.session.models.audit_estimate import draw_more
from photon_triage.core.session.store.filters import AUDIT, QUEUES, WHAT, Queue
from photon_triage.tui.screens.main.triage import TriageScreen

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


DRAWN_AT_ONCE = 100
"""Frames that one key draws for the audit."""


class Queueing(TriageScreen):
    """The actions on the order of work."""

    def queue_commands(self) -> Iterable[SystemCommand]:
        """What the palette lists beside the keys: each order of work, and the draw."""
        for queue in QUEUES:
            yield SystemCommand(f"Queue: {queue}", WHAT[queue], partial(self.action_queue, queue))
        yield SystemCommand("Audit: draw frames", f"{DRAWN_AT_ONCE} more, at random", self.action_draw)

    def action_sort(self) -> None:
        """Choose an order of work."""

        def chosen(queue: str | None) -> None:
            if queue is not None:
                self.action_queue(queue)

        self.app.push_screen(QueueScreen(self._spec.order), chosen)

    def action_queue(self, queue: str) -> None:
        """Take up an order of work."""
        self._relist(replace(self._spec, order=queue))
        self._decisions.work_from(queue)
        self.say(f"{queue}: {WHAT[queue]}")

    def action_draw(self) -> None:
        """Draw frames for the audit, once those drawn before are decided."""
        elsewhere = self._spec.order != AUDIT
        if elsewhere:
            self.action_queue(AUDIT)
        waiting = self.snapshot.audit.waiting
        if waiting:
            self.say(f"{waiting:,} drawn {self._unit} wait for a verdict: a accepts, x rejects, space skips")
        elif elsewhere and self.snapshot.audit.drawn:
            self.say(f"all drawn {self._unit} are decided · d draws {DRAWN_AT_ONCE} more")
        else:
            self.say(f"drawing {self._unit} …")
            threshold = self.snapshot.saved_threshold
            self.run_worker(lambda: self._draw(threshold), thread=True, group="draw", exclusive=True)

    def _draw(self, threshold: float) -> None:
        try:
            drawn = draw_more(self.session, self.session.labels(), threshold, DRAWN_AT_ONCE)
        except (TriageError, OSError) as error:
            self.app.call_from_thread(self.say, f"✗ {error}")
        else:
            self.app.call_from_thread(self._show_draw, len(drawn.frames))

    def _show_draw(self, count: int) -> None:
        self._relist(replace(self._spec, order=AUDIT))
        self.say(f"✓ {count:,} {self._unit} are drawn at random: a accepts, x rejects, space skips")
