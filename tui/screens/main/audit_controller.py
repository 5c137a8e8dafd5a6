"""A threshold is tried before it is kept: what it would select, and how well."""

from __future__ import annotations

from photon_triage.tui.screens.main.triage import TriageScreen
from photon_triage.tui.snapshot.snapshot import Snapshot
from photon_triage.tui.widgets.metrics_pane import trial_text
from photon_triage.tui.widgets.status import StatusLine

STEP = 0.01
WHILE_TRYING = ("keep_threshold", "drop_threshold")
TAKEN = ("zoom", "undo")
"""Actions whose keys keep and drop a threshold while one is tried."""


class Trying(TriageScreen):
    """The actions on the threshold; nothing is written before `keep`."""

    _trial_told = ""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Which actions there are now."""
        if action in WHILE_TRYING:
            return self._trying is not None
        if action in TAKEN and self._trying is not None:
            return False
        return super().check_action(action, parameters)

    def action_threshold(self, step: int) -> None:
        """Try another threshold."""
        begins = self._trying is None
        self._trying = min(max(round(self.threshold + step * STEP, 2), 0.0), 1.0)
        self.say(f"trying {self._trying:.2f} …")
        self._show_threshold(begins)

    def action_keep_threshold(self) -> None:
        """Write the threshold that is tried down."""
        if self._trying is not None:
            value = self._trying
            self._decisions.set_threshold(value, lambda: f"threshold {value:.2f}")

    def action_drop_threshold(self) -> None:
        """Go back to the threshold in use."""
        self._trying = None
        self.say(f"the threshold stays {self.threshold:.2f}")
        self._show_threshold(True)

    def _show_threshold(self, keys_change: bool) -> None:
        self._trial_told = ""
        self.query_one(StatusLine).show(self.snapshot, self.threshold, paused=self.paused)
        if keys_change:
            self.refresh_bindings()
        self._refresh()

    def _settle_threshold(self, snapshot: Snapshot) -> None:
        """Say what the threshold that is tried would do; it is no trial any more once it is the one in use."""
        if self._trying is None:
            return
        if self._trying == snapshot.saved_threshold:
            self._trying = None
            self.refresh_bindings()
        elif snapshot.measured and snapshot.measured.threshold == self._trying:
            text = trial_text(snapshot)
            if text != self._trial_told:
                self._trial_told = text
                self.say(text)
