"""The table of runs."""

from __future__ import annotations

from textual.content import Content

from photon_triage.core.session.store.runs import RunRow
from photon_triage.tui.snapshot.snapshot import Snapshot
from photon_triage.tui.terminal.text import cells, cut, safe_text
from photon_triage.tui.widgets.pane import Pane

FIXED = 42
"""Cells of all columns but the name's."""


class RunsPane(Pane):
    """The runs with their frames, hits, decisions and what is left to do, newest first."""

    help_text = (
        "Runs, newest first: frames scored, hits, hit rate, frames accepted, and the lag: frames that wait, or for the "
        "newest run how long ago the frame that was scored last came in. R shows the table over the whole screen."
    )

    def __init__(self, title: str, *, id: str | None = None) -> None:
        super().__init__(title, id=id)
        self._snapshot = Snapshot(0.0)
        self._top = 0

    def show(self, snapshot: Snapshot) -> None:
        """Take a newer state."""
        self._snapshot = snapshot
        self._redraw()

    def scroll_by(self, lines: int) -> None:
        """Show later or earlier lines."""
        self._top = max(min(self._top + lines, len(self._snapshot.runs) - self._room), 0)
        self._redraw()

    def on_resize(self) -> None:
        """Fill the new size."""
        self._redraw()

    @property
    def _room(self) -> int:
        return max(self.size.height - 1, 1)

    def _redraw(self) -> None:
        runs, name_width = self._snapshot.runs, max(self.size.width - FIXED, 6)
        lines = [Content.styled(f"{'run':<{name_width}}   frames     hits   rate  accepted    lag", "bold")]
        for place, row in enumerate(runs[self._top : self._top + self._room], self._top):
            name = cut(safe_text(row.run), name_width)
            rate = f"{100 * row.hits / row.frames:5.1f}%" if row.frames else "     –"
            accepted = self._snapshot.accepted_in_run.get(row.run, 0)
            padding = " " * (name_width - cells(name))
            counts = f"{row.frames:>8,} {row.hits:>8,} {rate} {accepted:>9,}"
            lines.append(Content(f"{name}{padding} {counts} {self._lag(row, newest=place == 0):>6}"))
        if not runs:
            lines.append(Content("no frames yet"))
        self.put(Content("\n").join(lines))

    def _lag(self, row: RunRow, *, newest: bool) -> str:
        if row.waiting:
            return f"{row.waiting}f" if row.waiting < 100_000 else f"{row.waiting // 1000}kf"
        return f"{self._snapshot.state.lag_s:.1f}s" if newest and self._snapshot.alive else "–"
