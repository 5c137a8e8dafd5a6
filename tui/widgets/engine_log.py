"""What the engine says of itself, and what happened."""

from __future__ import annotations

import time
from collections import deque
from pathlib import PurePath

from textual.content import Content

from photon_triage.tui.snapshot.snapshot import Snapshot
from photon_triage.tui.terminal.text import cut, safe_text
from photon_triage.tui.widgets.pane import Pane, sparkline
from photon_triage.tui.widgets.status import engine_word

EVENTS_KEPT = 200


def engine_summary(snapshot: Snapshot) -> str:
    """The engine in one short line."""
    state, counts = snapshot.state, snapshot.counts
    if not snapshot.started:
        return "no results yet"
    dropped = counts.dropped
    if state.status == "failed":
        return f"engine failed: {safe_text(state.message or 'see engine.log')}"
    if snapshot.died:
        return f"engine died: it was killed, or has crashed · watch PATH starts it · drop {dropped}"
    if snapshot.silent_s:
        return f"engine does not answer for {snapshot.silent_s:.0f} s"
    if not snapshot.alive and state.status != "finished":
        return f"engine not running · watch PATH starts it · drop {dropped}"
    parts = []
    if state.workers:
        parts.append(f"{state.workers} worker{'' if state.workers == 1 else 's'}")
    if state.model:
        parts.append(f"model {safe_text(state.model)}")
    parts.append(f"drop {dropped}")
    return " · ".join(parts)


def engine_trouble(snapshot: Snapshot) -> str:
    """What keeps the engine from its work, "" where nothing does."""
    state = snapshot.state
    if not snapshot.alive:
        return ""
    if snapshot.silent_s:
        where = f"process {state.pid} on {safe_text(state.host)}"
        return f"The engine does not answer for {snapshot.silent_s:.0f} s ({where}); what was recorded is safe."
    if state.stalled_s:
        return f"The file system has not answered for {state.stalled_s:.0f} s; what was read is safe."
    if state.trouble:
        return state.trouble
    if state.problems:
        place, reason = next(iter(state.problems.items()))
        return f"{place} cannot be listed: {reason}."
    return ""


class EnginePane(Pane):
    """The engine's own words, for wide terminals."""

    help_text = "The engine is a process of its own: it goes on when this screen is left."

    def __init__(self, title: str, *, id: str | None = None) -> None:
        super().__init__(title, id=id)
        self._lags: deque[float] = deque(maxlen=30)
        self._beat: object = None

    def show(self, snapshot: Snapshot) -> None:
        """Take a newer state."""
        state, counts = snapshot.state, snapshot.counts
        word = engine_word(snapshot)
        if state.heartbeat != self._beat:
            self._beat = state.heartbeat
            self._lags.append(state.lag_s)

        def told(key: str) -> str:
            value = getattr(state, key) if snapshot.started else "–"
            return f"{value:.4g}" if isinstance(value, float) else safe_text(str(value))

        model = "none" if snapshot.started and state.model is None else told("model")
        lines = [
            Content.assemble("state    ", (word.text, word.style)),
            Content(f"model    {model} on {told('device')}"),
            Content(f"workers  {told('workers')}   rate {told('rate_hz')} Hz"),
            Content(f"behind   {told('queue')} frames, {told('passed_over')} of them to be caught up"),
            Content(f"files    {counts.files:,}   waiting {counts.waiting:,}"),
            Content(f"         missing {counts.missing:,}   unreadable {counts.unreadable:,}"),
            *self._notes(snapshot),
            Content(f"process  {told('pid')} on {told('host')}"),
            Content(f"lag      {sparkline(list(self._lags), 28)} {told('lag_s')} s"),
        ]
        if not snapshot.alive and state.status != "finished":
            lines.insert(1, Content("         watch PATH starts it"))
        self.put(Content("\n").join(lines))

    def _notes(self, snapshot: Snapshot) -> list[Content]:
        """How many files have notes, and the newest note."""
        if not snapshot.counts.noted:
            return []
        path, note = snapshot.note
        told = cut(safe_text(f"{PurePath(path).name}: {note}"), max(self.size.width - 9, 10))
        return [Content(f"notes    {snapshot.counts.noted:,} files · F shows them"), Content(f"         {told}")]


class LogPane(Pane):
    """What the engine reported and what was decided here, newest first."""

    help_text = "The engine's messages and the decisions made on this screen, newest first."

    def __init__(self, title: str, *, id: str | None = None) -> None:
        super().__init__(title, id=id)
        self._events: deque[tuple[float, str]] = deque(maxlen=EVENTS_KEPT)

    def add(self, text: str) -> None:
        """Add a line; its text is shown safely."""
        self._events.appendleft((time.time(), safe_text(text)))
        self._redraw()

    def on_resize(self) -> None:
        """Fill the new size."""
        self._redraw()

    def _redraw(self) -> None:
        width, height = self.size
        events = [self._events[place] for place in range(min(len(self._events), max(height, 1)))]
        lines = [
            cut(f"{time.strftime('%H:%M:%S', time.localtime(when))} {text}", max(width, 10)) for when, text in events
        ]
        self.put(Content("\n".join(lines)))
