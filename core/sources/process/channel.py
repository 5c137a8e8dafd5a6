"""What a reader and its worker share besides their messages: the form of errors in them, and memory for pixels."""

from __future__ import annotations

import fcntl
import mmap
import os
import tempfile
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

from photon_triage.core.common.errors import ErrorKind, MissingError, NotYetError, SourceError
from photon_triage.core.sources.common.names import printable

_SEAL_SHRINK = 2  # F_SEAL_SHRINK of linux/fcntl.h
_CLASSES: dict[str, type[SourceError]] = {each.__name__: each for each in (SourceError, NotYetError, MissingError)}
_KINDS = {kind.value: kind for kind in ErrorKind}
_STEP = 16 * 2**20


def error_message(error: SourceError) -> dict[str, Any]:
    """An error as a message."""
    return {
        "error": printable(error.message),
        "hint": printable(error.hint),
        "class": type(error).__name__,
        "kind": error.kind,
    }


def error_of(message: dict[str, Any]) -> SourceError | None:
    """The error that a message carries, None where it carries none."""
    if "error" not in message:
        return None
    kind = _KINDS.get(str(message.get("kind")), ErrorKind.REFUSED)
    error_class = _CLASSES.get(str(message.get("class")), SourceError)
    return error_class(str(message["error"]), str(message.get("hint", "")), kind=kind)


def memory_file() -> int:
    """A descriptor of memory to share, which is gone with its last user, however that ends."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("photon-triage-frames", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEAL_SHRINK)
        return descriptor
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


class SharedMemory:
    """One side's view of the shared memory: it grows to what is asked for and never shrinks."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._map: mmap.mmap | None = None

    def view(self, size: int, start: int = 0) -> memoryview:
        """`size` bytes from `start` on."""
        stop = start + size
        if self._map is None or len(self._map) < stop:
            self.forget()
            wanted = -(-max(stop, 1) // _STEP) * _STEP
            if os.fstat(self.descriptor).st_size < wanted:
                os.ftruncate(self.descriptor, wanted)
            self._map = mmap.mmap(self.descriptor, wanted)
        return memoryview(self._map)[start:stop]

    def forget(self) -> None:
        """Unmap the memory, once nobody holds a view of it."""
        self._map = None

    def close(self) -> None:
        """Unmap the memory and close its descriptor."""
        self.forget()
        os.close(self.descriptor)


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
