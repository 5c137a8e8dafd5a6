"""The hit rate over the last minutes, and the runs it came from."""

from __future__ import annotations

from textual.content import Content

from photon_triage.core.session.results import HISTORY_BIN_S
from photon_triage.tui.snapshot import Snapshot
from photon_triage.tui.text import cells, cut, safe_text
from photon_triage.tui.widgets.pane import Pane, bars
from photon_triage.tui.widgets.status import rates

AXIS = 5
"""Cells of the scale on the left."""


class HistoryPane(Pane):
    """Hit rate as bars, one bin a cell or two."""

    help_text = "Hit rate in percent, one bar for ten seconds; the newest is on the right."

    def __init__(self, title: str, *, id: str | None = None) -> None:
        super().__init__(title, id=id)
        self._snapshot = Snapshot(0.0)

    def show(self, snapshot: Snapshot) -> None:
        """Take a newer state."""
        self._snapshot = snapshot
        self._redraw()

    def on_resize(self) -> None:
        """Fill the new size."""
        self._redraw()

    def _redraw(self) -> None:
        width, height = self.size
        room, rows = width - AXIS, height - 1
        if room < 10 or rows < 1:
            return
        wide = 2 if room >= 120 else 1
        values = rates(self._snapshot, min(room // wide, 60 if wide == 2 else room))
        top = max(5.0, max(values, default=0.0))
        columns = [value for value in values for _ in range(wide)]
        lines = []
        for place, line in enumerate(bars(columns, rows, top)):
            mark = f"{top:>3.0f}┤ " if place == 0 else "  0┤ " if place == rows - 1 else "   │ "
            lines.append(Content.assemble(mark, (line, "$text-accent")))
        minutes = len(values) * HISTORY_BIN_S / 60
        end = "now" if self._snapshot.alive else "last"
        scale = f"-{minutes:.0f} min".ljust(max(len(columns) - len(end), 8)) + end
        lines.append(Content.styled(" " * AXIS + scale, "$text-muted"))
        self.set_title(f"Hit rate %  last {minutes:.0f} min")
        self.set_subtitle(f"1 bin = {HISTORY_BIN_S} s")
        self.put(Content("\n").join(lines))


class RunsPane(Pane):
    """The runs with their frames, hits and decisions, newest first."""

    help_text = "Runs, newest first: frames scored, hits, hit rate, frames accepted."

    def show(self, snapshot: Snapshot) -> None:
        """Take a newer state."""
        name_width = max(self.size.width - 36, 8)
        lines = [Content.styled(f"{'run':<{name_width}}   frames     hits   rate  accepted", "bold")]
        for run, frames, hits, _ in snapshot.runs[: max(self.size.height - 1, 1)]:
            name = cut(safe_text(run), name_width)
            rate = f"{100 * hits / frames:5.1f}%" if frames else "     –"
            accepted = snapshot.accepted_in_run.get(run, 0)
            padding = " " * (name_width - cells(name))
            lines.append(Content(f"{name}{padding} {frames:>8,} {hits:>8,} {rate} {accepted:>9,}"))
        if not snapshot.runs:
            lines.append(Content("no frames yet"))
        self.put(Content("\n").join(lines))
