"""Load: the first step after intake puts frames that go together into batches on the device."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from photon_triage.core.engine.events import Event, EventStream, FileMoved, FileReplaced, Frames, Purpose, load_of
from photon_triage.core.frames import Batch, FrameKey, Geometry
from photon_triage.core.sources.process.channel import Pin

log = logging.getLogger("photon_triage.engine")

BATCH_FRAMES = 128
BATCH_PIXELS = 20 * 512 * 1024
AHEAD = 2
"""Parcels that are loaded before the first of them is scored."""
WAIT_S = 0.05
BARRIERS = (FileMoved, FileReplaced)
"""Events that change what a path means: each is a parcel of its own."""


def pin_for(device: torch.device) -> Pin | None:
    """What pins the memory that frames land in for a device, None where it need not be pinned."""
    return _pin if device.type == "cuda" else None


@dataclass(frozen=True)
class LoadedBatch:
    """Frames of one shape, data type, geometry and purpose; batch is None where they could not be loaded together."""

    parts: tuple[Frames, ...]
    batch: Batch | None

    @property
    def purpose(self) -> Purpose:
        """Why the frames were read."""
        return self.parts[0].purpose

    def __len__(self) -> int:
        return sum(len(part.indices) for part in self.parts)


@dataclass(frozen=True)
class Parcel:
    """Events that travel together: those of files, in their order, and batches of frames of these files.

    The files' events are recorded before the frames, in one transaction. A change of names travels alone.
    count, load: events of the stream that it holds, and their weight there.
    """

    events: tuple[Event, ...]
    batches: tuple[LoadedBatch, ...]
    count: int
    load: int


class Loader(threading.Thread):
    """Takes events from a stream and puts parcels on `parcels`, in order, until closed.

    geometry: the recipe's, for what files do not say.
    """

    def __init__(self, events: EventStream, device: torch.device, geometry: Geometry) -> None:
        super().__init__(name="load", daemon=True)
        self.parcels: queue.Queue[Parcel] = queue.Queue(maxsize=AHEAD)
        self.failure: BaseException | None = None
        self._events, self._device, self._geometry = events, device, geometry
        self._closing = threading.Event()

    def close(self) -> None:
        """End; what was not handed over is read again by the next engine."""
        self._closing.set()

    def run(self) -> None:
        """Load; the thread's body."""
        try:
            while not self._closing.is_set():
                for events in _between_barriers(self._events.take(WAIT_S, BATCH_FRAMES)):
                    self._hand_over(self._parcel(events))
        except BaseException as error:
            self.failure = error
            raise

    def _hand_over(self, parcel: Parcel) -> None:
        while not self._closing.is_set():
            try:
                self.parcels.put(parcel, timeout=WAIT_S)
                return
            except queue.Full:
                continue

    def _parcel(self, events: Sequence[Event]) -> Parcel:
        frames = [event for event in events if isinstance(event, Frames)]
        others = tuple(event for event in events if not isinstance(event, Frames))
        batches = tuple(LoadedBatch(parts, self._load(parts)) for parts in _groups(frames))
        return Parcel(others, batches, len(events), sum(map(load_of, events)))

    def _load(self, parts: tuple[Frames, ...]) -> Batch | None:
        try:
            return load_batch(parts, self._device, self._geometry)
        except Exception as error:  # the frame that causes it is found when they are scored one by one
            log.info("%s and others could not be loaded together: %s", parts[0].info.path, error)
            return None


def load_batch(parts: Sequence[Frames], device: torch.device, geometry: Geometry) -> Batch:
    """Frames as one batch on a device; they share shape, data type, geometry, mask and window."""
    first = parts[0]
    keys = tuple(FrameKey(part.info.path, part.info.dataset, index) for part in parts for index in part.indices)
    raw = first.frames if len(parts) == 1 else np.concatenate([part.frames for part in parts])
    return Batch(
        keys,
        torch.from_numpy(raw).to(device, non_blocking=True),
        None if first.valid is None else torch.from_numpy(first.valid).to(device),
        first.info.geometry.over(geometry),
        window=first.window,
        whole=first.info.shape,
    )


def cut(parts: Sequence[Frames], start: int, stop: int) -> tuple[Frames, ...]:
    """The frames start .. stop-1 of some parts, counted over all of them."""
    chosen = []
    for part in parts:
        low, high = max(start, 0), min(stop, len(part.indices))
        if low < high:
            chosen.append(replace(part, indices=part.indices[low:high], frames=part.frames[low:high]))
        start, stop = start - len(part.indices), stop - len(part.indices)
    return tuple(chosen)


def _pin(address: int, size: int) -> Callable[[], object] | None:
    """Register memory with CUDA; copies are slower, and wait, where that is refused."""
    runtime: Any = torch.cuda.cudart()  # type: ignore[no-untyped-call]
    error = int(runtime.cudaHostRegister(address, size, 0))
    if error:
        log.warning("frames are copied to the GPU from memory that is not pinned (CUDA error %d)", error)
        return None
    return lambda: runtime.cudaHostUnregister(address)


def _between_barriers(events: Sequence[Event]) -> Iterator[Sequence[Event]]:
    """Runs of events whose frames may be recorded after their files' states, and changes of names by themselves.

    Frames of a file must not be recorded after another one has taken its place.
    """
    start = 0
    for index, event in enumerate(events):
        if isinstance(event, BARRIERS):
            if start < index:
                yield events[start:index]
            yield events[index : index + 1]
            start = index + 1
    if start < len(events):
        yield events[start:]


def _groups(frames: Sequence[Frames]) -> Iterator[tuple[Frames, ...]]:
    """Neighbours that can be one batch: many files of a frame each, say."""
    group: list[Frames] = []
    for part in frames:
        if group and not _go_together(group, part):
            yield tuple(group)
            group = []
        group.append(part)
    if group:
        yield tuple(group)


def _go_together(group: Sequence[Frames], other: Frames) -> bool:
    """Whether frames can join a batch: new ones of one shape, data type and geometry, without a mask in the file."""
    first, count = group[0], sum(len(part.indices) for part in group) + len(other.indices)
    return (
        first.purpose is Purpose.SCORE is other.purpose
        and first.valid is None
        and other.valid is None
        and first.frames.shape[1:] == other.frames.shape[1:]
        and (first.info.shape, first.window) == (other.info.shape, other.window)
        and first.frames.dtype == other.frames.dtype
        and first.info.geometry == other.info.geometry
        and count <= BATCH_FRAMES
        and count * other.frames[0].size <= BATCH_PIXELS
    )
