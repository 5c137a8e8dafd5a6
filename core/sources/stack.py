"""The frames of an HDF5 file as one stack, whatever data sets they are kept in."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np

from photon_triage.core.errors import MissingError, NotYetError, SourceError
from photon_triage.core.sources import virtual
from photon_triage.core.sources.filters import ChunkCheck, Filter, pipeline, require_decoders
from photon_triage.core.sources.layouts import is_images, numbered_members
from photon_triage.core.sources.limits import require_size
from photon_triage.core.sources.links import OpenFiles


class FrameStack:
    """The frames at a path: a data set, or a group's data_000001, data_000002 ... one after the other.

    frames: the stack's length. shape: (height, width); modules of a four-dimensional data set stand below each other.
    dtype: native byte order. missing: linked files that are not there (frames after the first are not counted).
    """

    def __init__(self, files: OpenFiles, path: str) -> None:
        self.files = files
        self.path = path
        self.missing: list[str] = []
        self.datasets = self._members()
        for dataset in self.datasets:
            self._require_frames(dataset)
        leader = self.datasets[0]
        self.shape = frame_shape(leader)
        self.dtype: np.dtype[Any] = np.dtype(leader.dtype).newbyteorder("=")
        self.lengths = [frame_count(dataset) for dataset in self.datasets]
        self.frames = sum(self.lengths)
        self._checks: dict[int, tuple[tuple[Filter, ...], ChunkCheck | None]] = {}
        for dataset in self.datasets[1:]:
            if frame_shape(dataset) != self.shape or np.dtype(dataset.dtype).newbyteorder("=") != self.dtype:
                raise SourceError(
                    f"Reading {files.state.path}: {dataset.name} has frames {frame_shape(dataset)} of {dataset.dtype}, "
                    f"expected {self.shape} of {self.dtype} as in {leader.name}."
                )

    def _members(self) -> list[Any]:
        node = self.files.find(self.path)
        if node is None:
            raise KeyError(f"the data set {self.path} doesn't exist")
        if not isinstance(node, h5py.Group):
            return [node]
        found: list[Any] = []
        for name in numbered_members(node):
            try:
                member = self.files.find(name, node)
            except NotYetError as error:
                if not found:
                    raise
                self.missing.append(error.message)
                break
            if member is None:
                self.missing.append(name)
                break
            found.append(member)
        if not found:
            raise KeyError(f"the group {self.path} holds no data set: object data_000001 doesn't exist")
        return found

    def _require_frames(self, dataset: Any) -> None:
        path = self.files.state.path
        if dataset.id.get_create_plist().get_external_count():
            raise SourceError(f"Reading {path}: {self.path} keeps its bytes in other files (external storage).")
        if not is_images(dataset):
            raise SourceError(
                f"Reading {path}: {self.path} is no stack of images (shape {dataset.shape}, dtype {dataset.dtype}).",
                "Name a numeric data set of two to four axes.",
            )
        require_size("one frame", frame_shape(dataset), dataset.dtype.itemsize, path)
        if dataset.chunks:
            require_size("one chunk", dataset.chunks, dataset.dtype.itemsize, path)
            require_decoders(pipeline(dataset), path)

    @property
    def filters(self) -> tuple[Filter, ...]:
        """The filters of the first data set that holds pixels: a virtual one is looked through."""
        leader = self.datasets[0]
        if leader.is_virtual:
            for mapping in virtual.sources(leader):
                try:
                    return pipeline(virtual.open_source(self.files, leader, mapping))
                except SourceError:
                    continue
        return pipeline(leader)

    def read(self, start: int, stop: int, out: np.ndarray) -> None:
        """Frames start .. stop-1 into `out`, (n, height, width) C-contiguous, native byte order.

        Raises NotYetError where one of them is not written, SourceError where a chunk is damaged.
        """
        if stop > self.frames:
            raise NotYetError(
                f"Reading {self.files.state.path}: frame {stop - 1} of {self.path} was asked for, it has {self.frames}."
            )
        for dataset, offset, low, high in self._parts(start, stop):
            self._require_written(dataset, low, high)
            part = out[low + offset - start : high + offset - start]
            if dataset.ndim == 2:
                dataset.read_direct(part.reshape(dataset.shape))
            else:
                dataset.read_direct(part.reshape(high - low, *dataset.shape[1:]), np.s_[low:high])

    def present(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Of the frames start .. stop-1 those that are in the file, as ranges; a damaged one is."""
        try:
            for dataset, _, low, high in self._parts(start, min(stop, self.frames)):
                self._require_written(dataset, low, high)
        except SourceError as error:
            if stop - start == 1:
                return [] if isinstance(error, NotYetError) else [(start, stop)]
            middle = (start + stop) // 2
            return self.present(start, middle) + self.present(middle, stop)
        return [(start, min(stop, self.frames))] if start < self.frames else []

    def _parts(self, start: int, stop: int) -> Iterator[tuple[Any, int, int, int]]:
        """(data set, frames before it, first, one past the last in it) of each data set with frames start .. stop-1."""
        offset = 0
        for dataset, length in zip(self.datasets, self.lengths, strict=True):
            low, high = max(start, offset) - offset, min(stop, offset + length) - offset
            if low < high:
                yield dataset, offset, low, high
            offset += length

    def _require_written(self, dataset: Any, low: int, high: int, depth: int = 0) -> None:
        if dataset.is_virtual:
            self._require_sources(dataset, low, high, depth)
            return
        if not dataset.chunks:
            if dataset.ndim > 2 and stored_frames(dataset, self.files.states[dataset.file.filename].size) < high:
                raise self._unwritten(dataset, high - 1)
            return
        check = self._check(dataset)
        for offsets in chunk_offsets(dataset, low, high):
            found = dataset.id.get_chunk_info_by_coord(offsets)
            if found.byte_offset is None or not found.size:
                raise self._unwritten(dataset, offsets[0])
            if check is not None:
                problem = check.problem(*dataset.id.read_direct_chunk(offsets))
                if problem:
                    raise SourceError(
                        f"Reading {dataset.file.filename}: frame {offsets[0]} of {dataset.name} is damaged: {problem}.",
                        "The other frames can be read.",
                    )

    def _require_sources(self, dataset: Any, low: int, high: int, depth: int) -> None:
        if depth > 4:
            raise SourceError(f"Reading {self.files.state.path}: virtual data sets refer to each other in a circle.")
        covered = np.zeros(high - low, bool)
        for mapping in virtual.sources(dataset):
            first, last = max(low, mapping.start), high if mapping.stop < 0 else min(high, mapping.stop)
            if first >= last:
                continue
            source = virtual.open_source(self.files, dataset, mapping)
            source_low, source_high = 0, frame_count(source)
            if mapping.source_start is not None:
                shift = mapping.source_start - mapping.start
                source_low, source_high = first + shift, last + shift
            if source_high > frame_count(source):
                raise self._unwritten(source, source_high - 1)
            require_decoders(pipeline(source), self.files.state.path)
            self._require_written(source, source_low, source_high, depth + 1)
            covered[first - low : last - low] = True
        if not covered.all():
            raise self._unwritten(dataset, low + int(np.argmin(covered)))

    def _check(self, dataset: Any) -> ChunkCheck | None:
        key = hash(dataset.id)
        if key not in self._checks:
            filters = pipeline(dataset)
            check = ChunkCheck(filters, math.prod(dataset.chunks) * dataset.dtype.itemsize)
            self._checks[key] = (filters, check if check.framed else None)
        return self._checks[key][1]

    def _unwritten(self, dataset: Any, frame: int) -> MissingError:
        return MissingError(f"Reading {self.files.state.path}: frame {frame} of {dataset.name} is not written.")


def frame_shape(dataset: Any) -> tuple[int, int]:
    """(height, width) of the frames of a data set, modules stacked vertically."""
    shape = dataset.shape
    return (shape[1] * shape[2], shape[3]) if len(shape) == 4 else (shape[-2], shape[-1])


def frame_count(dataset: Any) -> int:
    """How many frames a data set has: a two-dimensional one is one frame."""
    return 1 if dataset.ndim == 2 else int(dataset.shape[0])


def frames_per_chunk(dataset: Any) -> int:
    """How many frames share a chunk."""
    return int(dataset.chunks[0]) if dataset.ndim > 2 else 1


def chunk_offsets(dataset: Any, low: int, high: int) -> Iterator[tuple[int, ...]]:
    """The coordinates of the chunks that hold frames low .. high-1."""
    chunks, shape = dataset.chunks, dataset.shape
    if dataset.ndim == 2:
        return itertools.product(*(range(0, side, step) for side, step in zip(shape, chunks, strict=True)))
    deep = range(low // chunks[0] * chunks[0], high, chunks[0])
    return itertools.product(deep, *(range(0, side, step) for side, step in zip(shape[1:], chunks[1:], strict=True)))


def stored_frames(dataset: Any, file_size: int) -> int:
    """How many leading frames of a data set without chunks lie within the file's bytes."""
    layout = dataset.id.get_create_plist().get_layout()
    if layout == h5py.h5d.COMPACT:
        return frame_count(dataset)
    offset: int | None = dataset.id.get_offset()
    if offset is None:
        return 0
    frame_bytes = math.prod(frame_shape(dataset)) * int(dataset.dtype.itemsize)
    return max(0, min(frame_count(dataset), (file_size - offset) // max(1, frame_bytes)))
