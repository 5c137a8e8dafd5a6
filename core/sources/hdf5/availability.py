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

from photon_triage.core.sources.common.file_probe import (
    ABANDONED,
    CHUNK_SETTLES,
    RECENT,
    SILENT,
    STABLE,
    without_blank_end,
)
from photon_triage.core.sources.hdf5 import virtual
from photon_triage.core.sources.hdf5.entries import stored_entries
from photon_triage.core.sources.hdf5.links import OpenFiles
from photon_triage.core.sources.hdf5.stack import FrameStack, StackPart

_REMEMBERED = 10_000
_DEEPEST = 4


@dataclass(frozen=True, slots=True)
class Availability:
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


def written(
    files: OpenFiles, stack: FrameStack, *, ended: bool, expected: int | None, settling: Settling
) -> Availability:
    """How far a stack has been written, and whether that is all.

    In the order of trust: the expected number of frames, all chunks allocated, an end marker of the file, no writer's
    flag and no change for a while, no change for very long.
    """
    age = min(state.age for state in files.states.values())
    marked = any(state.writing for state in files.states.values())
    quiet = ended or age >= ABANDONED or (age >= SILENT and not marked)
    trouble = list(stack.missing)
    available, proven = _of_stack(files, stack, quiet, trouble)
    age = min(state.age for state in files.states.values())
    swmr = all(state.swmr for state in files.states.values())
    if not swmr and age < RECENT and proven and available:
        state = files.state
        available = settling.confirm((state.device, state.inode, stack.path), available)
    complete = _complete(stack, available, age, marked, ended, expected, proven, bool(trouble))
    return Availability(available, complete, tuple(trouble), proven)


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
    leader = stack.leader.dataset
    fixed = len(stack.lengths) == 1 and leader.maxshape == leader.shape
    return (fixed and proven) or (age >= STABLE and not marked)


def _of_stack(files: OpenFiles, stack: FrameStack, quiet: bool, trouble: list[str]) -> tuple[int, bool]:
    """Leading written frames of a stack, and whether the file proves it frame by frame."""
    available, proven = 0, True
    if stack.is_tagged:  # a data set a frame, thousands of them: those at the end tell
        available = stack.frames
        for number in reversed(range(len(stack.lengths))):
            count, proven = _of_part(files, stack.part(number), quiet, trouble)
            available += count - stack.lengths[number]
            if count:
                break
        return available, proven
    for number, length in enumerate(stack.lengths):
        count, sure = _of_part(files, stack.part(number), quiet, trouble)
        available += count
        proven = proven and sure
        if count < length:
            break
    return available, proven


def _of_part(files: OpenFiles, part: StackPart, quiet: bool, trouble: list[str]) -> tuple[int, bool]:
    entries, sure = _entries(files, part.dataset, part.view.axis, quiet, trouble)
    return part.frames_within(min(part.view.count, entries * part.view.per_entry)), sure


def _entries(
    files: OpenFiles, dataset: Any, axis: int | None, quiet: bool, trouble: list[str], depth: int = 0
) -> tuple[int, bool]:
    """Leading written entries along an axis (without one: 1 if the data set is written, else 0), and whether proven."""
    length = 1 if axis is None else int(dataset.shape[axis])
    if dataset.is_virtual:
        return _virtual_entries(files, dataset, axis, length, quiet, trouble, depth)
    if dataset.chunks:
        count = min(length, _allocated(dataset, axis))
        if dataset.id.get_create_plist().get_alloc_time() != h5py.h5d.ALLOC_TIME_EARLY:
            deep = 1 if axis is None else int(dataset.chunks[axis])
            if deep == 1 or quiet:
                return count, deep == 1
            return max(0, (count - 1) // deep * deep), False
    else:
        stored = stored_entries(dataset, axis or 0, files.size_of(dataset))
        count = stored if axis is not None else int(stored == dataset.shape[0])
    return (count if quiet else without_blank_end(count, _blankness(dataset, axis))), False


def _virtual_entries(
    files: OpenFiles, dataset: Any, axis: int | None, length: int, quiet: bool, trouble: list[str], depth: int
) -> tuple[int, bool]:
    sure = True

    def of_source(source: Any) -> int:
        nonlocal sure
        if depth > _DEEPEST:
            return 0
        single = source.ndim < 3
        count, proven = _entries(files, source, None if single else 0, quiet, trouble, depth + 1)
        sure = sure and proven
        return count * len(source) if single else count

    whole = int(dataset.shape[0])
    count = virtual.available(files, dataset, whole, of_source, trouble, framed=axis == 0)
    return (count if axis == 0 else length if count == whole else 0), sure


def _allocated(dataset: Any, axis: int | None) -> int:
    """How many leading entries along an axis have all their chunks in the file; without one: 1 if all have."""
    grid = [-(-side // step) for side, step in zip(dataset.shape, dataset.chunks, strict=True)]
    deep = 1 if axis is None else int(dataset.chunks[axis])
    steps = 1 if axis is None else grid[axis]
    wanted = math.prod(grid) // max(1, steps)
    found: Counter[int] = Counter()

    def note(chunk: Any) -> None:
        if chunk.size:
            found[0 if axis is None else chunk.chunk_offset[axis] // deep] += 1

    dataset.id.chunk_iter(note)
    for position in range(steps):
        if found[position] < wanted:
            return position * deep
    return steps * deep


def _blankness(dataset: Any, axis: int | None) -> Callable[[int], bool]:
    """Whether an entry along an axis holds nothing but the fill value."""
    fill = dataset.fillvalue

    def is_blank(entry: int) -> bool:
        place = () if axis is None else (*(slice(None),) * axis, entry)
        return not np.any(dataset[place] != fill)

    return is_blank
