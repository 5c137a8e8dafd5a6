"""What the keys say of frames: verdicts, classes and flags."""

from __future__ import annotations

import time

from photon_triage.core.session.decisions.labels import Verdict
from photon_triage.core.session.store.rows import FrameRow
from photon_triage.tui.screens.main.audit_controller import Trying
from photon_triage.tui.screens.main.decisions import Aim
from photon_triage.tui.widgets.keys import ACCEPTED_CLASS, CLASSES

SURPRISE_S = 0.4
"""A decision this soon after a live list put another frame under the cursor was meant for the one before; so was one
while its picture is not there yet."""
MARKED_MOST = 10_000
"""Frames that one stroke may decide on: about 2 MB in the journal."""


class Judging(Trying):
    """The actions that decide."""

    def _aim(self) -> Aim | None:
        """What a decision is meant for, or None (and a word why) when that is not sure."""
        row = self._list.row
        unseen = row is not None and self._picture.shown_id != row.id
        surprised = self.live and (unseen or time.monotonic() - self._surprised_at < SURPRISE_S)
        self._freeze()
        if self._shown_serial != self._serial or (row is None and len(self._list.ids)):
            self.say("the list is being read: look, then decide")
            return None
        if not self.snapshot.labelled:
            self.say("the labels are being read: look, then decide")
            return None
        if surprised:
            self.say("the list moved just now: look, then decide")
            return None
        if self._visit.reading:
            self.say("the neighbour is being read: look, then decide")
            return None
        if self._visit.row is not None:
            return self._aim_at_neighbour(self._visit.row)
        if row is None:
            self.say("there is no frame to decide on")
            return None
        return self._aim_at_marked() if self._list.marked else Aim((row.id,), lambda: [row])

    def _aim_at_neighbour(self, row: FrameRow) -> Aim | None:
        if self._unit == "candidates":
            self.say("a neighbour has no candidate here: look only, k or j goes back to the list")
            return None
        return Aim((row.id,), lambda: [row])

    def _aim_at_marked(self) -> Aim | None:
        places = self._list.marked
        if len(places) > MARKED_MOST:
            self.say(f"{len(places):,} are marked: at most {MARKED_MOST:,} can be decided in one stroke")
            return None
        ids = tuple(int(frame) for frame in self._list.ids[places.start : places.stop])
        return Aim(ids, lambda: [*self._store.fetch(ids).values()], self._unit)

    def action_mark(self) -> None:
        """Begin a marked range at the cursor, or give it up."""
        self._freeze()
        if self._list.mark is not None:
            self._list.set_mark(None)
            self.say("nothing is marked")
        elif len(self._list.ids):
            self._list.set_mark(self._list.cursor)
            self.say("marked from here: move, then decide on all of it with one key · v gives it up")

    def action_decide(self, verdict: Verdict) -> None:
        """Record a verdict and go on to the next undecided frame."""
        self._decide(verdict, "")

    def action_repeat(self) -> None:
        """Give the frame or the marked range the last verdict and class once more."""
        if self._decisions.last is None:
            self.say("nothing has been decided on this screen that could be repeated")
        else:
            self._decide(*self._decisions.last)

    def _decide(self, verdict: Verdict, category: str) -> None:
        if aim := self._aim():
            self._end_visit()
            self._list.set_mark(None)
            self._decisions.decide(aim, verdict, category)

    def action_classify(self, place: int) -> None:
        """Record a class with the verdict that follows from it, or take the class away."""
        if place:
            category = CLASSES[place - 1]
            self._decide("accepted" if category == ACCEPTED_CLASS else "rejected", category)
            return
        aim = self._aim()
        if aim is None:
            return
        if len(aim.ids) > 1:
            self.say("a class is cleared frame by frame · v gives up the mark")
            return
        label = self.standing.label(aim.ids[0])
        if label is None or not label.category:
            self.say("this frame has no class to clear")
        else:
            self._decisions.decide(aim, label.verdict, go_on=False)

    def action_undo(self) -> None:
        """Take back the last decision and return to its frame."""
        self._freeze()
        self._end_visit()
        self._decisions.undo()

    def action_redo(self) -> None:
        """Make the decision that was taken back last once more."""
        self._freeze()
        self._end_visit()
        self._decisions.redo()

    def action_flag(self) -> None:
        """Flag the frame or the marked range, or take the flags off."""
        if aim := self._aim():
            self._list.set_mark(None)
            self._decisions.flag(aim)
