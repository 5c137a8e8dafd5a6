"""Which frames of an HDF5 file are there: an unwritten frame reads as zeros, and a zero frame is not a miss."""

from __future__ import annotations

import math
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from photon_triage.core.sources import virtual
from photon_triage.core.sources.limits import ABANDONED, CHUNK_SETTLES, RECENT, SILENT, STABLE
from photon_triage.core.sources.links import OpenFiles
from photon_triage.core.sources.stack import FrameStack, frame_count, frames_per_chunk, stored_frames

_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class Written:
    """available: leading frames that are written. complete: nothing more is expected. The others: see SourceInfo."""

    available: int
    complete: bool
    missing: tuple[str, ...] = ()
    proven: bool = False


class Settling:
    """Since when each file has been seen to hold so many frames, for writers that are not in SWMR mode.

    Such a writer may allocate a chunk before it fills it; what was allocated a tenth of a second ago is filled.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._seen: OrderedDict[tuple[int, int, str], deque[tuple[float, int]]] = OrderedDict()

    def confirm(self, key: tuple[int, int, str], count: int) -> int:
        """How many of `count` frames may be read; a file that is new here is waited for, a known one never."""
        history = self._seen.setdefault(key, deque(maxlen=64))
        self._seen.move_to_end(key)
        while len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        new = not history
        now = self._clock()
        if history and history[-1][1] > count:
            history.clear()
        if not history or history[-1][1] < count:
            history.append((now, count))
        if new:
            self._sleep(CHUNK_SETTLES)
            now = self._clock()
        return max((seen for since, seen in history if now - since >= CHUNK_SETTLES), default=0)


def written(files: OpenFiles, stack: FrameStack, *, ended: bool, expected: int | None, settling: Settling) -> Written:
    """How far a stack has been written, and whether that is all.

    In the order of trust: the expected number of frames, all chunks allocated, an end marker of the file, no writer's
    flag and no change for a while, no change for very long.
    """
    age = min(state.age for state in files.states.values())
    marked = any(state.writing for state in files.states.values())
    quiet = ended or age >= ABANDONED or (age >= SILENT and not marked)
    trouble = list(stack.missing)
    available, proven = 0, True
    for dataset in stack.datasets:
        count, sure = _available(files, dataset, quiet, trouble)
        available += count
        proven = proven and sure
        if count < frame_count(dataset):
            break
    age = min(state.age for state in files.states.values())
    swmr = all(state.swmr for state in files.states.values())
    if not swmr and age < RECENT and proven and available:
        state = files.state
        available = settling.confirm((state.device, state.inode, stack.path), available)
    complete = _complete(stack, available, age, marked, ended, expected, proven, bool(trouble))
    return Written(available, complete, tuple(trouble), proven)


def _complete(
    stack: FrameStack,
    available: int,
    age: float,
    marked: bool,
    ended: bool,
    expected: int | None,
    proven: bool,
    missing: bool,
) -> bool:
    if age >= ABANDONED:
        return True
    if missing:
        return False
    everything = available == stack.frames
    if ended:
        return everything or age >= STABLE
    if expected is not None and proven:
        return everything and available >= expected
    if not everything:
        return False
    fixed = len(stack.datasets) == 1 and stack.datasets[0].maxshape == stack.datasets[0].shape
    return (fixed and proven) or (age >= STABLE and not marked)


def _available(files: OpenFiles, dataset: Any, quiet: bool, trouble: list[str], depth: int = 0) -> tuple[int, bool]:
    """Leading written frames of one data set, and whether the file proves it frame by frame."""
    frames = frame_count(dataset)
    if dataset.is_virtual:
        sure = True

        def of_source(source: Any) -> int:
            nonlocal sure
            if depth > 4:
                return 0
            count, proven = _available(files, source, quiet, trouble, depth + 1)
            sure = sure and proven
            return count

        return virtual.available(files, dataset, frames, of_source, trouble), sure
    if dataset.chunks:
        count = min(frames, _allocated(dataset))
        if dataset.id.get_create_plist().get_alloc_time() != h5py.h5d.ALLOC_TIME_EARLY:
            deep = frames_per_chunk(dataset)
            if deep == 1 or quiet:
                return count, deep == 1
            return max(0, (count - 1) // deep * deep), False
    else:
        count = stored_frames(dataset, files.states[dataset.file.filename].size)
    return (count if quiet else _without_blank_end(dataset, count)), False


def _allocated(dataset: Any) -> int:
    """How many leading frames have all their chunks in the file."""
    chunks: tuple[int, ...] = dataset.chunks
    shape: tuple[int, ...] = dataset.shape
    grid = [-(-side // step) for side, step in zip(shape, chunks, strict=True)]
    single = len(shape) == 2
    deep = 1 if single else chunks[0]
    if single:
        grid = [1, *grid]
    wanted = math.prod(grid[1:])
    found: Counter[int] = Counter()

    def note(chunk: Any) -> None:
        if chunk.size:
            found[0 if single else chunk.chunk_offset[0] // deep] += 1

    dataset.id.chunk_iter(note)
    for position in range(grid[0]):
        if found[position] < wanted:
            return position * deep
    return grid[0] * deep


def _without_blank_end(dataset: Any, count: int) -> int:
    """`count` without the frames at the end that hold nothing but the fill value, found by bisection.

    Frames are written in order: before a frame that holds something, all are written.
    """
    fill = dataset.fillvalue
    low, high = 0, count
    probe = count - 1
    while low < high:
        frame = dataset[probe] if dataset.ndim > 2 else dataset[()]
        if np.any(frame != fill):
            low = probe + 1
        else:
            high = probe
        probe = (low + high) // 2
    return low
