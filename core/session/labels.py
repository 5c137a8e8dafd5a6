"""Labels: what all journals say, merged."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from photon_triage.core.frames import FrameKey
from photon_triage.core.session.journal import JournalFollower, JournalWriter, Record

Verdict = Literal["accepted", "rejected", "skipped"]
VERDICTS: tuple[str, ...] = get_args(Verdict)


@dataclass(frozen=True, slots=True)
class Label:
    """One operator's verdict on one frame."""

    key: FrameKey
    verdict: Verdict
    who: str
    time: float
    category: str = ""
    """The class, such as single, multiple or water; empty where none was given."""


class LabelBook:
    """The labels of a session, followed as they are written.

    Conflicting labels of two people are both kept; the later one counts, and the frame is listed in `conflicts`.
    """

    def __init__(self, folder: Path) -> None:
        self._follower = JournalFollower(folder)
        self._events: dict[tuple[str, int], Record] = {}
        self._undone: set[tuple[str, int]] = set()
        self.labels: dict[FrameKey, Label] = {}
        self.flagged: set[FrameKey] = set()
        self.conflicts: set[FrameKey] = set()
        self.threshold: float | None = None

    @property
    def damaged(self) -> int:
        """Lines in the journals that could not be read."""
        return self._follower.damaged

    def refresh(self) -> bool:
        """Take in what is new; true when anything was."""
        new = self._follower.new_records()
        for record in new:
            if record.kind == "undo":
                self._undone.add((record.fields["journal"], record.fields["of"]))
            elif record.kind in ("label", "flag", "threshold"):
                self._events[record.journal, record.sequence] = record
        if new:
            self._merge()
        return bool(new)

    def _merge(self) -> None:
        each: dict[FrameKey, dict[str, Label]] = {}
        labels: dict[FrameKey, Label] = {}
        flags: dict[FrameKey, bool] = {}
        self.threshold = None
        for record in sorted(self._events.values(), key=lambda record: record.order):
            if (record.journal, record.sequence) in self._undone:
                continue
            if record.kind == "threshold":
                self.threshold = float(record.fields["value"])
                continue
            key = FrameKey(record.fields["file"], record.fields["dataset"], record.fields["index"])
            if record.kind == "flag":
                flags[key] = bool(record.fields["flagged"])
                continue
            who = record.fields.get("labelled_by", record.who)
            when = record.fields.get("labelled_at", record.time)
            label = Label(key, record.fields["verdict"], who, when, record.fields.get("class", ""))
            each.setdefault(key, {})[who] = label
            labels[key] = label
        self.labels = labels
        self.flagged = {key for key, flagged in flags.items() if flagged}
        self.conflicts = {
            key for key, verdicts in each.items() if len({v.verdict for v in verdicts.values()} - {"skipped"}) > 1
        }


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
    return {"file": key.file, "dataset": key.dataset, "index": key.index}
