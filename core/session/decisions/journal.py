"""Journals: append-only decisions, one file per writer, on disk before they count."""

from __future__ import annotations

import getpass
import json
import os
import re
import socket
import sys
import time
import uuid
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Any

from photon_triage.core.common.atomic import sync_folder
from photon_triage.core.common.containment import (
    LARGEST_TABLE,
    RefusedError,
    make_folder,
    open_binary,
    open_regular,
    parse_json,
    report,
    require_folder,
)
from photon_triage.core.common.errors import SessionError
from photon_triage.core.frames import LATEST_TIME
from photon_triage.core.session.decisions.causal_order import CausalOrder, HybridClock, journal_id

REOPEN_S = 5.0
"""A network file system may report an old size until a file is opened again."""
_TAIL, _TAIL_LINES = 64 * 1024, 20
_LARGEST = 2**53
_NUMBERS = (int, float)
_REPEATED = ("file", "dataset", "verdict")
"""Fields with the same few texts in thousands of records: each text is kept once."""


@dataclass(frozen=True, slots=True)
class Record:
    """One line of a journal: who wrote it, when (Unix time), its number, what kind it is and what it says.

    stamp: the time, or a later one where the writer's clock was behind what it had read. seen: how far the writer had
    read other journals, by their ids, as far as that changed since its last record; None where the previous version of
    this program wrote it. rank: see CausalOrder; None where it is the stamp.
    """

    journal: str
    sequence: int
    time: float
    who: str
    kind: str
    fields: dict[str, Any]
    stamp: float
    seen: Mapping[str, int] | None = field(default=None, compare=False)
    rank: float | None = field(default=None, compare=False)

    @property
    def order(self) -> tuple[float, str, int]:
        """The order in which the records of all journals are merged."""
        return (self.stamp if self.rank is None else self.rank, self.journal, self.sequence)


def user_name() -> str:
    """The operator's account name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


class JournalWriter:
    """Appends records to a journal of its own; the file is made with the first record.

    Immediately before it writes, it reads what all other journals have more than before: its records come after those.
    clock: the host's, in Unix time; time.time if None.
    """

    def __init__(
        self,
        folder: Path,
        who: str | None = None,
        *,
        read_only: bool = False,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._read_only = read_only
        self.who = who or user_name()
        user, host = (re.sub(r"[^A-Za-z0-9._]+", "_", text) for text in (user_name(), socket.gethostname()))
        self.path = folder / f"{user}-{host}-{os.getpid()}-{uuid.uuid4().hex}.jsonl"
        self._file: int | None = None
        self._sequence = 0
        self._torn = False
        self._doubtful: list[int] = []
        self._clock = HybridClock(clock)
        self._tails = _JournalTails(folder, self.path.name)
        self._told: dict[str, int] = {}
        """How far the other journals were read, as the records on disk say."""

    def append(self, kind: str, **fields: Any) -> Record:
        """Write one record and return it once it is on disk.

        Raises SessionError when it could not be written whole; it then does not count as saved, and the next call
        starts on a line of its own.
        """
        return self.append_all([(kind, fields)])[0]

    def append_all(self, entries: Sequence[tuple[str, dict[str, Any]]]) -> list[Record]:
        """Write records of (kind, fields) in one stroke; on return all are on disk.

        On an error the caller counts none. Those that reached the disk whole may be read all the same until the next
        call that succeeds, which takes them back first.
        """
        if self._read_only:
            raise SessionError(
                f"Could not save in {self.path.parent}: this process was started to look only.",
                "Leave --read-only away to decide.",
                title="Read-only",
            )
        revoked = [("undo", {"journal": self.path.name, "of": sequence}) for sequence in self._doubtful]
        self._tails.read(self._clock)
        read = {other: number for other, number in self._tails.last.items() if number > self._told.get(other, -1)}
        now, stamp = self._clock.tick()
        records = [
            Record(self.path.name, self._sequence + number, now, self.who, kind, fields, stamp, {} if number else read)
            for number, (kind, fields) in enumerate([*revoked, *entries])
        ]
        data = b"".join(_line(record) for record in records)
        try:
            if self._file is None:
                session = self.path.parent.parent
                make_folder(self.path.parent, session)
                self._file = open_regular(self.path, session, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
                sync_folder(self.path.parent)
            if self._torn:
                data = b"\n" + data
            written = os.write(self._file, data)
            if written != len(data):
                raise OSError(f"{written} of {len(data)} bytes were written")
            os.fsync(self._file)
            self._clock.adopt(stamp, _written(os.fstat(self._file)))
        except OSError as error:
            self._torn = self._file is not None
            # A record that reached the disk before the error must not be mistaken for one that comes later.
            self._sequence += len(records)
            self._doubtful += [record.sequence for record in records[len(revoked) :] if record.kind != "undo"]
            raise SessionError(
                f"Could not save {len(entries)} record(s) in {self.path}: {error.strerror or error}.",
                "Free space on that disk or make it writable, then decide again.",
                title="Not saved",
            ) from error
        self._torn = False
        self._doubtful = []
        self._told |= read
        self._sequence += len(records)
        return records[len(revoked) :]

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


@dataclass(slots=True)
class _Progress:
    """How far a journal has been read: up to the end of a line, out of so many bytes, and when (monotonic time)."""

    offset: int
    size: int
    opened: float


class JournalFollower:
    """Reads what is new in all journals of a folder; torn or damaged lines are counted, never believed.

    Journals whose size has not changed are opened again every REOPEN_S at most, and where a caller wants all there is.
    order: of all records that were read. monotonic: seconds, by which REOPEN_S is measured.
    """

    def __init__(self, folder: Path, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._folder, self._monotonic = folder, monotonic
        self._progress: dict[str, _Progress] = {}
        self._held: list[Record] = []
        self.order = CausalOrder()
        self.damaged = 0

    def new_records(self, *, complete: bool = False) -> list[Record]:
        """The records that were added since the last call, in merge order.

        complete: open every journal, whatever size it seems to have.

        Raises SessionError for a folder or a journal that is there and cannot be read; the next call continues where
        this one began.
        """
        found, self._held = self._held, []
        try:
            for entry in self._journals():
                if complete or self._is_due(entry):
                    self._read(Path(entry.path), found)
            # Journals are read one after the other: what a writer had read may have come to those that were first.
            if unread := self.order.unread(found):
                for entry in self._journals():
                    if journal_id(entry.name) in unread:
                        self._read(Path(entry.path), found)
        except SessionError:
            self._held = found
            raise
        return self.order.arrange(found)

    def _journals(self) -> list[os.DirEntry[str]]:
        try:
            require_folder(self._folder, self._folder.parent)
            with os.scandir(self._folder) as entries:
                return sorted((each for each in entries if each.name.endswith(".jsonl")), key=attrgetter("name"))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise _unreadable(self._folder, error) from error

    def _is_due(self, entry: os.DirEntry[str]) -> bool:
        known = self._progress.get(entry.name)
        if known is None or self._monotonic() - known.opened >= REOPEN_S:
            return True
        try:
            return entry.stat().st_size != known.size
        except OSError:  # to open it tells why
            return True

    def _read(self, path: Path, found: list[Record]) -> None:
        offset = self._progress[path.name].offset if path.name in self._progress else 0
        try:
            with open_binary(path, self._folder.parent, LARGEST_TABLE) as file:
                file.seek(offset)
                data = file.read()
        except FileNotFoundError:
            return
        except RefusedError as error:
            report(error)
            return
        except OSError as error:
            raise _unreadable(path, error) from error
        end = data.rfind(b"\n") + 1
        self._progress[path.name] = _Progress(offset + end, offset + len(data), self._monotonic())
        for line in data[:end].splitlines():
            if not line.strip():
                continue
            record = parse_line(path.name, line)
            if record is None:
                self.damaged += 1
            else:
                found.append(record)


class _JournalTails:
    """How far the journals of a folder have been written, by their last lines; `own` is left out."""

    def __init__(self, folder: Path, own: str) -> None:
        self._folder, self._own = folder, own
        self._offsets: dict[str, int] = {}
        self.last: dict[str, int] = {}
        """The number of the last record of each, by its id."""

    def read(self, clock: HybridClock) -> None:
        """Read what is new and move the clock on past it; a journal that cannot be read was not read."""
        with suppress(OSError), os.scandir(self._folder) as entries:
            for entry in entries:
                if entry.name.endswith(".jsonl") and entry.name != self._own:
                    with suppress(OSError):
                        self._read(entry, clock)

    def _read(self, entry: os.DirEntry[str], clock: HybridClock) -> None:
        start = self._offsets.get(entry.name, 0)
        # Opened even where nothing seems to be new: only that makes a network file system look.
        with open_binary(Path(entry.path), self._folder.parent, LARGEST_TABLE) as file:
            status = os.fstat(file.fileno())
            tail = _TAIL
            while status.st_size > start:
                at = max(start, status.st_size - tail)
                file.seek(at)
                data = file.read(status.st_size - at)
                end = data.rfind(b"\n") + 1
                lines = data[:end].splitlines()[-_TAIL_LINES:]
                records = [record for line in lines if (record := parse_line(entry.name, line))]
                # A decision on many frames may be a long line of its own.
                if records or at == start:
                    break
                tail *= 16
            else:
                return
        self._offsets[entry.name] = at + end
        for record in records:
            clock.adopt(record.stamp, _written(status))
        if records:
            journal = journal_id(entry.name)
            self.last[journal] = max(self.last.get(journal, -1), records[-1].sequence)


def _written(status: os.stat_result) -> float:
    """When a file was last written; a time that was set by hand to a later one does not count."""
    return min(status.st_mtime, status.st_ctime)


def _unreadable(path: Path, error: OSError) -> SessionError:
    return SessionError(
        f"Could not read the decisions in {path}: {error.strerror or error}.",
        "Make it readable for everybody who works on the session.",
    )


def _line(record: Record) -> bytes:
    stamp = {} if record.stamp == record.time else {"stamp": record.stamp}
    seen = {} if record.seen is None else {"seen": record.seen}
    head = {"seq": record.sequence, "time": record.time, **stamp, **seen, "who": record.who, "kind": record.kind}
    body = json.dumps(head | record.fields, separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(body), body)


def parse_line(journal: str, line: bytes) -> Record | None:
    """The record on a line, or None where its checksum or form does not hold."""
    checksum, _, body = line.partition(b" ")
    try:
        if int(checksum, 16) != zlib.crc32(body):
            return None
        fields = parse_json(body)
        if not isinstance(fields, dict):
            return None
        sequence, when, who, kind = fields.pop("seq"), fields.pop("time"), fields.pop("who"), fields.pop("kind")
    except (ValueError, KeyError, RecursionError):
        return None
    stamp, seen = fields.pop("stamp", when), fields.pop("seen", None)
    if not (_is_number(sequence) and _is_time(when) and _is_time(stamp) and isinstance(who, str)):
        return None
    if seen is not None and not (isinstance(seen, dict) and (not seen or all(map(_is_number, seen.values())))):
        return None
    for name in _REPEATED:
        if type(text := fields.get(name)) is str:
            fields[name] = sys.intern(text)
    return Record(journal, sequence, when, sys.intern(who), sys.intern(str(kind)), fields, stamp, seen)


def _is_number(value: object) -> bool:
    return isinstance(value, int) and 0 <= value < _LARGEST


def _is_time(value: object) -> bool:
    return isinstance(value, _NUMBERS) and 0 <= value <= LATEST_TIME
