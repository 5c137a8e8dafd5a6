"""The line of messages, and banners for what must not be overlooked, alarms among them."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content
from textual.widgets import Static

from photon_triage.core.session.store.alarms import Alarm, alarms_in, run_command
from photon_triage.tui.snapshot.snapshot import Snapshot
from photon_triage.tui.terminal.text import cells, cut, safe_text
from photon_triage.tui.widgets.engine_log import engine_summary
from photon_triage.tui.widgets.pane import Line

READ_ONLY = "this screen is read-only · attach without --read-only to decide"


class MessageLine(Line):
    """The last message, with the engine's state on its right where there is room."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._said = self._engine = ""

    def say(self, text: str) -> None:
        """Show a message; text from files is made safe."""
        self._said = safe_text(text)
        self._redraw()

    def show(self, snapshot: Snapshot) -> None:
        """Take a newer state of the engine."""
        engine = engine_summary(snapshot)
        if snapshot.damaged:
            engine = f"! {snapshot.damaged} damaged journal lines · {engine}"
        if engine != self._engine:
            self._engine = engine
            self._redraw()

    def on_resize(self) -> None:
        """Fit the line to the width."""
        self._redraw()

    def _redraw(self) -> None:
        width = max(self.size.width - 2, 0)
        said = cut(self._said, width)
        room = width - cells(said) - (2 if said else 0)
        engine = self._engine if cells(self._engine) <= room else ""
        if not said:
            engine = cut(self._engine, width)
        gap = width - cells(said) - cells(engine) if said else 0
        self.put(Content(f" {said}{' ' * gap}{engine}"))


class Banner(Static):
    """Stays until what it says is true no longer."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(Content(""), id=id, markup=False)
        self.text = ""

    def show(self, text: str) -> None:
        """Show it."""
        self.text = text
        self.update(Content(f" ! {safe_text(text)}"))
        self.add_class("-shown")

    def show_or_clear(self, text: str) -> None:
        """Show it, or take it away where there is nothing to say."""
        if not text:
            self.clear()
        elif text != self.text:
            self.show(text)

    def clear(self) -> None:
        """Take it away."""
        if self.text:
            self.text = ""
            self.remove_class("-shown")


class AlarmLine(Banner):
    """The alarms that hold, the newest first; each rings once, and runs the command once."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._rung: set[tuple[str, float]] = set()

    def follow(self, snapshot: Snapshot, command: Sequence[str]) -> list[Alarm]:
        """Show what holds now; returns the alarms that are new on this screen."""
        alarms = alarms_in(snapshot.state) if snapshot.alive else ()
        newest = sorted(alarms, key=lambda alarm: -alarm.since)
        self.show_or_clear("ALARM " + " · ".join(alarm.text for alarm in newest) if newest else "")
        new = [alarm for alarm in newest if (alarm.kind, alarm.since) not in self._rung]
        self._rung.update((alarm.kind, alarm.since) for alarm in new)
        if new:
            self.app.bell()
        for alarm in new:
            if command:
                run_command(command, safe_text(alarm.text))
        return new
