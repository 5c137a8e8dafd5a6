"""Intake: finds files, follows them while they grow and reads their frames, in a thread of its own."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from photon_triage.core.errors import NotYetError, SourceError
from photon_triage.core.session.rows import FileRow
from photon_triage.core.sources import FolderWatch, FrameReader, SourceInfo, WatchedFile

CHUNK_BYTES = 32 * 2**20
CHUNK_FRAMES = 20
EVENTS_WAITING = 16
SCAN_S = 1.0
BACK_OFF_S = (0.2, 0.5, 1.0, 2.0, 5.0)


@dataclass(frozen=True)
class FileNews:
    """What is known of a file now; info is None while nothing could be read from it."""

    file: WatchedFile
    status: str
    reason: str = ""
    info: SourceInfo | None = None


@dataclass(frozen=True)
class Chunk:
    """Frames of a file as they were stored, (n, height, width), with their indices.

    valid: (height, width) bool or None. first_seen: Unix time at which the last of them was known to be there.
    again: they have been scored before, by another model.
    """

    info: SourceInfo
    indices: tuple[int, ...]
    frames: NDArray[np.generic]
    valid: NDArray[np.bool_] | None
    first_seen: float
    again: bool = False


@dataclass(frozen=True)
class Wanted:
    """Frames to read again."""

    path: str
    dataset: str
    indices: tuple[int, ...]


@dataclass(frozen=True)
class Lost:
    """Frames that were wanted again and cannot be read any more."""

    wanted: Wanted
    reason: str


Event = FileNews | Chunk | Lost


@dataclass
class _Followed:
    file: WatchedFile
    info: SourceInfo | None = None
    done: int = 0
    status: str = "waiting"
    reason: str = ""
    seen: float = 0.0
    """When the frames not yet read were first known to be there."""
    changed: float = field(default_factory=time.monotonic)
    tries: int = 0
    next_look: float = 0.0
    valid: NDArray[np.bool_] | None = None

    @property
    def readable(self) -> int:
        """Frames that can be read now."""
        return 0 if self.info is None else self.info.available - self.done


class Intake(threading.Thread):
    """Puts what it finds on `events` until closed.

    ledger: what earlier engines recorded; files that are complete and unchanged since are not opened again.
    dataset: the recipe's, or None. patience: seconds without any change after which a file that is not complete is
    given up: as complete when its frames were read, as unreadable when nothing could be.
    """

    def __init__(
        self, paths: Sequence[Path], ledger: Iterable[FileRow], dataset: str | None, *, patience: float = 60.0
    ) -> None:
        super().__init__(name="intake", daemon=True)
        self.events: queue.Queue[Event] = queue.Queue(maxsize=EVENTS_WAITING)
        self.again: queue.Queue[Wanted] = queue.Queue()
        self.scans = 0
        self.stalled_since: float | None = None
        self.failure: BaseException | None = None
        self._watch = FolderWatch(paths)
        self._reader = FrameReader()
        self._dataset, self._patience = dataset, patience
        self._ledger = {row.path: row for row in ledger}
        self._files: dict[str, _Followed] = {}
        self._refusals: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._idle = threading.Event()

    @property
    def finished(self) -> bool:
        """Whether every file that is there has been read as far as it goes, or given up."""
        return (
            self._idle.is_set()
            and self.events.empty()
            and self.again.empty()
            and self._refusals.empty()
            and all(followed.status in ("complete", "unreadable") for followed in list(self._files.values()))
        )

    @property
    def backlog(self) -> int:
        """Frames that are there and not read yet."""
        return sum(max(followed.readable, 0) for followed in list(self._files.values()))

    def refuse(self, path: str, reason: str) -> None:
        """Read no more of a file: what it holds does not fit the recipe."""
        self._idle.clear()
        self._refusals.put((path, reason))

    def close(self) -> None:
        """Stop reading; returns when the thread has ended."""
        self._closing.set()
        while self.is_alive():
            try:
                self.events.get_nowait()
            except queue.Empty:
                self.join(0.05)
        self._reader.close()

    def run(self) -> None:
        """Scan, look, read; the thread's body."""
        next_scan = 0.0
        try:
            while not self._closing.is_set():
                if time.monotonic() >= next_scan:
                    next_scan = self._scan()
                if self._take_refusal() or self._read_again() or self._read_next():
                    continue
                self._idle.set()
                self._closing.wait(0.05)
        except BaseException as error:
            self.failure = error
            raise

    def _scan(self) -> float:
        """Look for new and changed files; returns when to do so again."""
        began = time.monotonic()
        self.stalled_since = time.time()
        changed = self._watch.scan()
        self.stalled_since = None
        self.scans += 1
        for found in changed:
            self._idle.clear()
            file = replace(found, path=os.path.realpath(found.path))
            followed = self._files.get(file.path)
            if followed is None:
                self._files[file.path] = followed = self._begin(file)
                if followed.status == "unreadable" and file.path not in self._ledger:
                    self._tell(followed)
            elif followed.file != file:
                followed.file, followed.changed, followed.next_look = file, time.monotonic(), 0.0
                if followed.status in ("complete", "unreadable"):
                    followed.status, followed.tries = "waiting", 0
        for followed in self._files.values():
            if followed.status in ("waiting", "reading") and time.monotonic() >= followed.next_look:
                self._look(followed)
            if self._closing.is_set():
                break
        now = time.monotonic()
        soonest = min(
            (f.next_look for f in self._files.values() if f.status in ("waiting", "reading")), default=now + SCAN_S
        )
        return max(now + 10 * (now - began) if not changed else now, min(now + SCAN_S, max(soonest, now + 0.1)))

    def _begin(self, file: WatchedFile) -> _Followed:
        if _is_not_text(file.path):
            shown = replace(file, path=os.fsencode(file.path).decode("utf-8", "backslashreplace"))
            return _Followed(
                shown, status="unreadable", reason="Its name is not UTF-8 text: rename it to have it read."
            )
        row = self._ledger.get(file.path)
        followed = _Followed(file, done=row.done if row else 0)
        unchanged = row is not None and (row.size, row.mtime_ns) == (file.size, file.mtime_ns)
        # A file may have been found complete before its last frames were recorded.
        over = row is not None and (row.status == "unreadable" or (row.status == "complete" and row.done >= row.frames))
        if row is not None and unchanged and over:
            followed.status, followed.reason = row.status, row.reason
        return followed

    def _look(self, followed: _Followed) -> None:
        """Inspect a file and say what changed."""
        before = (followed.status, followed.reason, followed.info)
        try:
            info = self._reader.inspect(followed.file.path, self._dataset)
        except NotYetError as error:
            self._wait(followed, error.message)
        except SourceError as error:
            followed.status, followed.reason = "unreadable", error.message
        else:
            self._took_in(followed, info)
        if (followed.status, followed.reason, followed.info) != before:
            self._tell(followed)

    def _took_in(self, followed: _Followed, info: SourceInfo) -> None:
        grown = followed.info is None or info.available > followed.info.available
        if grown and followed.readable <= 0:
            followed.seen = time.time()
        if followed.info is None or followed.info.mask != info.mask:
            followed.valid = self._reader.mask(info)
        if grown:
            followed.changed, followed.tries = time.monotonic(), 0
        followed.info = info
        followed.reason = ""
        if info.complete and followed.done >= info.available:
            self._end(followed)
        else:
            followed.status = "reading"
            if not grown:
                self._wait(followed, "")
            else:
                followed.next_look = time.monotonic() + BACK_OFF_S[0]

    def _wait(self, followed: _Followed, reason: str) -> None:
        """Look again later, or give a file up that has not changed for as long as patience lasts."""
        now = time.monotonic()
        followed.next_look = now + BACK_OFF_S[min(followed.tries, len(BACK_OFF_S) - 1)]
        followed.tries += 1
        followed.reason = reason
        if now - followed.changed < self._patience or followed.readable > 0:
            return
        if followed.info is None:
            followed.status = "unreadable"
            followed.reason = f"{reason} It has not changed for {self._patience:g} s."
        else:
            self._end(followed)

    def _end(self, followed: _Followed) -> None:
        """Say that a file is over: complete, or with frames that never came."""
        info = followed.info
        missing = info.frames - followed.done if info else 0
        followed.status = "complete" if missing <= 0 else "unreadable"
        followed.reason = "" if missing <= 0 else f"{missing} of its frames were never written or cannot be read."

    def _take_refusal(self) -> bool:
        try:
            path, reason = self._refusals.get_nowait()
        except queue.Empty:
            return False
        followed = self._files[path]
        if followed.status != "unreadable":
            followed.status, followed.reason = "unreadable", reason
            self._tell(followed)
        return True

    def _read_next(self) -> bool:
        """Read the next chunk of the oldest file that has one; false when there is none."""
        followed = next((f for f in self._files.values() if f.status == "reading" and f.readable > 0), None)
        if followed is None or followed.info is None:
            return False
        info = followed.info
        count = min(frames_in_chunk(info), followed.readable)
        try:
            frames = self._reader.read(info.path, info.dataset, followed.done, followed.done + count)
        except NotYetError as error:
            followed.info = replace(info, available=followed.done, complete=False)
            self._wait(followed, error.message)
            return True
        except SourceError as error:
            followed.status, followed.reason = "unreadable", error.message
            self._tell(followed)
            return True
        indices = tuple(range(followed.done, followed.done + count))
        self._put(Chunk(info, indices, frames, followed.valid, followed.seen))
        followed.done += count
        followed.changed = time.monotonic()
        if followed.readable <= 0 and info.complete:
            self._end(followed)
            self._tell(followed)
        return True

    def _read_again(self) -> bool:
        try:
            wanted = self.again.get_nowait()
        except queue.Empty:
            return False
        try:
            info = self._reader.inspect(wanted.path, wanted.dataset or None)
            frames = self._reader.read_indices(info.path, info.dataset, wanted.indices)
            self._put(Chunk(info, wanted.indices, frames, self._reader.mask(info), time.time(), again=True))
        except SourceError as error:
            self._put(Lost(wanted, error.message))
        return True

    def _tell(self, followed: _Followed) -> None:
        self._put(FileNews(followed.file, followed.status, followed.reason, followed.info))

    def _put(self, event: Event) -> None:
        self._idle.clear()
        while not self._closing.is_set():
            try:
                self.events.put(event, timeout=0.2)
                return
            except queue.Full:
                continue


def _is_not_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return True
    return False


def frames_in_chunk(info: SourceInfo) -> int:
    """How many frames of a file to read at once."""
    return max(1, min(CHUNK_FRAMES, CHUNK_BYTES // (info.shape[0] * info.shape[1] * np.dtype(info.dtype).itemsize)))
