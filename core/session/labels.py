"""Labels: what all journals say, merged."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import Any

from photon_triage.core.frames import FrameKey
from photon_triage.core.session.audits import DRAW, DRAWN, Draw, DrawBook, moved
from photon_triage.core.session.journal import JournalFollower, JournalWriter, Record
from photon_triage.core.session.label_records import (
    VERDICTS,
    Label,
    Subject,
    Verdict,
    key_fields,
    key_of,
    label_of,
    subject_fields,
    subjects_of,
    threshold_of,
)
from photon_triage.core.session.moves import Place, digests_now, moved_files
from photon_triage.core.session.results import ResultsReader

__all__ = ["VERDICTS", "Label", "LabelBook", "LabelWriter", "Subject", "Verdict"]


@dataclass(frozen=True, slots=True)
class _Said:
    """What a record says: its place (time, journal, sequence), of which frame, and a label, a flag or a threshold."""

    order: tuple[float, str, int]
    subject: FrameKey | None
    value: Label | bool | float


class LabelBook:
    """The labels of a session, followed as they are written.

    Conflicting labels of two people are both kept; the later one counts, and the frame is listed in `conflicts`.
    """

    def __init__(self, folder: Path) -> None:
        self._follower = JournalFollower(folder)
        self._said: dict[FrameKey | None, list[_Said]] = {}
        """By the key that the frame has now; None holds what was said of the threshold."""
        self._subjects: dict[tuple[str, int], list[FrameKey | None]] = {}
        """What each record is about."""
        self._undone: set[tuple[str, int]] = set()
        self.malformed: list[Record] = []
        """Records that are whole and say nothing that can be right."""
        self._digests: dict[FrameKey, str] = {}
        """Of labelled frames, by the key that they were labelled under."""
        self._moves: dict[Place, Place] = {}
        self._digests_now: dict[FrameKey, str] = {}
        self.labels: dict[FrameKey, Label] = {}
        self.flagged: set[FrameKey] = set()
        self.conflicts: set[FrameKey] = set()
        self.threshold: float | None = None
        self.opinions: dict[FrameKey, dict[str, bool]] = {}
        """Of frames that several people decided on, whether each accepted them; who skipped has none."""
        self.draws: tuple[Draw, ...] = ()
        """The audit's random samples, the oldest first."""
        self._draws = DrawBook()

    @property
    def damaged(self) -> int:
        """Lines in the journals that could not be read."""
        return self._follower.damaged + len(self.malformed)

    def refresh(self) -> bool:
        """Take in what is new; true when anything was.

        `labels`, `flagged`, `conflicts` and the others are replaced, never changed: who holds one may go on reading it.
        """
        new = self._follower.new_records()
        touched: set[FrameKey | None] = set()
        for record in new:
            try:
                touched.update(self._take_in(record))
            except (KeyError, TypeError, ValueError, OverflowError):
                self.malformed.append(record)
        if touched:
            self._settle(touched)
        if any(record.kind in (DRAW, DRAWN) for record in new):
            self._settle_draws()
        return bool(new)

    def follow_moves(self, reader: ResultsReader) -> bool:
        """Find the labelled frames of files that were moved since; true when any label is of another key now.

        Labels of a frame that another one has taken the place of do not count any more.
        """
        moves = moved_files(self._digests, reader)
        new = {old: now for old, now in moves.items() if self._moves.get(old) != now}
        touched: set[FrameKey | None] = set()
        if new:
            self._moves |= new
            before, self._said = self._said, {}
            for said in (each for saids in before.values() for each in saids):
                self._said.setdefault(self._now(said.subject), []).append(said)
            touched |= before.keys() | self._said.keys()
            self._settle_draws()
        if reader.state().get("replaced"):
            digests = digests_now((key for key in self._said if key), reader)
            touched |= {key for key in self._said if key and self._digests_now.get(key.frame) != digests.get(key.frame)}
            self._digests_now = digests
        self._settle(touched)
        return bool(touched)

    def _now(self, key: FrameKey | None) -> FrameKey | None:
        """The key that a frame has now."""
        if key is None:
            return None
        file, dataset = self._moves.get((key.file, key.dataset), (key.file, key.dataset))
        return key if file == key.file and dataset == key.dataset else replace(key, file=file, dataset=dataset)

    def _take_in(self, record: Record) -> list[FrameKey | None]:
        """File a record; returns what it is about, where the last word may have changed by it."""
        if record.kind == "undo":
            undone = (record.fields["journal"], record.fields["of"])
            self._undone.add(undone)
            return [self._now(subject) for subject in self._subjects.get(undone, [])]
        said: list[tuple[FrameKey | None, Label | bool | float]]
        if record.kind == "threshold":
            said = [(None, threshold_of(record))]
        elif record.kind == "label":
            labels = [label_of(record, fields) for fields in subjects_of(record)]
            self._digests |= {label.key.frame: label.digest for label in labels if label.digest}
            said = [(label.key, label) for label in labels]
        elif record.kind == "flag":
            said = [(key_of(fields), bool(record.fields["flagged"])) for fields in subjects_of(record)]
        else:
            self._draws.take(record)
            return []
        self._subjects[record.journal, record.sequence] = [subject for subject, _ in said]
        touched = [self._now(subject) for subject, _ in said]
        for now, (subject, value) in zip(touched, said, strict=True):
            self._said.setdefault(now, []).append(_Said(record.order, subject, value))
        return touched

    def _holds(self, label: Label, key: FrameKey) -> bool:
        """Whether a label is of the frame that has this key now."""
        return not label.digest or self._digests_now.get(key.frame, label.digest) == label.digest

    def _settle(self, touched: set[FrameKey | None]) -> None:
        labels, flagged, conflicts = dict(self.labels), set(self.flagged), set(self.conflicts)
        opinions = dict(self.opinions)
        for subject in touched:
            said = sorted(self._said.get(subject, []), key=attrgetter("order"))
            values = [each.value for each in said if each.order[1:] not in self._undone]
            if subject is None:
                self.threshold = next((value for value in reversed(values) if isinstance(value, float)), None)
                continue
            given = [value for value in values if isinstance(value, Label) and self._holds(value, subject)]
            flags = [value for value in values if isinstance(value, bool)]
            each_verdict = {label.who: label.verdict for label in given}
            told = {who: verdict == "accepted" for who, verdict in each_verdict.items() if verdict != "skipped"}
            if given:
                labels[subject] = given[-1] if given[-1].key == subject else replace(given[-1], key=subject)
            else:
                labels.pop(subject, None)
            _put(flagged, subject, bool(flags) and flags[-1])
            _put(conflicts, subject, len(set(told.values())) > 1)
            if len(told) > 1:
                opinions[subject] = told
            else:
                opinions.pop(subject, None)
        self.labels, self.flagged, self.conflicts, self.opinions = labels, flagged, conflicts, opinions

    def _settle_draws(self) -> None:
        draws = self._draws.draws()
        now = {drawn.key: self._now(drawn.key) or drawn.key for each in draws for drawn in each.frames}
        self.draws = moved(draws, now)


class LabelWriter:
    """Writes decisions to one journal and remembers them, newest last, for undo and redo.

    A decision on many frames is one record: its checksum holds for all of them or for none, and one undo takes it back.
    """

    def __init__(self, journal: JournalWriter) -> None:
        self._journal = journal
        self.queue = ""
        """The order of work that decisions are made from; it is kept with each."""
        self._decided: list[Record] = []
        self._undone: list[Record] = []

    @property
    def undoable(self) -> int:
        """How many decisions of this writer can be taken back."""
        return len(self._decided)

    @property
    def redoable(self) -> int:
        """How many decisions that were taken back can be made again."""
        return len(self._undone)

    def decide(self, key: FrameKey, verdict: Verdict, *, category: str = "", digest: str | None = None) -> Record:
        """Record a verdict; on return it is on disk."""
        return self.decide_all([Subject(key, digest)], verdict, category)

    def decide_all(self, about: Sequence[Subject], verdict: Verdict, category: str = "") -> Record:
        """Record one verdict on many frames in one stroke; on return all of it is on disk."""
        given = ({"class": category} if category else {}) | ({"queue": self.queue} if self.queue else {})
        return self._decide("label", about, {"verdict": verdict, **given})

    def flag(self, key: FrameKey, flagged: bool) -> Record:
        """Flag a frame or take the flag off."""
        return self.flag_all([Subject(key)], flagged)

    def flag_all(self, about: Sequence[Subject], flagged: bool) -> Record:
        """Flag many frames in one stroke, or take their flags off."""
        return self._decide("flag", about, {"flagged": flagged})

    def take_over(self, labels: Iterable[Label]) -> int:
        """Record labels that somebody made elsewhere, keeping their names and times; returns how many."""
        entries = []
        for label in labels:
            fields = key_fields(label.key) | {
                "verdict": label.verdict,
                "labelled_by": label.who,
                "labelled_at": label.time,
            }
            if label.category:
                fields["class"] = label.category
            entries.append(("label", fields))
        if entries:
            self._journal.append_all(entries)
        return len(entries)

    def undo(self) -> Record | None:
        """Take back the last decision; returns its record, or None when there is nothing left."""
        if not self._decided:
            return None
        record = self._decided[-1]
        self._journal.append("undo", journal=self._journal.path.name, of=record.sequence)
        self._undone.append(self._decided.pop())
        return record

    def redo(self) -> Record | None:
        """Make the decision that was taken back last once more, as the newest word; None when there is none.

        Any decision made in between leaves nothing to redo.
        """
        if not self._undone:
            return None
        record = self._undone[-1]
        again = self._journal.append(record.kind, **record.fields)
        self._undone.pop()
        self._decided.append(again)
        return again

    def set_threshold(self, value: float) -> Record:
        """Record the threshold that the operator chose."""
        return self._journal.append("threshold", value=value)

    def _decide(self, kind: str, about: Sequence[Subject], what: dict[str, Any]) -> Record:
        frames = [subject_fields(subject) for subject in about]
        record = self._journal.append(kind, **(frames[0] if len(frames) == 1 else {"frames": frames}), **what)
        self._decided.append(record)
        self._undone.clear()
        return record


def _put(keys: set[FrameKey], key: FrameKey, holds: bool) -> None:
    if holds:
        keys.add(key)
    else:
        keys.discard(key)
