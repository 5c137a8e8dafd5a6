"""Decisions on frames: verdicts, classes and flags, for one frame or a marked range."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import ClassVar

from textual.binding import Binding

from photon_triage.core.session.decisions.labels import Verdict
from photon_triage.core.session.store.rows import FrameRow
from photon_triage.tui.screens.main.decisions import Aim, Decisions
from photon_triage.tui.screens.main.list_controller import ListController
from photon_triage.tui.screens.main.picture_controller import PictureController
from photon_triage.tui.screens.main.triage import Controller, Triage
from photon_triage.tui.widgets.keys import ACCEPTED_CLASS, CLASSES

SURPRISE_S = 0.4
"""A decision this soon after a live list put another frame under the cursor was meant for the one before; so was one
while its picture is not there yet."""
MARKED_MOST = 10_000
"""Frames that one stroke may decide on: about 2 MB in the journal."""


class DecisionController(Controller):
    """Decides on the frame under the cursor, unless it is not sure which one the operator means."""

    KEYS: ClassVar[Mapping[str, Sequence[Binding]]] = {
        "Decide": [
            Binding(
                "a", "decide('accepted')", "Accept", id="accept", tooltip="Accept the frame, then the next undecided"
            ),
            Binding(
                "x", "decide('rejected')", "Reject", id="reject", tooltip="Reject the frame, then the next undecided"
            ),
            Binding(
                "space", "decide('skipped')", "Skip", id="skip", tooltip="Say neither of it, then the next undecided"
            ),
            Binding("u,backspace", "undo", "Undo", id="undo", tooltip="Take back the last decision and return to it"),
            *(
                Binding(
                    str(place),
                    f"classify({place})",
                    "Class",
                    id=f"class_{place}",
                    key_display="1-9",
                    show=place == 1,
                    tooltip=f"{'Accept' if name == ACCEPTED_CLASS else 'Reject'} as {name}",
                )
                for place, name in enumerate(CLASSES, 1)
            ),
            Binding(
                "v", "mark", "Mark", id="mark", tooltip="Mark a range from here on, for one decision; or give it up"
            ),
            Binding("U,ctrl+r", "redo", "Redo", id="redo", tooltip="Make the decision that was undone last once more"),
            Binding(
                "full_stop",
                "repeat",
                "Repeat",
                id="repeat",
                show=False,
                tooltip="Give this frame or the marked range the last verdict and class again",
                key_display=".",
            ),
        ],
        "List, threshold, export": [
            Binding(
                "0",
                "classify(0)",
                "Clear",
                id="class_clear",
                show=False,
                tooltip="Keep the verdict, take its class away",
            ),
            Binding("f", "flag", "Flag", id="flag", tooltip="Flag the frame, or take the flag off"),
        ],
    }

    def __init__(
        self, triage: Triage, listed: ListController, picture: PictureController, decisions: Decisions
    ) -> None:
        super().__init__(triage)
        self._listed, self._picture, self._decisions = listed, picture, decisions

    def _aim(self) -> Aim | None:
        """What a decision is meant for, or None (and a word why) when that is not sure."""
        triage = self.triage
        row, visit = triage.list.row, self._picture.visit
        unseen = row is not None and triage.picture.shown_id != row.id
        surprised = triage.live and (unseen or time.monotonic() - self._listed.moved_at < SURPRISE_S)
        triage.freeze()
        if not triage.is_listed or (row is None and len(triage.list.ids)):
            triage.say("the list is being read: look, then decide")
        elif not triage.snapshot.labelled:
            triage.say("the labels are being read: look, then decide")
        elif surprised:
            triage.say("the list moved just now: look, then decide")
        elif visit.reading:
            triage.say("the neighbour is being read: look, then decide")
        elif visit.row is not None:
            return self._aim_at_neighbour(visit.row)
        elif row is None:
            triage.say("there is no frame to decide on")
        else:
            return self._aim_at_marked() if triage.list.marked else Aim((row.id,), lambda: [row])
        return None

    def _aim_at_neighbour(self, row: FrameRow) -> Aim | None:
        if self.triage.unit == "candidates":
            self.triage.say("a neighbour has no candidate here: look only, k or j goes back to the list")
            return None
        return Aim((row.id,), lambda: [row])

    def _aim_at_marked(self) -> Aim | None:
        triage = self.triage
        places = triage.list.marked
        if len(places) > MARKED_MOST:
            triage.say(f"{len(places):,} are marked: at most {MARKED_MOST:,} can be decided in one stroke")
            return None
        ids = tuple(int(frame) for frame in triage.list.ids[places.start : places.stop])
        return Aim(ids, lambda: [*triage.store.fetch(ids).values()], triage.unit)

    def action_mark(self) -> None:
        """Begin a marked range at the cursor, or give it up."""
        triage = self.triage
        triage.freeze()
        if triage.list.mark is not None:
            triage.list.set_mark(None)
            triage.say("nothing is marked")
        elif len(triage.list.ids):
            triage.list.set_mark(triage.list.cursor)
            triage.say("marked from here: move, then decide on all of it with one key · v gives it up")

    def action_decide(self, verdict: Verdict) -> None:
        """Record a verdict and go on to the next undecided frame."""
        if self.triage.may_write():
            self._decide(verdict, "")

    def action_repeat(self) -> None:
        """Give the frame or the marked range the last verdict and class once more."""
        if not self.triage.may_write():
            return
        if self._decisions.last is None:
            self.triage.say("nothing has been decided on this screen that could be repeated")
        else:
            self._decide(*self._decisions.last)

    def _decide(self, verdict: Verdict, category: str) -> None:
        if aim := self._aim():
            self._picture.end_visit()
            self.triage.list.set_mark(None)
            self._decisions.decide(aim, verdict, category)

    def action_classify(self, place: int) -> None:
        """Record a class with the verdict that follows from it, or take the class away."""
        if not self.triage.may_write():
            return
        if place:
            category = CLASSES[place - 1]
            self._decide("accepted" if category == ACCEPTED_CLASS else "rejected", category)
        elif aim := self._aim():
            self._clear_class(aim)

    def _clear_class(self, aim: Aim) -> None:
        if len(aim.ids) > 1:
            self.triage.say("a class is cleared frame by frame · v gives up the mark")
            return
        label = self.triage.standing.label(aim.ids[0])
        if label is None or not label.category:
            self.triage.say("this frame has no class to clear")
        else:
            self._decisions.decide(aim, label.verdict, go_on=False)

    def action_undo(self) -> None:
        """Take back the last decision and return to its frame."""
        if self.triage.may_write():
            self.triage.freeze()
            self._picture.end_visit()
            self._decisions.undo()

    def action_redo(self) -> None:
        """Make the decision that was taken back last once more."""
        if self.triage.may_write():
            self.triage.freeze()
            self._picture.end_visit()
            self._decisions.redo()

    def action_flag(self) -> None:
        """Flag the frame or the marked range, or take the flags off."""
        if self.triage.may_write() and (aim := self._aim()):
            self.triage.list.set_mark(None)
            self._decisions.flag(aim)
