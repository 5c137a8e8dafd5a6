"""Runs and hit rate over the whole screen, for terminals that have no room for them beside the list."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen

from photon_triage.tui.screens.help import HELP, explain
from photon_triage.tui.snapshot.snapshot import Snapshot
from photon_triage.tui.widgets.files import RunsPane
from photon_triage.tui.widgets.history import HistoryPane
from photon_triage.tui.widgets.keys import KeyFooter
from photon_triage.tui.widgets.status import StatusLine

REFRESH_S = 0.25


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
        self.set_interval(REFRESH_S, self._show)
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
