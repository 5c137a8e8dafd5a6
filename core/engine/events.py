"""What intake tells the engine's loop, and what it is asked for."""

from __future__ import annotations

import hashlib
import queue
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from photon_triage.core.frames import Window
from photon_triage.core.sources import SourceInfo, WatchedFile


@dataclass(frozen=True)
class FileNews:
    """What is known of a file now; info is None while nothing could be read from it."""

    file: WatchedFile
    status: str
    reason: str = ""
    info: SourceInfo | None = None


@dataclass(frozen=True)
class Moved:
    """A file that was known has another name."""

    old: str
    new: WatchedFile


@dataclass(frozen=True)
class Replaced:
    """Another file stands under a name that was known: what is recorded of the first one is of frames that are gone."""

    path: str


@dataclass(frozen=True)
class Chunk:
    """Frames of a file as they were stored, (n, height, width), with their indices.

    valid: (height, width) bool or None. first_seen: monotonic time at which the last of them was known to be there.
    late: newer frames were read before them. again: they have been scored before, by another model. shadow: they were
    read again for the shadow alone. window: what was read of the frames, None for all.
    """

    info: SourceInfo
    indices: tuple[int, ...]
    frames: NDArray[np.generic]
    valid: NDArray[np.bool_] | None
    first_seen: float
    late: bool = False
    again: bool = False
    shadow: bool = False
    window: Window | None = None


@dataclass(frozen=True)
class Wanted:
    """Frames to read again, to be scored, with `shadow` by the shadow alone.

    With `digest` they are to be digested: of hits only a window was read.
    """

    path: str
    dataset: str
    indices: tuple[int, ...]
    digest: bool = False
    shadow: bool = False


@dataclass(frozen=True)
class Lost:
    """Frames that were wanted again and cannot be read any more."""

    wanted: Wanted
    reason: str


@dataclass(frozen=True)
class Digests:
    """The digests of the frames that were wanted, in their order."""

    wanted: Wanted
    digests: tuple[str, ...]


Event = FileNews | Moved | Replaced | Chunk | Lost | Digests


def digest(frame: NDArray[np.generic]) -> str:
    """A digest of a frame's raw bytes, by which its labels find it again when the file has moved."""
    return hashlib.blake2b(np.ascontiguousarray(frame).data, digest_size=16).hexdigest()


LOAD_FRAMES, LOAD_BYTES = 60, 96 * 2**20


class Events(queue.Queue[Event]):
    """Events on their way to the engine's loop; full with so many frames or bytes, whichever comes first.

    It is short, for the newest frames wait behind all that are in it. frames: how many there are in it.
    """

    def __init__(self) -> None:
        super().__init__(maxsize=LOAD_FRAMES)
        self.frames = 0

    def _init(self, maxsize: int) -> None:
        self._events: deque[Event] = deque()
        self._load = 0

    def _qsize(self) -> int:
        return self._load

    def _put(self, item: Event) -> None:
        self._events.append(item)
        self._load += _load(item)
        self.frames += _new_frames(item)

    def _get(self) -> Event:
        item = self._events.popleft()
        self._load -= _load(item)
        self.frames -= _new_frames(item)
        return item


def _load(event: Event) -> int:
    """What an event adds, in frames."""
    if not isinstance(event, Chunk):
        return 1
    return max(len(event.indices), event.frames.nbytes * LOAD_FRAMES // LOAD_BYTES)


def _new_frames(event: Event) -> int:
    return len(event.indices) if isinstance(event, Chunk) and not event.again else 0
