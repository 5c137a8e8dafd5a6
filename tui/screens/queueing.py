"""The orders of work: chosen by key or from the palette, and the audit's draw."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import ClassVar

from textual.command import DiscoveryHit, Hit, Hits, Provider

from photon_triage.core.errors import TriageError
from photon_triage.core.session.auditing import draw_more
from photon_triage.core.session.queues import AUDIT, QUEUES, WHAT
from photon_triage.tui.screens.queue import QueueScreen
from photon_triage.tui.screens.triage import TriageScreen

DRAWN_AT_ONCE = 100
"""Frames that one key draws for the audit."""


class QueueCommands(Provider):
    """The orders of work in the palette."""

    async def discover(self) -> Hits:
        """All of them."""
        for title, act, text in self._all():
            yield DiscoveryHit(title, act, help=text)

    async def search(self, query: str) -> Hits:
        """Those that match what was typed."""
        matcher = self.matcher(query)
        for title, act, text in self._all():
            if (score := matcher.match(title)) > 0:
                yield Hit(score, matcher.highlight(title), act, help=text)

    def _all(self) -> list[tuple[str, Callable[[], None], str]]:
        screen = self.screen
        if not isinstance(screen, Queueing):
            return []
        found: list[tuple[str, Callable[[], None], str]] = [
            (f"Queue: {queue}", partial(screen.action_queue, queue), WHAT[queue]) for queue in QUEUES
        ]
        return [*found, ("Audit: draw frames", screen.action_draw, f"{DRAWN_AT_ONCE} more, at random")]


class Queueing(TriageScreen):
    """The actions on the order of work."""

    COMMANDS: ClassVar[set[type[Provider] | Callable[[], type[Provider]]]] = {QueueCommands}

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
