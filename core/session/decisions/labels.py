"""Labels: what all journals say, merged."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from typing import Any

from photon_triage.core.frames import FrameKey
from photon_triage.core.session.decisions.audit_draws import DRAW, DRAWN, AuditDraw, DrawBook, moved
from photon_triage.core.session.decisions.journal import JournalFollower, JournalWriter, Record
from photon_triage.core.session.decisions.label_records import (
    VERDICTS,
    Label,
    Statement,
    Subject,
    Verdict,
    key_fields,
    key_of,
    labels_in,
    order_of,
    subject_fields,
    subjects_of,
    threshold_of,
)
from photon_triage.core.session.store.frames import DIGESTS_ASKED, FrameContent, Place, moved_files
from photon_triage.core.session.store.reader import ResultsReader

__all__ = ["VERDICTS", "Label", "LabelBook", "LabelWriter", "Subject", "Verdict"]


class LabelBook:
    """The labels of a session, followed as they are written.

    Of several labels of a frame the last one in the order of the journals counts, and all are kept. `conflicts` lists
    frames that one person accepted and another rejected, and frames whose labels differ and were given by writers of
    which neither could read the other's.
    """

    def __init__(self, folder: Path) -> None:
        self._follower = JournalFollower(folder)
        self._said: dict[FrameKey | None, tuple[Statement, ...]] = {}
        """By the key that the frame has now; None holds what was said of the threshold."""
        self._subjects: dict[str, dict[int, FrameKey | tuple[FrameKey | None, ...] | None]] = {}
        """What each record is about, by journal and number; of several frames all."""
        self._undone: set[tuple[str, int]] = set()
        self.malformed: list[Record] = []
        """Records that are whole and say nothing that can be right."""
        self._digests: dict[Place, dict[int, str]] = {}
        """Of some labelled frames of each file, by index, under the name that the file had when they were labelled."""
        self._moves: dict[Place, Place] = {}
        self._contents: dict[FrameKey, FrameContent] = {}
        """The bytes of labelled frames, by the key that a frame has now."""
        self._changes = -1
        """Changes of recorded frames up to which `_contents` is complete."""
        self._unchecked: set[FrameKey] = set()
        """Frames of which something was said since."""
        self.labels: dict[FrameKey, Label] = {}
        self.changed: dict[FrameKey, Label] = {}
        """The last labels of frames whose bytes have changed since: kept, and not counted until decided again."""
        self.flagged: set[FrameKey] = set()
        self.conflicts: set[FrameKey] = set()
        self.threshold: float | None = None
        self.opinions: dict[FrameKey, dict[str, bool]] = {}
        """Of frames that several people decided on, whether each accepted them; who skipped has none."""
        self.draws: tuple[AuditDraw, ...] = ()
        """The audit's random samples, the oldest first."""
        self._draws = DrawBook()

    @property
    def damaged(self) -> int:
        """Lines in the journals that could not be read."""
        return self._follower.damaged + len(self.malformed)

    def refresh(self, *, complete: bool = False) -> bool:
        """Take in what is new; true when anything was. complete: see JournalFollower.new_records.

        `labels`, `flagged`, `conflicts` and the others are replaced, never changed: who holds one may go on reading it.
        """
        new = deque(self._follower.new_records(complete=complete))
        is_new, is_drawn = bool(new), False
        touched: set[FrameKey | None] = set()
        while new:  # each is let go of as it is taken in: there may be hundreds of thousands
            record = new.popleft()
            is_drawn = is_drawn or record.kind in (DRAW, DRAWN)
            try:
                touched.update(self._take_in(record))
            except (KeyError, TypeError, ValueError, OverflowError):
                self.malformed.append(record)
        if touched:
            self._settle(touched)
        if is_drawn:
            self._settle_draws()
        return is_new

    def holds(self, label: Label) -> bool:
        """Whether this label was given to its frame, whether or not it is the one that counts."""
        said = self._said.get(label.key, ())
        return any(_is_same(each.value, label) for each in said if each.record not in self._undone)

    def counts(self, label: Label) -> bool:
        """Whether this label is the one that counts for its frame."""
        return _is_same(self.labels.get(label.key), label)

    def follow_moves(self, reader: ResultsReader) -> bool:
        """Find the labelled frames of files that were moved or changed since; true when any label is affected.

        The last label of a frame whose bytes are others than those it was given on is in `changed`, not in `labels`.
        """
        moves = moved_files(self._digests, reader)
        new = {old: now for old, now in moves.items() if self._moves.get(old) != now}
        touched: set[FrameKey | None] = set()
        if new:
            self._moves |= new
            before, self._said = self._said, {}
            for said in (each for saids in before.values() for each in saids):
                now = self._now(said.subject)
                self._said[now] = (*self._said.get(now, ()), said)
            touched |= before.keys() | self._said.keys()
            self._settle_draws()
        touched |= self._follow_contents(reader, everything=bool(new))
        self._settle(touched)
        return bool(touched)

    def _follow_contents(self, reader: ResultsReader, *, everything: bool) -> set[FrameKey]:
        """Ask for the bytes of labelled frames, where they may be others than before; returns those that are."""
        changes = reader.changes()
        if everything or changes != self._changes:
            self._unchecked = {key for key in self._said if key}
            self._changes = changes
        asked, self._unchecked = self._unchecked, set()
        now = reader.contents({key.frame for key in asked})
        others = set()
        for key in asked:
            content, before = now.get(key.frame), self._contents.get(key.frame)
            if content != before and not (before is None and self._all_hold(key, content)):
                others.add(key)
        for key in others:
            self._contents.pop(key.frame, None)
        self._contents |= now
        return others

    def _all_hold(self, key: FrameKey, content: FrameContent | None) -> bool:
        """Tell whether all labels of a frame were given on these bytes, so that nothing changes by knowing them."""
        return all(
            _holds(each.value, each.written, content)
            for each in self._said.get(key, ())
            if isinstance(each.value, Label)
        )

    def _now(self, key: FrameKey | None) -> FrameKey | None:
        """The key that a frame has now."""
        if key is None or not self._moves:
            return key
        file, dataset = self._moves.get((key.file, key.dataset), (key.file, key.dataset))
        return key if file == key.file and dataset == key.dataset else replace(key, file=file, dataset=dataset)

    def _take_in(self, record: Record) -> list[FrameKey | None]:
        """File a record; returns what it is about, where the last word may have changed by it."""
        if record.kind == "undo":
            journal, number = record.fields["journal"], record.fields["of"]
            self._undone.add((journal, number))
            about = self._subjects.get(journal, {}).get(number, ())
            return [self._now(subject) for subject in (about if isinstance(about, tuple) else (about,))]
        said: list[tuple[FrameKey | None, Label | bool | float]]
        if record.kind == "threshold":
            said = [(None, threshold_of(record))]
        elif record.kind == "label":
            said = [(label.key, label) for label in labels_in(record)]
        elif record.kind == "flag":
            said = [(key_of(fields), bool(record.fields["flagged"])) for fields in subjects_of(record)]
        else:
            self._draws.take(record)
            return []
        about = said[0][0] if len(said) == 1 else tuple(subject for subject, _ in said)
        self._subjects.setdefault(record.journal, {})[record.sequence] = about
        touched = [self._now(subject) for subject, _ in said]
        for now, (subject, value) in zip(touched, said, strict=True):
            if isinstance(value, Label):
                order = value.order
                if value.digest:
                    self._keep_digest(value.key, value.digest)
            else:
                order = order_of(record)
            self._said[now] = (*self._said.get(now, ()), Statement(order, subject, value, record.time))
            if now is not None:
                self._unchecked.add(now)
        return touched

    def _keep_digest(self, key: FrameKey, digest: str) -> None:
        of_file = self._digests.setdefault((key.file, key.dataset), {})
        if key.index in of_file or len(of_file) < DIGESTS_ASKED:
            of_file[key.index] = digest

    def _settle(self, touched: set[FrameKey | None]) -> None:
        labels, flagged, conflicts = dict(self.labels), set(self.flagged), set(self.conflicts)
        changed = dict(self.changed)
        opinions = dict(self.opinions)
        for subject in touched:
            said = self._standing(subject)
            if subject is not None and len(said) == 1 and isinstance(only := said[0].value, Label):
                # Nearly every labelled frame: nothing to merge.
                holds = _holds(only, said[0].written, self._contents.get(subject.frame))
                kept, other = (labels, changed) if holds else (changed, labels)
                kept[subject] = only if only.key == subject else replace(only, key=subject)
                for former in (other, opinions):
                    if former:
                        former.pop(subject, None)
                flagged.discard(subject)
                conflicts.discard(subject)
                continue
            values = [each.value for each in said]
            if subject is None:
                self.threshold = next((value for value in reversed(values) if isinstance(value, float)), None)
                continue
            every = [(each.value, each.written) for each in said if isinstance(each.value, Label)]
            content = self._contents.get(subject.frame)
            given = [label for label, written in every if _holds(label, written, content)]
            flags = [value for value in values if isinstance(value, bool)]
            each_verdict = {label.who: label.verdict for label in given}
            told = {who: verdict == "accepted" for who, verdict in each_verdict.items() if verdict != "skipped"}
            for kept, last in ((labels, given), (changed, [] if given else [label for label, _ in every])):
                if last:
                    kept[subject] = last[-1] if last[-1].key == subject else replace(last[-1], key=subject)
                else:
                    kept.pop(subject, None)
            _put(flagged, subject, bool(flags) and flags[-1])
            _put(conflicts, subject, len(set(told.values())) > 1 or self._was_decided_apart(given))
            if len(told) > 1:
                opinions[subject] = told
            else:
                opinions.pop(subject, None)
        self.labels, self.flagged, self.conflicts, self.opinions = labels, flagged, conflicts, opinions
        self.changed = changed

    def _standing(self, subject: FrameKey | None) -> Sequence[Statement]:
        """What was said of a frame and not taken back, in order."""
        said: Sequence[Statement] = self._said.get(subject, ())
        if self._undone:
            said = [each for each in said if each.record not in self._undone]
        return said if len(said) < 2 else sorted(said, key=attrgetter("order"))

    def _was_decided_apart(self, given: Sequence[Label]) -> bool:
        """Whether a label that still stands differs from the one that counts, and neither writer knew the other's."""
        if len({(label.verdict, label.category) for label in given}) < 2:
            return False
        records = [label.order[1:] for label in given]
        last = given[-1]
        for place, label in enumerate(given[:-1]):
            differs = (label.verdict, label.category) != (last.verdict, last.category)
            if differs and self._missed(records[place], records[-1]):
                later = [record for record in records if record > records[place]]
                if all(self._missed(records[place], record) for record in later):
                    return True
        return False

    def _missed(self, one: tuple[float, str, int], other: tuple[float, str, int]) -> bool:
        """Whether the writer of the later of two records had not read the earlier one."""
        earlier, later = sorted([one, other])
        return self._follower.order.missed(earlier[1:], later[1:])

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

    def take_over(self, labels: Iterable[Label], *, override: bool = False) -> int:
        """Record labels that somebody made elsewhere, keeping their names and times; returns how many.

        They stand at their times in the order, so that newer decisions count; override: as if they were decided now.
        """
        entries = []
        for label in sorted(labels, key=attrgetter("time")):
            fields = key_fields(label.key) | {
                "verdict": label.verdict,
                "labelled_by": label.who,
                "labelled_at": label.time,
            }
            if label.category:
                fields["class"] = label.category
            if label.digest:
                fields["digest"] = label.digest
            if override:
                fields["override"] = True
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


def _is_same(given: object, label: Label) -> bool:
    return (
        isinstance(given, Label)
        and (given.verdict, given.category, given.who) == (label.verdict, label.category, label.who)
        # Tables hold times to the microsecond.
        and abs(given.time - label.time) < 1e-5
    )


def _holds(label: Label, written: float, content: FrameContent | None) -> bool:
    """Tell whether a label was given on the bytes that its frame has now: by digest, else by time."""
    if content is None:
        return True
    if label.digest and content.digest:
        return label.digest == content.digest
    return written > content.changed


def _put(keys: set[FrameKey], key: FrameKey, holds: bool) -> None:
    if holds:
        keys.add(key)
    else:
        keys.discard(key)
