"""Labels: what all journals say, merged."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import Literal, get_args

from photon_triage.core.frames import FrameKey
from photon_triage.core.session.journal import JournalFollower, JournalWriter, Record
from photon_triage.core.session.moves import Place, digests_now, moved_files
from photon_triage.core.session.results import ResultsReader

Verdict = Literal["accepted", "rejected", "skipped"]
VERDICTS: tuple[str, ...] = get_args(Verdict)


@dataclass(frozen=True, slots=True)
class Label:
    """One operator's verdict on one frame, or on one candidate where the key has a point."""

    key: FrameKey
    verdict: Verdict
    who: str
    time: float
    category: str = ""
    """The class, such as single, multiple or water; empty where none was given."""
    digest: str = ""
    """Of the frame's raw bytes, where it was known."""


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
        self._subjects: dict[tuple[str, int], FrameKey | None] = {}
        self._undone: set[tuple[str, int]] = set()
        self._malformed = 0
        self._digests: dict[FrameKey, str] = {}
        """Of labelled frames, by the key that they were labelled under."""
        self._moves: dict[Place, Place] = {}
        self._digests_now: dict[FrameKey, str] = {}
        self.labels: dict[FrameKey, Label] = {}
        self.flagged: set[FrameKey] = set()
        self.conflicts: set[FrameKey] = set()
        self.threshold: float | None = None

    @property
    def damaged(self) -> int:
        """Lines in the journals that could not be read."""
        return self._follower.damaged + self._malformed

    def refresh(self) -> bool:
        """Take in what is new; true when anything was.

        `labels`, `flagged` and `conflicts` are replaced, never changed: who holds one may go on reading it.
        """
        new = self._follower.new_records()
        touched: set[FrameKey | None] = set()
        for record in new:
            try:
                touched.update(self._take_in(record))
            except (KeyError, TypeError, ValueError):
                self._malformed += 1
        if touched:
            self._settle(touched)
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
            return [self._now(self._subjects[undone])] if undone in self._subjects else []
        subject: FrameKey | None
        value: Label | bool | float
        if record.kind == "threshold":
            subject, value = None, float(record.fields["value"])
        elif record.kind == "label":
            value = _label(record)
            subject = value.key
            if value.digest:
                self._digests[value.key.frame] = value.digest
        elif record.kind == "flag":
            subject, value = _key(record), bool(record.fields["flagged"])
        else:
            return []
        self._subjects[record.journal, record.sequence] = subject
        now = self._now(subject)
        self._said.setdefault(now, []).append(_Said(record.order, subject, value))
        return [now]

    def _holds(self, label: Label, key: FrameKey) -> bool:
        """Whether a label is of the frame that has this key now."""
        return not label.digest or self._digests_now.get(key.frame, label.digest) == label.digest

    def _settle(self, touched: set[FrameKey | None]) -> None:
        labels, flagged, conflicts = dict(self.labels), set(self.flagged), set(self.conflicts)
        for subject in touched:
            said = sorted(self._said.get(subject, []), key=attrgetter("order"))
            values = [each.value for each in said if each.order[1:] not in self._undone]
            if subject is None:
                self.threshold = next((value for value in reversed(values) if isinstance(value, float)), None)
                continue
            given = [value for value in values if isinstance(value, Label) and self._holds(value, subject)]
            flags = [value for value in values if isinstance(value, bool)]
            each_verdict = {label.who: label.verdict for label in given}
            if given:
                labels[subject] = given[-1] if given[-1].key == subject else replace(given[-1], key=subject)
            else:
                labels.pop(subject, None)
            _put(flagged, subject, bool(flags) and flags[-1])
            _put(conflicts, subject, len(set(each_verdict.values()) - {"skipped"}) > 1)
        self.labels, self.flagged, self.conflicts = labels, flagged, conflicts


class LabelWriter:
    """Writes decisions to one journal and remembers them, newest last, for undo."""

    def __init__(self, journal: JournalWriter) -> None:
        self._journal = journal
        self._decided: list[tuple[int, FrameKey]] = []

    @property
    def undoable(self) -> int:
        """How many decisions of this writer can be taken back."""
        return len(self._decided)

    def decide(self, key: FrameKey, verdict: Verdict, *, category: str = "", digest: str | None = None) -> Record:
        """Record a verdict; on return it is on disk."""
        fields = _key_fields(key) | {"verdict": verdict}
        if category:
            fields["class"] = category
        if digest:
            fields["digest"] = digest
        record = self._journal.append("label", **fields)
        self._decided.append((record.sequence, key))
        return record

    def take_over(self, labels: Iterable[Label]) -> int:
        """Record labels that somebody made elsewhere, keeping their names and times; returns how many."""
        entries = []
        for label in labels:
            fields = _key_fields(label.key) | {
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

    def flag(self, key: FrameKey, flagged: bool) -> Record:
        """Flag a frame or take the flag off."""
        return self._journal.append("flag", **_key_fields(key), flagged=flagged)

    def undo(self) -> FrameKey | None:
        """Take back the last decision; returns its frame, or None when there is nothing left."""
        if not self._decided:
            return None
        sequence, key = self._decided[-1]
        self._journal.append("undo", journal=self._journal.path.name, of=sequence)
        self._decided.pop()
        return key

    def set_threshold(self, value: float) -> Record:
        """Record the threshold that the operator chose."""
        return self._journal.append("threshold", value=value)


def _key_fields(key: FrameKey) -> dict[str, object]:
    fields: dict[str, object] = {"file": key.file, "dataset": key.dataset, "index": key.index}
    return fields | {"point": list(key.point)} if key.point else fields


def _key(record: Record) -> FrameKey:
    """The frame a record is about; raises KeyError or TypeError where it names none."""
    fields = record.fields
    file, dataset, index = fields["file"], fields["dataset"], fields["index"]
    if not (isinstance(file, str) and isinstance(dataset, str) and isinstance(index, int)):
        raise TypeError(f"Expected a file, a data set and an index. Got {file!a}, {dataset!a}, {index!a} instead.")
    point = fields.get("point", [])
    if not (isinstance(point, list) and len(point) in (0, 2) and all(isinstance(place, int) for place in point)):
        raise TypeError(f"Expected a point of two whole numbers. Got {point!a} instead.")
    return FrameKey(file, dataset, index, (point[0], point[1]) if point else ())


def _label(record: Record) -> Label:
    """The label a record gives; raises KeyError, TypeError or ValueError where it gives none."""
    verdict = record.fields["verdict"]
    if verdict not in VERDICTS:
        raise ValueError(f"Expected one of {VERDICTS}. Got {verdict!a} instead.")
    who = str(record.fields.get("labelled_by", record.who))
    when = float(record.fields.get("labelled_at", record.time))
    category, digest = (str(record.fields.get(name) or "") for name in ("class", "digest"))
    return Label(_key(record), verdict, who, when, category, digest)


def _put(keys: set[FrameKey], key: FrameKey, holds: bool) -> None:
    if holds:
        keys.add(key)
    else:
        keys.discard(key)
