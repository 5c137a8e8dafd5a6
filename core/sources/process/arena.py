"""The memory that a worker puts frames into: which parts of it someone still looks at, and which may be used again."""

from __future__ import annotations

import mmap
import os
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

from photon_triage.core.sources.process.channel import SharedMemory

ARENA_BYTES = 256 * 2**20
"""Frames that are held beyond this are copied out."""

Pin = Callable[[int, int], Callable[[], object] | None]
"""Makes memory (address, bytes) fit for fast copies to a device; returns what undoes that, None where it cannot."""


class Arena:
    """Lends parts of the memory shared with a worker, each for as long as an array of it is alive.

    Memory that was given back is used again, the lowest first, so that few pages of it are ever touched. pin: called
    once for all of it. Not safe for threads, but for giving back.
    """

    def __init__(self, memory: SharedMemory, pin: Pin | None = None) -> None:
        self._memory = memory
        self._lent: dict[int, int] = {}
        self._given_back: deque[int] = deque()
        os.ftruncate(memory.descriptor, ARENA_BYTES)  # takes no memory before it is written to
        self._map = mmap.mmap(memory.descriptor, ARENA_BYTES)
        self._whole = np.frombuffer(self._map, np.uint8)
        if pin is not None and (undo := pin(self._whole.ctypes.data, self._whole.nbytes)) is not None:
            weakref.finalize(self._whole, undo).atexit = False

    def gaps(self) -> list[tuple[int, int]]:
        """Free ranges of bytes, lowest first; the last one is as good as unlimited."""
        while self._given_back:
            del self._lent[self._given_back.popleft()]
        free, end = [], 0
        for start, stop in sorted(self._lent.items()):
            if start > end:
                free.append((end, start))
            end = -(-stop // mmap.PAGESIZE) * mmap.PAGESIZE
        return [*free, (end, 2**62)]

    def lend(self, start: int, size: int, dtype: np.dtype[Any], shape: tuple[int, ...]) -> np.ndarray:
        """An array of the bytes from `start` on; they are free again when nobody holds it or a view of it.

        A copy, where they lie beyond ARENA_BYTES.
        """
        if start + size > ARENA_BYTES:
            return np.frombuffer(self._memory.view(size, start), dtype).reshape(shape).copy()
        memory = np.frombuffer(self._map, np.uint8, size, start)
        self._lent[start] = start + size
        weakref.finalize(memory, _give_back, self._given_back, start, self._whole).atexit = False
        return memory.view(dtype).reshape(shape)


def _give_back(given_back: deque[int], start: int, whole: np.ndarray) -> None:
    """Called from any thread, at any time; holds the whole memory until then, so that it stays pinned."""
    given_back.append(start)
