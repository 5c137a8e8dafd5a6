"""What the keys say of frames: verdicts, classes, flags, and the threshold."""

from __future__ import annotations

import time

from photon_triage.core.session.labels import Verdict
from photon_triage.core.session.rows import FrameRow
from photon_triage.tui.screens.triage import TriageScreen
from photon_triage.tui.widgets.keys import ACCEPTED_CLASS, CLASSES
from photon_triage.tui.widgets.metrics import trial_text
from photon_triage.tui.widgets.status import StatusLine

SURPRISE_S = 0.4
"""A decision this soon after a live list put another frame under the cursor was meant for the one before; so was one
while its picture is not there yet."""
THRESHOLD_REST_S = 0.8
"""The threshold is written once it has rested this long."""


class Judging(TriageScreen):
    """The actions that decide."""

    def _target(self) -> FrameRow | None:
        """The frame that a decision is meant for, or None (and a word why) when that is not sure."""
        row = self._list.row
        unseen = row is not None and self._picture.shown_id != row.id
        surprised = self.live and (unseen or time.monotonic() - self._surprised_at < SURPRISE_S)
        self._freeze()
        if self._shown_serial != self._serial or (row is None and len(self._list.ids)):
            self.say("the list is being read: look, then decide")
            return None
        if surprised:
            self.say("the list moved just now: look, then decide")
            return None
        if row is None:
            self.say("there is no frame to decide on")
        return row

    def action_decide(self, verdict: Verdict) -> None:
        """Record a verdict and go on to the next undecided frame."""
        if row := self._target():
            self._decisions.decide(row, verdict)

    def action_classify(self, place: int) -> None:
        """Record a class with the verdict that follows from it, or take the class away."""
        row = self._target()
        if row is None:
            return
        if place:
            category = CLASSES[place - 1]
            self._decisions.decide(row, "accepted" if category == ACCEPTED_CLASS else "rejected", category)
            return
        label = self._list.label(row.id)
        if label is None or not label.category:
            self.say("this frame has no class to clear")
        else:
            self._decisions.decide(row, label.verdict, go_on=False)

    def action_undo(self) -> None:
        """Take back the last decision and return to its frame."""
        self._freeze()
        self._decisions.undo()

    def action_flag(self) -> None:
        """Flag the frame, or take the flag off."""
        if row := self._target():
            self._decisions.flag(row)

    def action_threshold(self, step: int) -> None:
        """Try another threshold; it is written once it rests."""
        self._trying = min(max(round(self.threshold + step * 0.01, 2), 0.0), 1.0)
        if self._threshold_timer is not None:
            self._threshold_timer.stop()
        self._threshold_timer = self.set_timer(THRESHOLD_REST_S, self._save_threshold)
        self.say(f"threshold {self._trying:.2f} …")
        self.query_one(StatusLine).show(self.snapshot, self.threshold, paused=self.paused)
        self._refresh()

    def _save_threshold(self) -> None:
        self._threshold_timer = None
        if self._trying is not None:
            self._decisions.set_threshold(self._trying, lambda: trial_text(self.snapshot))
