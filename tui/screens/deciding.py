"""Decisions by key: written in the order of the keys, shown once they are on disk, taken back one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from photon_triage.core.errors import TriageError
from photon_triage.core.session.labels import Label, LabelWriter, Verdict
from photon_triage.core.session.rows import FrameRow
from photon_triage.core.session.session import Session
from photon_triage.tui.screens.saving import SaveQueue
from photon_triage.tui.widgets.candidates import CandidateList

MARKS: dict[Verdict, str] = {"accepted": "✓", "rejected": "✗", "skipped": "–"}


class Decisions:
    """What the operator decides on one screen.

    `candidates` shows it. `told` hears what is on disk, `warn` what could not be saved, `say` everything else.
    """

    def __init__(
        self,
        session: Session,
        candidates: CandidateList,
        *,
        told: Callable[[str], None],
        say: Callable[[str], None],
        warn: Callable[[str], None],
    ) -> None:
        self._journal = session.journal()
        self._writer = LabelWriter(self._journal)
        self._candidates = candidates
        self._undoable: list[tuple[int, Label | None]] = []
        self._report, self._say, self._warn = told, say, warn
        self.queue = SaveQueue()
        self.saved = 0
        """How many records are on disk."""
        self.lost = 0
        """How many decisions could not be written since the last one that could."""

    def work_from(self, queue: str) -> None:
        """Keep with each decision from now on that it is made from this order of work."""

        def write() -> None:
            self._writer.queue = queue

        # In the order of the keys: what was decided before still is of the queue that it was decided from.
        self.queue.put(write, lambda _: None, self._not_saved)

    def decide(self, row: FrameRow, verdict: Verdict, category: str = "", *, go_on: bool = True) -> None:
        """Write a verdict; the cursor goes on at once, the letter follows when the verdict is on disk."""
        candidates = self._candidates
        if candidates.is_saving(row.id):
            self._say(f"{row.id} is still being saved")
            return
        before = candidates.label(row.id)
        candidates.show_saving(row.id, True)

        def done(record: Any) -> None:
            self._undoable.append((row.id, before))
            candidates.show_saving(row.id, False)
            candidates.show_saved(row.id, Label(row.key, verdict, record.who, record.time, category))
            named = f" as {category}" if category else ""
            self._told(f"{MARKS[verdict]} {row.id} {verdict}{named} ({self._writer.undoable} undoable)")

        def failed(error: TriageError) -> None:
            candidates.show_saving(row.id, False)
            candidates.show_unsaved(row.id, before)
            self._not_saved(error, row.id)

        self.queue.put(
            lambda: self._writer.decide(row.key, verdict, category=category, digest=row.digest), done, failed
        )
        place = candidates.next_undecided() if go_on else None
        if place is not None:
            candidates.move_to(place)

    def undo(self) -> None:
        """Take back the last decision; the cursor returns to its frame."""

        def done(key: Any) -> None:
            if key is None:
                self._say("nothing to undo on this screen")
                return
            frame, before = self._undoable.pop()
            self._candidates.show_saved(frame, before)
            where = "" if self._return_to(frame) else " · not in this list"
            self._told(f"↶ {frame} is {before.verdict if before else 'undecided'} again{where}")

        self.queue.put(self._writer.undo, done, self._not_saved)

    def flag(self, row: FrameRow) -> None:
        """Flag a frame, or take its flag off."""
        flagged = not self._candidates.flagged(row.id)

        def done(_: Any) -> None:
            self._candidates.show_flag(row.id, flagged)
            self._told(f"{row.id} {'flagged' if flagged else 'no longer flagged'}")

        self.queue.put(lambda: self._writer.flag(row.key, flagged), done, self._not_saved)

    def set_threshold(self, value: float, text: Callable[[], str]) -> None:
        """Write a threshold; `text` says how it does."""
        self.queue.put(
            lambda: self._writer.set_threshold(value), lambda _: self._told(f"✓ saved: {text()}"), self._not_saved
        )

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()

    def _told(self, text: str) -> None:
        self.saved += 1
        self.lost = 0
        self._candidates.forget_unsaved()
        self._report(text)

    def _not_saved(self, error: TriageError, frame: int | None = None) -> None:
        self.lost += 1
        self._warn(f"{error.title}: {error}")
        if frame is not None:
            self._return_to(frame)
            self._say(f"{frame} is not decided: it could not be saved")

    def _return_to(self, frame: int) -> bool:
        place = self._candidates.place_of(frame)
        if place is not None:
            self._candidates.move_to(place)
        return place is not None
