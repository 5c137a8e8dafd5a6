"""What the keys show of the session as a whole: its runs, its hit rate against what, its powder."""

from __future__ import annotations

from typing import Any

from photon_triage.core.session.store.runs import TIME
from photon_triage.tui.screens.files_screen import FilesScreen, RunsScreen
from photon_triage.tui.screens.main.triage import TriageScreen
from photon_triage.tui.screens.powder_screen import PowderScreen
from photon_triage.tui.terminal.text import safe_text


class Surveying(TriageScreen):
    """The actions on runs and rates."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.axis = TIME
        """What the hit rate is shown against."""
        self.surveying = False
        """Whether the table of runs is over the list."""

    def action_runs(self) -> None:
        """The table of runs over the whole screen."""

        def closed(_: None) -> None:
            self.surveying = False

        self.surveying = True
        self._refresh()
        self.app.push_screen(RunsScreen(lambda: self.snapshot, lambda: self.threshold, self.action_axis), closed)

    def action_files(self) -> None:
        """Reasons and notes of files over the whole screen."""
        self.app.push_screen(FilesScreen(self.session, lambda: self.snapshot, lambda: self.threshold))

    def action_powder(self) -> None:
        """The virtual powder of hits and of misses over the whole screen."""
        look, letters = self._picture.look, self._picture.letters
        self.app.push_screen(
            PowderScreen(self.session.path, look, lambda: self.snapshot, lambda: self.threshold, letters)
        )

    def action_axis(self) -> None:
        """The hit rate over time, against the run, or against the next number that is recorded."""
        axes = list(self.snapshot.axes)
        self.axis = axes[(axes.index(self.axis) + 1) % len(axes)] if self.axis in axes else TIME
        self.say("hit rate over time" if self.axis == TIME else f"hit rate against {safe_text(self.axis)}")
        self._refresh()
