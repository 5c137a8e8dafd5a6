"""Tables of files with a reason or a note, and of runs with their hit rates."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import PurePath

from textual.content import Content

from photon_triage.core.session.state import FileStatus
from photon_triage.core.session.store.rows import FileRow
from photon_triage.core.session.store.runs import RunRow
from photon_triage.tui.snapshot.snapshot import Snapshot
from photon_triage.tui.terminal.text import cells, cut, safe_text
from photon_triage.tui.widgets.pane import Pane

FIXED = 42
"""Cells of all columns but the name's."""
MOST_FILES = 500
"""Files that are listed, those that changed last."""
STYLES = {
    FileStatus.UNREADABLE: "$text-error",
    FileStatus.MISSING: "$text-warning",
    FileStatus.WAITING: "$text-warning",
}


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


class FilesPane(Pane):
    """The state of a file on a line, its reason and its notes below it; the file that changed last comes first."""

    help_text = (
        "Files with a reason (why one is waited for, misses something or cannot be read) or with notes on how its "
        "frames were made of what is in it. Below: how many files were ignored, by suffix. "
        "`photon-triage session files SESSION` lists all files."
    )

    def __init__(self, title: str, *, id: str | None = None) -> None:
        super().__init__(title, id=id)
        self._rows: Sequence[FileRow] | None = None
        self._top = 0

    def show(self, rows: Sequence[FileRow], ignored: str) -> None:
        """Take the files, and the note on those that were ignored."""
        self._rows = rows
        self.set_title(f"Files {len(rows):,}")
        self.set_subtitle(safe_text(ignored))
        self._redraw()

    def scroll_by(self, lines: int) -> None:
        """Show later or earlier lines."""
        self._top += lines
        self._redraw()

    def on_resize(self) -> None:
        """Fill the new size."""
        self._redraw()

    def _redraw(self) -> None:
        width, height = max(self.size.width, 10), max(self.size.height, 1)
        if self._rows is None:
            lines = [Content("reading the ledger …")]
        elif self._rows:
            lines = [line for row in self._rows for line in _said(row, width)]
        else:
            lines = [Content("no file has a reason or a note")]
        self._top = max(min(self._top, len(lines) - height), 0)
        self.put(Content("\n").join(lines[self._top : self._top + height]))


def _said(row: FileRow, width: int) -> list[Content]:
    """The lines of a file, no wider than so many cells."""
    name = cut(safe_text(PurePath(row.path).name), max(width - 30, 10))
    lines = [
        Content.assemble((f"{row.status:<10} ", STYLES.get(row.status, "")), f"{name}  {row.done:,}/{row.frames:,}")
    ]
    for text in (*([row.reason] if row.reason else []), *(f"note: {note}" for note in row.notes)):
        wrapped = textwrap.wrap(safe_text(text), width - 2, initial_indent="  ", subsequent_indent="    ")
        lines += [Content(cut(line, width)) for line in wrapped]
    return lines
