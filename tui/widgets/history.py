"""The hit rate over the last minutes, against the run, or against a number that is recorded of every frame."""

from __future__ import annotations

from textual.content import Content

from photon_triage.core.session.store.reader import HISTORY_BIN_S
from photon_triage.core.session.store.runs import RUN, TIME
from photon_triage.tui.snapshot.snapshot import Snapshot
from photon_triage.tui.terminal.text import cells, cut, safe_text
from photon_triage.tui.widgets.pane import Pane, bars
from photon_triage.tui.widgets.status import rates

AXIS = 5
"""Cells of the scale on the left."""


class HistoryPane(Pane):
    """Hit rate as bars, one bin a cell or two."""

    help_text = (
        "Hit rate in percent: over time, one bar for ten seconds with the newest on the right; h shows it against the "
        "run, the place in the file, the score, or any number that a stage records."
    )

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
        if self._snapshot.axis == TIME:
            self._draw_time(room, rows)
        else:
            self._draw_against(room, rows)

    def _draw_time(self, room: int, rows: int) -> None:
        wide = 2 if room >= 120 else 1
        values = rates(self._snapshot, min(room // wide, 60 if wide == 2 else room))
        minutes = len(values) * HISTORY_BIN_S / 60
        end = "now" if self._snapshot.alive else "last"
        self._draw([value for value in values for _ in range(wide)], rows, f"-{minutes:.0f} min", end)
        self.set_title(f"Hit rate %  last {minutes:.0f} min")
        self.set_subtitle(f"1 bin = {HISTORY_BIN_S} s · h against what")

    def _draw_against(self, room: int, rows: int) -> None:
        axis, shown = safe_text(self._snapshot.axis), self._snapshot.bars[-room:]
        self.set_title(f"Hit rate %  against {axis}")
        if not shown:
            self.set_subtitle("h against what")
            self.put(Content(f"no frame has {axis} yet" if axis != RUN else "counting the runs ..."))
            return
        wide = max(room // len(shown), 1)
        values = [bar.percent for bar in shown for _ in range(wide)]
        first, last = shown[0], shown[-1]
        if axis == RUN:
            start, end, each = cut(safe_text(first.name), room // 2), cut(safe_text(last.name), room // 2), "a run"
        else:
            start, end, each = f"{first.low:.4g}", f"{last.high:.4g}", f"{first.high - first.low:.3g}"
        self._draw(values, rows, start, end)
        frames = sum(bar.frames for bar in shown)
        self.set_subtitle(f"1 bar = {each} · n={frames:,} · h against what")

    def _draw(self, columns: list[float], rows: int, start: str, end: str) -> None:
        top = max(5.0, max(columns, default=0.0))
        lines = []
        for place, line in enumerate(bars(columns, rows, top)):
            mark = f"{top:>3.0f}┤ " if place == 0 else "  0┤ " if place == rows - 1 else "   │ "
            lines.append(Content.assemble(mark, (line, "$text-accent")))
        scale = start + " " * max(max(len(columns), 8) - cells(start) - cells(end), 1) + end
        lines.append(Content.styled(" " * AXIS + scale, "$text-muted"))
        self.put(Content("\n").join(lines))
