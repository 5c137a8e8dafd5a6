"""Tables over the whole screen: the files with a reason or a note, and the runs."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.screen import Screen

from photon_triage.core.common.errors import SessionError
from photon_triage.core.session.session import Session
from photon_triage.core.session.store.file_notes import ignored_note
from photon_triage.core.session.store.rows import FileRow
from photon_triage.tui.screens.help import HELP, explain
from photon_triage.tui.snapshot.snapshot import Snapshot
from photon_triage.tui.widgets.files import MOST_FILES, FilesPane, RunsPane
from photon_triage.tui.widgets.history import HistoryPane
from photon_triage.tui.widgets.keys import KeyFooter
from photon_triage.tui.widgets.status import StatusLine

RUNS_REFRESH_S = 0.25
REFRESH_S = 0.5


class RunsScreen(Screen[None]):
    """The table of runs, and the hit rate over time or against something below it.

    snapshot: asks the main screen for the newest one. next_axis: shows the hit rate against something else.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("R,escape,q", "close", "Back", tooltip="Back to the list", key_display="R"),
        Binding("h", "axis", "Against", tooltip="Hit rate over time, against run, or against a recorded number"),
        Binding("j,down", "scroll(1)", "Down", tooltip="Next run"),
        Binding("k,up", "scroll(-1)", "Up", tooltip="Run before"),
        HELP,
    ]

    def __init__(self, snapshot: Callable[[], Snapshot], threshold: Callable[[], float], axis: Callable[[], None]):
        super().__init__()
        self._snapshot, self._threshold, self._next_axis = snapshot, threshold, axis

    def compose(self) -> ComposeResult:
        """The table above the chart."""
        yield StatusLine(id="status")
        yield RunsPane("Runs", id="all-runs")
        yield HistoryPane("Hit rate", id="against")
        yield KeyFooter(id="keys")

    def on_mount(self) -> None:
        """Follow the main screen."""
        self.set_interval(RUNS_REFRESH_S, self._show)
        self.call_after_refresh(self._show)

    def _show(self) -> None:
        snapshot = self._snapshot()
        self.query_one(StatusLine).show(snapshot, self._threshold(), paused=False)
        self.query_one(RunsPane).show(snapshot)
        self.query_one(HistoryPane).show(snapshot)

    def action_close(self) -> None:
        """Back to the list."""
        self.dismiss(None)

    def action_help(self) -> None:
        """What the keys do."""
        explain(self, "Runs", RunsPane.help_text, HistoryPane.help_text)

    def action_axis(self) -> None:
        """The hit rate against something else."""
        self._next_axis()

    def action_scroll(self, lines: int) -> None:
        """Show later or earlier runs."""
        self.query_one(RunsPane).scroll_by(lines)


class FilesScreen(Screen[None]):
    """States, reasons and notes of files, read again when the engine has recorded something.

    snapshot: asks the main screen for the newest one.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("F,escape,q", "close", "Back", tooltip="Back to the list", key_display="F"),
        Binding("j,down", "scroll(1)", "Down", tooltip="Next line"),
        Binding("k,up", "scroll(-1)", "Up", tooltip="Line before"),
        Binding("ctrl+d,pagedown", "scroll(10)", "Page down", tooltip="Ten lines down"),
        Binding("ctrl+u,pageup", "scroll(-10)", "Page up", tooltip="Ten lines up"),
        HELP,
    ]

    class RowsLoaded(Message):
        """The files have been read."""

        def __init__(self, rows: Sequence[FileRow]) -> None:
            super().__init__()
            self.rows = rows

    def __init__(self, session: Session, snapshot: Callable[[], Snapshot], threshold: Callable[[], float]) -> None:
        super().__init__()
        self._session, self._snapshot, self._threshold = session, snapshot, threshold
        self._version: int | None = None
        self._loading = False

    def compose(self) -> ComposeResult:
        """The table below the status."""
        yield StatusLine(id="status")
        yield FilesPane("Files", id="all-files")
        yield KeyFooter(id="keys")

    def on_mount(self) -> None:
        """Follow the main screen."""
        self.set_interval(REFRESH_S, self._follow)
        self.call_after_refresh(self._follow)

    def _follow(self) -> None:
        snapshot = self._snapshot()
        self.query_one(StatusLine).show(snapshot, self._threshold(), paused=False)
        if not self._loading and snapshot.version != self._version:
            self._loading, self._version = True, snapshot.version
            self.run_worker(lambda: self.post_message(self.RowsLoaded(self._read())), thread=True, group="files")

    def _read(self) -> Sequence[FileRow]:
        try:
            with closing(self._session.results()) as reader:
                return reader.remarkable_files(MOST_FILES)
        except (sqlite3.Error, OSError, SessionError):
            return ()

    def on_files_screen_rows_loaded(self, message: RowsLoaded) -> None:
        """Show what was read."""
        self._loading = False
        ignored = self._snapshot().state.ignored
        self.query_one(FilesPane).show(message.rows, ignored_note(ignored) if isinstance(ignored, dict) else "")

    def action_close(self) -> None:
        """Back to the list."""
        self.dismiss(None)

    def action_help(self) -> None:
        """What the keys do."""
        explain(self, "Files", FilesPane.help_text)

    def action_scroll(self, lines: int) -> None:
        """Show later or earlier lines."""
        self.query_one(FilesPane).scroll_by(lines)
