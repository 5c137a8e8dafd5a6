"""Reading past HDF5: the bytes of chunks by their place in the file, in several threads.

HDF5 lets one thread read and decompress at a time. Where a data set's chunks lie as they are, and its filters are
known, their bytes are read from the file's descriptor and decoded in threads; whatever is out of the ordinary (a user
block, another file driver, numbers of odd widths, other filters, small chunks) is read through HDF5.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import cache
from typing import Any

import h5py
import numpy as np

from photon_triage.core.common.errors import ErrorKind, MissingError, SourceError
from photon_triage.core.sources.common.file_probe import CutShortError
from photon_triage.core.sources.hdf5.axis_view import Selection, read_part
from photon_triage.core.sources.hdf5.chunks.decoding import DamagedError, Decoder, LeftToHdf5Error, scratch
from photon_triage.core.sources.hdf5.chunks.filters import pipeline

ASKED_SINGLY = 4
MOST_LISTED = 500_000

LEAST_BYTES = 2**15
"""Chunks of fewer bytes are decoded before a thread has been given one."""

MOST_THREADS = 4
_LONGEST, _ROOM = 8, 2**16
"""How much longer than its pixels a chunk may be: blocks of a few bytes with a length before each."""


@dataclass(frozen=True, slots=True)
class StoredChunk:
    """A chunk's filters that were not used, as bits, and its place and length in the file, in bytes."""

    mask: int
    offset: int
    length: int


class ChunkTable:
    """The chunks of a data set that is open, by the coordinates of their first element.

    HDF5 goes through all chunks to find one, so after a few questions they are listed, once.
    """

    def __init__(self, dataset: Any) -> None:
        self._id = dataset.id
        self._asked = 0
        self._listed: dict[tuple[int, ...], StoredChunk] | None = None

    def find(self, corner: tuple[int, ...]) -> StoredChunk | None:
        """A chunk, None where it is not in the file."""
        if self._listed is None:
            self._asked += 1
            if self._asked <= ASKED_SINGLY or self._id.get_num_chunks() > MOST_LISTED:
                found = self._id.get_chunk_info_by_coord(corner)
                return StoredChunk(found.filter_mask, found.byte_offset, found.size) if _is_stored(found) else None
            listed: dict[tuple[int, ...], StoredChunk] = {}

            def note(chunk: Any) -> None:
                if _is_stored(chunk):
                    listed[chunk.chunk_offset] = StoredChunk(chunk.filter_mask, chunk.byte_offset, chunk.size)

            self._id.chunk_iter(note)
            self._listed = listed
        return self._listed.get(corner)


def _is_stored(chunk: Any) -> bool:
    return chunk.byte_offset is not None and bool(chunk.size)


@dataclass(frozen=True, slots=True)
class _Chunk:
    """A chunk in the file: where it lies in the data set, filters that it did without, place and length in bytes."""

    corner: tuple[int, ...]
    shape: tuple[int, ...]
    mask: int
    offset: int
    length: int


class RawChunks:
    """The chunks of a data set that HDF5 is not needed for; a contiguous data set counts as chunks of whole entries."""

    def __init__(self, dataset: Any, axis: int, shape: tuple[int, ...], decoder: Decoder) -> None:
        self._dataset, self._axis, self._shape, self._decoder = dataset, axis, shape, decoder
        self._file = int(dataset.file.id.get_vfd_handle())
        self._dtype = np.dtype(dataset.dtype)
        self.table = ChunkTable(dataset)
        self._contiguous = None if dataset.chunks else int(dataset.id.get_offset())

    @staticmethod
    def of(dataset: Any, axis: int | None) -> RawChunks | None:
        """The chunks of a data set with frames along an axis, None where it is to be read through HDF5."""
        dtype, file = np.dtype(dataset.dtype), dataset.file
        if dataset.is_virtual or file.userblock_size or not _is_plain(dataset):
            return None
        if file.id.get_access_plist().get_driver() != h5py.h5fd.SEC2:
            return None
        if dataset.chunks:
            shape, filters = tuple(map(int, dataset.chunks)), pipeline(dataset)
            if not Decoder.knows(filters, dtype.itemsize):
                return None
        else:
            if dataset.id.get_create_plist().get_layout() != h5py.h5d.CONTIGUOUS or dataset.id.get_offset() is None:
                return None
            shape, filters = (1, *dataset.shape[1:]), ()
        size = math.prod(shape) * dtype.itemsize
        if size < LEAST_BYTES:
            return None
        return RawChunks(dataset, axis or 0, shape, Decoder(filters, size, dtype.itemsize))

    @property
    def cuts(self) -> bool:
        """Whether reading a part of the frames saves the work for the rest."""
        return self._decoder.has_parts or any(
            step < side for step, side in zip(self._shape[1:], self._dataset.shape[1:], strict=True)
        )

    def read(self, part: Selection, place: np.ndarray) -> None:
        """A part of the data set into an array with the same axes; its chunks must all be in the file.

        Raises SourceError where one is damaged, and like h5py where it cannot be read.
        """
        jobs = [self._job(chunk, part, place) for chunk in self._chunks(part)]
        for left in _in_threads(jobs):
            read_part(self._dataset, *left)

    def _chunks(self, part: Selection) -> Iterator[_Chunk]:
        """The chunks that a part touches."""
        if self._contiguous is not None:
            yield from self._entries(part, self._contiguous)
            return
        ranges = [range(r.start // step * step, r.stop, step) for r, step in zip(part, self._shape, strict=True)]
        for corner in itertools.product(*ranges):
            told = self.table.find(corner)
            if told is None:
                raise MissingError(
                    f"Reading {self._dataset.file.filename}: a chunk of {self._dataset.name} is not there."
                )
            yield _Chunk(corner, self._shape, told.mask, told.offset, told.length)

    def _entries(self, part: Selection, offset: int) -> Iterator[_Chunk]:
        """Whole entries together, as many as threads make good use of; parts of entries one by one."""
        first, *others = part
        rest = self._shape[1:]
        whole = all((r.start, r.stop) == (0, side) for r, side in zip(others, rest, strict=True))
        count = -(-(first.stop - first.start) // thread_count()) if whole else 1
        size = math.prod(rest) * self._dtype.itemsize
        for start in range(first.start, first.stop, count):
            corner = (start, *(0 for _ in rest))
            yield _Chunk(corner, (count, *rest), 0, offset + start * size, count * size)

    def _job(self, chunk: _Chunk, part: Selection, place: np.ndarray) -> _Job:
        inside = [
            slice(max(r.start, low), min(r.stop, low + step))
            for r, low, step in zip(part, chunk.corner, chunk.shape, strict=True)
        ]
        there = tuple(slice(i.start - r.start, i.stop - r.start) for i, r in zip(inside, part, strict=True))
        box = [slice(i.start - low, i.stop - low) for i, low in zip(inside, chunk.corner, strict=True)]
        target, absolute = place[there], tuple(inside)

        def job() -> tuple[Selection, np.ndarray] | None:
            try:
                self._fetch(chunk, box, target)
            except LeftToHdf5Error:
                return absolute, target
            except DamagedError as error:
                frame, name = absolute[self._axis].start, self._dataset.name
                raise SourceError(
                    f"Reading {self._dataset.file.filename}: frame {frame} of {name} is damaged: {error}.",
                    "The other frames can be read.",
                    kind=ErrorKind.DAMAGED,
                ) from error
            return None

        return job

    def _fetch(self, chunk: _Chunk, box: list[slice], target: np.ndarray) -> None:
        """The box of a chunk into `target`, of the box's shape."""
        low, high, shape, inner = self._slab(chunk.shape, box)
        direct = _bytes_of(target) if target.dtype == self._dtype and target.nbytes == high - low else None
        if self._decoder.stored_plainly:
            if chunk.length < high:
                raise DamagedError(f"its chunk has {chunk.length} bytes where {high} are expected")
            data: Any = direct if direct is not None else scratch("plain", high - low)
            self._pread(data, chunk.offset + low)
        else:
            if chunk.length > _LONGEST * self._decoder.chunk_bytes + _ROOM:
                raise DamagedError(f"its chunk has {chunk.length} bytes for {self._decoder.chunk_bytes}")
            raw = scratch("raw", chunk.length)
            self._pread(raw, chunk.offset)
            data = self._decoder.decode(chunk.mask, raw, low, high, direct)
        if direct is None:
            target[...] = np.frombuffer(data, self._dtype).reshape(shape)[inner]

    def _slab(self, chunk: tuple[int, ...], box: list[slice]) -> tuple[int, int, tuple[int, ...], tuple[slice, ...]]:
        """The run of a chunk's bytes that holds a box: first, one past the last, its shape, and the box in it."""
        axis = next((a for a, side in enumerate(chunk) if side > 1), len(chunk) - 1)
        row = math.prod(chunk[axis + 1 :]) * self._dtype.itemsize
        rows = box[axis].stop - box[axis].start
        shape = (*chunk[:axis], rows, *chunk[axis + 1 :])
        inner = (*box[:axis], slice(0, rows), *box[axis + 1 :])
        return box[axis].start * row, box[axis].stop * row, shape, inner

    def _pread(self, into: memoryview, offset: int) -> None:
        done = 0
        while done < len(into):
            count = os.preadv(self._file, [into[done:]], offset + done)
            if not count:
                raise CutShortError(f"truncated file, a chunk at byte {offset} ends behind it")
            done += count


_Job = Callable[[], tuple[Selection, np.ndarray] | None]
"""Reads a chunk; what it returns is left to HDF5."""


def _in_threads(jobs: list[_Job]) -> list[tuple[Selection, np.ndarray]]:
    """Do jobs in this thread and in others, which take one after the other; returns what is left to HDF5."""
    left: list[tuple[Selection, np.ndarray]] = []
    waiting = iter(jobs)

    def work() -> None:
        for job in waiting:
            if (undone := job()) is not None:
                left.append(undone)

    others = [_threads().submit(work) for _ in range(min(thread_count(), len(jobs)) - 1)]
    try:
        work()
    finally:
        wait(others)  # also where a job fails: they write to the caller's memory
    for other in others:
        other.result()
    return left


def thread_count() -> int:
    """How many threads read and decode chunks."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(2, min(MOST_THREADS, cores // 2))


def _is_plain(dataset: Any) -> bool:
    """Whether numbers lie in the file as they do in memory: all bits used, IEEE floats."""
    return bool(h5py.h5t.py_create(dataset.dtype) == dataset.id.get_type())


def _bytes_of(target: np.ndarray) -> memoryview | None:
    """The memory of a contiguous array."""
    return target.reshape(-1).view(np.uint8).data if target.flags.c_contiguous else None


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(thread_count() - 1, "chunks")
