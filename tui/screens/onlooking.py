"""A screen that only looks: the keys that would write say so instead."""

from __future__ import annotations

from photon_triage.core.session.decisions.labels import Verdict
from photon_triage.tui.screens.main.decision_controller import Judging

ONLY_LOOKS = "this screen is read-only · attach without --read-only to decide"


class Onlooking(Judging):
    """Stands before the actions that write, and lets them through unless the session was opened to be read."""

    def _may_write(self) -> bool:
        if self.session.read_only:
            self.say(ONLY_LOOKS)
        return not self.session.read_only

    def action_decide(self, verdict: Verdict) -> None:
        """Record a verdict, where that is allowed."""
        if self._may_write():
            super().action_decide(verdict)

    def action_repeat(self) -> None:
        """Decide as before, where that is allowed."""
        if self._may_write():
            super().action_repeat()

    def action_classify(self, place: int) -> None:
        """Record a class, where that is allowed."""
        if self._may_write():
            super().action_classify(place)

    def action_undo(self) -> None:
        """Take back, where that is allowed."""
        if self._may_write():
            super().action_undo()

    def action_redo(self) -> None:
        """Decide again, where that is allowed."""
        if self._may_write():
            super().action_redo()

    def action_flag(self) -> None:
        """Flag, where that is allowed."""
        if self._may_write():
            super().action_flag()

    def action_keep_threshold(self) -> None:
        """Write the threshold that is being tried, where that is allowed; it can be tried all the same."""
        if self._may_write():
            super().action_keep_threshold()
