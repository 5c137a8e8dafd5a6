"""Decisions by key: written in the order of the keys, shown once they are on disk, taken back one by one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from photon_triage.core.common.errors import SessionError, TriageError
from photon_triage.core.session.decisions.journal import Record
from photon_triage.core.session.decisions.labels import Label, LabelWriter, Subject, Verdict
from photon_triage.core.session.session import Session
from photon_triage.core.session.store.rows import FrameRow
from photon_triage.tui.widgets.candidates import CandidateList
from photon_triage.tui.widgets.frame_states import Standing

MARKS: dict[Verdict, str] = {"accepted": "✓", "rejected": "✗", "skipped": "–"}


@dataclass(frozen=True, slots=True)
class _Job:
    write: Callable[[], Any]
    done: Callable[[Any], None]
    failed: Callable[[TriageError], None]


class SaveQueue:
    """Runs writes in order; the event loop hears of each when it is on disk, or of why it is not."""

    def __init__(self) -> None:
        self._jobs: asyncio.Queue[_Job] = asyncio.Queue()

    def put(self, write: Callable[[], Any], done: Callable[[Any], None], failed: Callable[[TriageError], None]) -> None:
        """Write soon; then `done` gets what `write` returned, or `failed` its error."""
        self._jobs.put_nowait(_Job(write, done, failed))

    async def run(self) -> None:
        """Write whatever is put, for ever."""
        while True:
            job = await self._jobs.get()
            try:
                result = await asyncio.to_thread(job.write)
            except TriageError as error:
                job.failed(error)
            except Exception as error:  # those that follow are written all the same
                job.failed(
                    SessionError(
                        f"Could not save a decision: {type(error).__name__}: {error}.",
                        "Decide again.",
                        title="Not saved",
                    )
                )
            else:
                job.done(result)
            finally:
                self._jobs.task_done()

    async def drained(self) -> None:
        """Return once everything put so far has been written or has failed."""
        await self._jobs.join()


@dataclass(frozen=True)
class Aim:
    """What a decision is meant for: one frame, or a marked range of them.

    rows: reads what is known of them; called in a thread.
    """

    ids: tuple[int, ...]
    rows: Callable[[], Sequence[FrameRow]]
    unit: str = "frames"

    @property
    def name(self) -> str:
        """How messages call it."""
        return str(self.ids[0]) if len(self.ids) == 1 else f"{len(self.ids):,} {self.unit}"

    @property
    def are(self) -> str:
        """The verb that goes with the name."""
        return "is" if len(self.ids) == 1 else "are"

    def read(self) -> list[FrameRow]:
        """The rows, all of them; raises SessionError where one cannot be read."""
        rows = list(self.rows())
        if len(rows) != len(self.ids):
            raise SessionError(
                f"Could not read {len(self.ids) - len(rows)} of {self.name} in results.db.",
                "Look at the list again, then decide again.",
                title="Not saved",
            )
        return rows


@dataclass(frozen=True)
class _UndoStep:
    """A decision that can be taken back: what it was meant for, and what stood there before and after it."""

    aim: Aim
    before: Mapping[int, Any]
    after: Mapping[int, Any]


class Decisions:
    """What the operator decides on one screen.

    `candidates` moves on and back, `standing` shows the letters.
    `told` hears what is on disk, `warn` what could not be saved, `say` everything else.
    """

    def __init__(
        self,
        session: Session,
        candidates: CandidateList,
        standing: Standing,
        *,
        told: Callable[[str], None],
        say: Callable[[str], None],
        warn: Callable[[str], None],
    ) -> None:
        self._journal = session.journal()
        self._writer = LabelWriter(self._journal)
        self._candidates, self._standing = candidates, standing
        self._undoable: list[_UndoStep] = []
        self._redoable: list[_UndoStep] = []
        self._report, self._say, self._warn = told, say, warn
        self.queue = SaveQueue()
        self.saved = 0
        """How many records are on disk."""
        self.lost = 0
        """How many decisions could not be written since the last one that could."""
        self.last: tuple[Verdict, str] | None = None
        """The verdict and class that were given last."""

    def work_from(self, queue: str) -> None:
        """Keep with each decision from now on that it is made from this order of work."""

        def write() -> None:
            self._writer.queue = queue

        # In the order of the keys: what was decided before still is of the queue that it was decided from.
        self.queue.put(write, lambda _: None, self._not_saved)

    def decide(self, aim: Aim, verdict: Verdict, category: str = "", *, go_on: bool = True) -> None:
        """Write a verdict; the cursor goes on at once, the letter follows when the verdict is on disk."""
        candidates, standing = self._candidates, self._standing
        if any(standing.is_saving(frame) for frame in aim.ids):
            self._say(f"{aim.name} {aim.are} still being saved")
            return
        self.last = verdict, category
        before = {frame: standing.label(frame) for frame in aim.ids}
        standing.show_saving(aim.ids, True)

        def write() -> tuple[Record, list[FrameRow]]:
            rows = aim.read()
            subjects = [Subject(row.key, row.digest) for row in rows]
            return self._writer.decide_all(subjects, verdict, category), rows

        def done(written: tuple[Record, list[FrameRow]]) -> None:
            record, rows = written
            after = {row.id: Label(row.key, verdict, record.who, record.time, category) for row in rows}
            standing.show_saving(aim.ids, False)
            self._made(_UndoStep(aim, before, after))
            named = f" as {category}" if category else ""
            self._told(f"{MARKS[verdict]} {aim.name} {verdict}{named} ({self._writer.undoable} undoable)")

        def failed(error: TriageError) -> None:
            standing.show_saving(aim.ids, False)
            standing.show_unsaved(before)
            self._not_saved(error, aim)

        self.queue.put(write, done, failed)
        place = candidates.next_undecided() if go_on else None
        if place is not None:
            candidates.move_to(place)

    def flag(self, aim: Aim) -> None:
        """Flag frames, or take their flags off where all of them have one."""
        before = {frame: self._standing.flagged(frame) for frame in aim.ids}
        flagged = not all(before.values())

        def done(_: Any) -> None:
            self._made(_UndoStep(aim, before, dict.fromkeys(aim.ids, flagged)))
            self._told(f"{aim.name} {'flagged' if flagged else 'no longer flagged'}")

        def write() -> Record:
            return self._writer.flag_all([Subject(row.key) for row in aim.read()], flagged)

        self.queue.put(write, done, self._not_saved)

    def undo(self) -> None:
        """Take back the last decision; the cursor returns to its frame."""

        def done(record: Any) -> None:
            if record is None:
                self._say("nothing to undo on this screen")
                return
            step = self._undoable.pop()
            self._redoable.append(step)
            self._again("↶", step.aim, step.before)

        self.queue.put(self._writer.undo, done, self._not_saved)

    def redo(self) -> None:
        """Make the decision once more that was taken back last."""

        def done(record: Any) -> None:
            if record is None:
                self._say("nothing to redo on this screen")
                return
            step = self._redoable.pop()
            self._undoable.append(step)
            self._again("↷", step.aim, step.after)

        self.queue.put(self._writer.redo, done, self._not_saved)

    def set_threshold(self, value: float, text: Callable[[], str]) -> None:
        """Write a threshold; `text` says how it does."""
        self.queue.put(
            lambda: self._writer.set_threshold(value), lambda _: self._told(f"✓ saved: {text()}"), self._not_saved
        )

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()

    def _made(self, step: _UndoStep) -> None:
        self._undoable.append(step)
        self._redoable.clear()
        self._show(step.after)

    def _show(self, states: Mapping[int, Any]) -> None:
        flags = {frame: state for frame, state in states.items() if isinstance(state, bool)}
        self._standing.show_flags(flags)
        self._standing.show_saved({frame: state for frame, state in states.items() if frame not in flags})

    def _again(self, sign: str, aim: Aim, states: Mapping[int, Any]) -> None:
        """Show and say what holds again."""
        self._show(states)
        where = "" if self._return_to(aim.ids[0]) else " · not in this list"
        self._told(f"{sign} {aim.name} {aim.are} {_state(states)} again{where}")

    def _told(self, text: str) -> None:
        self.saved += 1
        self.lost = 0
        self._standing.forget_unsaved()
        self._report(text)

    def _not_saved(self, error: TriageError, aim: Aim | None = None) -> None:
        self.lost += 1
        self._warn(f"{error.title}: {error}")
        if aim is not None:
            self._return_to(aim.ids[0])
            self._say(f"{aim.name} {aim.are} not decided: it could not be saved")

    def _return_to(self, frame: int) -> bool:
        place = self._candidates.place_of(frame)
        if place is not None:
            self._candidates.move_to(place)
        return place is not None


def _state(states: Mapping[int, Any]) -> str:
    """What the frames are, in a word."""
    names = {
        ("flagged" if state else "not flagged")
        if isinstance(state, bool)
        else (state.verdict if state else "undecided")
        for state in states.values()
    }
    return names.pop() if len(names) == 1 else "as before"
