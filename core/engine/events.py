"""The engine's event stream: what the tracker emits, and the requests that lead to it."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from photon_triage.core.frames import Window
from photon_triage.core.session.state import FileStatus
from photon_triage.core.sources import SourceInfo, WatchedFile

LOAD_FRAMES, LOAD_BYTES = 60, 96 * 2**20
"""Frames and bytes that are between readers and results at the least; the first is the unit of load."""
AHEAD_S, MOST_LOAD = 0.5, 480
"""Where more is recorded in this time than LOAD_FRAMES, so much may be on its way."""
MOST_EVENTS = 2000
"""Taken from the stream at once."""


@dataclass(frozen=True)
class FileSeen:
    """A file was found of which nothing is known yet."""

    file: WatchedFile


@dataclass(frozen=True)
class FileUpdate:
    """The state of a file; info is None while nothing could be read from it."""

    file: WatchedFile
    status: FileStatus
    reason: str = ""
    info: SourceInfo | None = None


@dataclass(frozen=True)
class FileMoved:
    """A file that was known has another name."""

    old: str
    new: WatchedFile


@dataclass(frozen=True)
class FileReplaced:
    """Another file has taken a known name: the recorded frames of the first one no longer exist."""

    path: str


class Purpose(Enum):
    """Why frames are read."""

    SCORE = "score"
    RESCORE = "rescore"
    """Another model has scored them before."""
    SHADOW = "shadow"
    """For the model in shadow mode alone."""
    VERIFY = "verify"
    """Their file has changed since they were recorded."""
    DIGEST = "digest"
    """Only a window was read of these hits, and a digest covers whole frames."""


@dataclass(frozen=True)
class FrameRequest:
    """Frames to read again."""

    path: str
    dataset: str
    indices: tuple[int, ...]
    purpose: Purpose


@dataclass(frozen=True)
class Frames:
    """Frames of a file as they were stored, (n, height, width), with their indices.

    valid: (height, width) bool or None. first_seen: monotonic time at which the last of them was known to be there.
    late: newer frames were read before them. window: the part that was read of each frame, None for all of it.
    """

    info: SourceInfo
    indices: tuple[int, ...]
    frames: NDArray[np.generic]
    valid: NDArray[np.bool_] | None
    first_seen: float
    late: bool = False
    window: Window | None = None
    purpose: Purpose = Purpose.SCORE


@dataclass(frozen=True)
class Digests:
    """The digests of requested frames, in the order of the request."""

    request: FrameRequest
    digests: tuple[str, ...]


@dataclass(frozen=True)
class RequestFailed:
    """Requested frames that cannot be read."""

    request: FrameRequest
    reason: str


@dataclass(frozen=True)
class Retried:
    """Files that were set aside are read again; count: how many."""

    count: int


Event = FileSeen | FileUpdate | FileMoved | FileReplaced | Frames | Digests | RequestFailed | Retried


def digest(frame: NDArray[np.generic]) -> str:
    """A digest of a frame's raw bytes, by which its labels find it again when the file has moved."""
    return hashlib.blake2b(np.ascontiguousarray(frame).data, digest_size=16).hexdigest()


class EventStream:
    """Events in the order in which the tracker emitted them; one thread emits, one takes.

    Emitting never waits: the tracker asks for `has_room` before it has frames read. All frames that are not recorded
    yet count, for the newest ones wait behind them: with slow stages they are few. on_room: called when there are less.
    """

    def __init__(self, on_room: Callable[[], None] = lambda: None) -> None:
        self._events: deque[Event] = deque()
        self._changed = threading.Condition()
        self._on_room = on_room
        self._load = 0
        self._new_frames = 0
        self._unfinished = 0
        self._recorded: deque[tuple[float, int]] = deque()

    @property
    def has_room(self) -> bool:
        """Whether more frames may be read."""
        since = time.monotonic() - AHEAD_S
        recorded = sum(load for when, load in list(self._recorded) if when >= since)
        return self._load < min(max(LOAD_FRAMES, recorded), MOST_LOAD)

    @property
    def frames(self) -> int:
        """New frames in the stream."""
        return self._new_frames

    @property
    def unfinished(self) -> int:
        """Events that were emitted and are not dealt with to the end."""
        return self._unfinished

    def emit(self, events: Iterable[Event]) -> None:
        """Append events."""
        with self._changed:
            for event in events:
                self._events.append(event)
                self._unfinished += 1
                self._load += load_of(event)
                self._new_frames += _new_frames(event)
            self._changed.notify()

    def take(self, timeout: float, most_load: int = LOAD_FRAMES) -> list[Event]:
        """The next events, as many as have `most_load` frames or bytes, at least one; [] after the timeout."""
        deadline = time.monotonic() + timeout
        taken: list[Event] = []
        with self._changed:
            while not self._events:
                left = deadline - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    return []
            load = 0
            while self._events and len(taken) < MOST_EVENTS:
                weight = load_of(self._events[0])
                if taken and load + weight > most_load:
                    break
                event = self._events.popleft()
                load += weight
                self._new_frames -= _new_frames(event)
                taken.append(event)
        return taken

    def done(self, count: int, load: int) -> None:
        """Count events, and their load, that have been dealt with to the end."""
        now = time.monotonic()
        with self._changed:
            self._unfinished -= count
            self._load -= load
            if load:
                self._recorded.append((now, load))
            while self._recorded and self._recorded[0][0] < now - AHEAD_S:
                self._recorded.popleft()
        self._on_room()


def load_of(event: Event) -> int:
    """The weight of an event, in frames."""
    if not isinstance(event, Frames):
        return 0
    return max(len(event.indices), event.frames.nbytes * LOAD_FRAMES // LOAD_BYTES)


def _new_frames(event: Event) -> int:
    return len(event.indices) if isinstance(event, Frames) and event.purpose is Purpose.SCORE else 0
