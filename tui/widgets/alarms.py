"""What the engine warns of: a line that stays, a bell, and a command."""

from __future__ import annotations

from collections.abc import Sequence

from photon_triage.core.session.store.alarms import Alarm, alarms_in, run_command
from photon_triage.tui.snapshot.snapshot import Snapshot
from photon_triage.tui.terminal.text import safe_text
from photon_triage.tui.widgets.message import Banner


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
