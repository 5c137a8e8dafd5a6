"""The orders of work: chosen by key or from the palette, and the audit's draw."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial

from textual.app import SystemCommand

from photon_triage.core.common.errors import TriageError
from photon_triage.core.session.models.audit_estimate import draw_more
from photon_triage.core.session.store.filters import AUDIT, QUEUES, WHAT
from photon_triage.tui.screens.queue import QueueScreen
from photon_triage.tui.screens.triage import TriageScreen

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
