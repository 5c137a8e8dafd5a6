"""Journals: append-only decisions, one file per writer, on disk before they count."""

from __future__ import annotations

import getpass
import json
import os
import re
import socket
import time
import uuid
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from photon_triage.core.atomic import sync_folder
from photon_triage.core.errors import SessionError

LATEST = 253_402_300_799.0
"""The last second of the year 9999, in Unix time: what says a later time is damaged."""
_TAIL, _TAIL_LINES = 64 * 1024, 20


@dataclass(frozen=True, slots=True)
class Record:
    """One line of a journal: who wrote it, when (Unix time), its place, what kind it is and what it says.

    stamp: the time, or a later one where the clock of the writer was behind what it had seen written: by it all
    journals are merged, so that a clock that jumps back does not make an older word the last one.
    """

    journal: str
    sequence: int
    time: float
    who: str
    kind: str
    fields: dict[str, Any]
    stamp: float

    @property
    def order(self) -> tuple[float, str, int]:
        """The order in which the records of all journals are merged."""
        return (self.stamp, self.journal, self.sequence)


def user_name() -> str:
    """The operator's account name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


class JournalWriter:
    """Appends records to a journal of its own; the file is made with the first record."""

    def __init__(self, folder: Path, who: str | None = None, *, read_only: bool = False) -> None:
        self._read_only = read_only
        self.who = who or user_name()
        user, host = (re.sub(r"[^A-Za-z0-9._]+", "_", text) for text in (user_name(), socket.gethostname()))
        self.path = folder / f"{user}-{host}-{os.getpid()}-{uuid.uuid4().hex}.jsonl"
        self._file: int | None = None
        self._sequence = 0
        self._torn = False
        self._doubtful: list[int] = []
        self._last_stamp: float | None = None

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
        if self._last_stamp is None:
            self._last_stamp = _last_stamp(self.path.parent)
        now = time.time()
        stamp = now if now > self._last_stamp else self._last_stamp + 1e-6
        records = [
            Record(self.path.name, self._sequence + place, now, self.who, kind, fields, stamp)
            for place, (kind, fields) in enumerate([*revoked, *entries])
        ]
        data = b"".join(_line(record) for record in records)
        try:
            if self._file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
                sync_folder(self.path.parent)
            if self._torn:
                data = b"\n" + data
            written = os.write(self._file, data)
            if written != len(data):
                raise OSError(f"{written} of {len(data)} bytes were written")
            os.fsync(self._file)
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
        self._last_stamp = stamp
        self._sequence += len(records)
        return records[len(revoked) :]

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


class JournalFollower:
    """Reads what is new in all journals of a folder; torn or damaged lines are counted, never believed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._offsets: dict[str, int] = {}
        self._held: list[Record] = []
        self.damaged = 0

    def new_records(self) -> list[Record]:
        """The records that were added since the last call, in merge order.

        Raises SessionError for a folder or a journal that is there and cannot be read; the next call goes on from
        where this one began.
        """
        found, self._held = self._held, []
        path = self._folder
        try:
            for name in sorted(entry.name for entry in os.scandir(self._folder) if entry.name.endswith(".jsonl")):
                path = self._folder / name
                with suppress(FileNotFoundError):
                    found.extend(self._new_in(name))
        except FileNotFoundError:
            return found
        except OSError as error:
            self._held = found
            raise SessionError(
                f"Could not read the decisions in {path}: {error.strerror or error}.",
                "Make it readable for everybody who works on the session.",
            ) from error
        return sorted(found, key=lambda record: record.order)

    def _new_in(self, name: str) -> Iterator[Record]:
        with (self._folder / name).open("rb") as file:
            file.seek(self._offsets.get(name, 0))
            data = file.read()
        end = data.rfind(b"\n") + 1
        self._offsets[name] = self._offsets.get(name, 0) + end
        for line in data[:end].splitlines():
            if not line.strip():
                continue
            record = parse_line(name, line)
            if record is None:
                self.damaged += 1
            else:
                yield record


def _last_stamp(folder: Path) -> float:
    """The latest stamp in all journals, by their last records; what cannot be read has none."""
    latest = 0.0
    with suppress(OSError):
        for entry in os.scandir(folder):
            if entry.name.endswith(".jsonl"):
                with suppress(OSError):
                    latest = max(latest, _last_stamp_in(entry))
    return latest


def _last_stamp_in(entry: os.DirEntry[str]) -> float:
    """The latest stamp among a journal's last records; a decision on many frames may be a long line of its own."""
    size = entry.stat().st_size
    with open(entry.path, "rb") as file:  # noqa: PTH123
        tail = _TAIL
        while True:
            file.seek(max(0, size - tail))
            lines = file.read().splitlines()[-_TAIL_LINES:]
            stamps = [record.stamp for line in lines if (record := parse_line(entry.name, line))]
            if stamps or tail >= size:
                return max(stamps, default=0.0)
            tail *= 16


def _line(record: Record) -> bytes:
    stamp = {} if record.stamp == record.time else {"stamp": record.stamp}
    body = json.dumps(
        {"seq": record.sequence, "time": record.time, **stamp, "who": record.who, "kind": record.kind, **record.fields},
        separators=(",", ":"),
    ).encode()
    return b"%08x %s\n" % (zlib.crc32(body), body)


def parse_line(journal: str, line: bytes) -> Record | None:
    """The record on a line, or None where its checksum or form does not hold."""
    checksum, _, body = line.partition(b" ")
    try:
        if int(checksum, 16) != zlib.crc32(body):
            return None
        fields = json.loads(body)
        if not isinstance(fields, dict):
            return None
        sequence, when, who, kind = (fields.pop(name) for name in ("seq", "time", "who", "kind"))
    except (ValueError, KeyError, RecursionError):
        return None
    stamp = fields.pop("stamp", when)
    numbers = isinstance(sequence, int) and isinstance(when, int | float) and isinstance(stamp, int | float)
    if not (numbers and isinstance(who, str) and 0 <= when <= LATEST and 0 <= stamp <= LATEST):
        return None
    return Record(journal, sequence, when, who, str(kind), fields, stamp)
