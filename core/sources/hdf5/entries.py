"""The entries of a data set along its axis of frames: whether they are in the file, and may be decoded."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np

from photon_triage.core.common.errors import ErrorKind, MissingError, SourceError
from photon_triage.core.sources.hdf5 import virtual
from photon_triage.core.sources.hdf5.chunks.filters import ChunkCheck, pipeline, require_decoders
from photon_triage.core.sources.hdf5.chunks.raw import ChunkTable
from photon_triage.core.sources.hdf5.links import OpenFiles

_DEEPEST = 4


class Entries:
    """Checks entries before HDF5 reads them: it gives the fill value for what is missing, and trusts damaged chunks."""

    def __init__(self, files: OpenFiles) -> None:
        self._files = files
        self._checks: dict[int, tuple[ChunkTable, ChunkCheck | None]] = {}
        self._mappings: dict[int, tuple[list[virtual.Mapping], np.ndarray]] = {}

    def require(
        self, dataset: Any, axis: int | None, low: int, high: int, depth: int = 0, *, table: ChunkTable | None = None
    ) -> None:
        """MissingError where one of the entries low .. high-1 along an axis is not written, SourceError if damaged.

        table: where its chunks lie, if they are not read through HDF5; else they are looked into.
        """
        if dataset.is_virtual:
            self._require_sources(dataset, axis, low, high, depth)
            return
        if not dataset.chunks:
            if axis is not None and stored_entries(dataset, axis, self._files.size_of(dataset)) < high:
                raise self._unwritten(dataset, high - 1)
            return
        table, check = (table, None) if table is not None else self._check(dataset)
        for offsets in chunk_offsets(dataset, axis, low, high):
            if table.find(offsets) is None:
                raise self._unwritten(dataset, offsets[axis or 0])
            if check is not None:
                problem = check.problem(*dataset.id.read_direct_chunk(offsets))
                if problem:
                    raise SourceError(
                        f"Reading {dataset.file.filename}: frame {offsets[axis or 0]} of {dataset.name} is damaged: "
                        f"{problem}.",
                        "The other frames can be read.",
                        kind=ErrorKind.DAMAGED,
                    )

    def _require_sources(self, dataset: Any, axis: int | None, low: int, high: int, depth: int) -> None:
        if depth > _DEEPEST:
            raise SourceError(
                f"Reading {self._files.state.path}: virtual data sets refer to each other in a circle.",
                kind=ErrorKind.DAMAGED,
            )
        mappings, whole = self._mapped(dataset)
        if axis != 0:
            low, high = 0, int(dataset.shape[0])
        for mapping in mappings:
            if not mapping.touches(low, high):
                continue
            source = virtual.open_source(self._files, dataset, mapping)
            entries = len(source) if source.ndim else 0
            source_low, source_high = mapping.known(source).of_source(low, high) or (0, entries)
            if source_high > entries:
                raise self._unwritten(source, source_high - 1)
            require_decoders(pipeline(source), self._files.state.path)
            self.require(source, 0, source_low, source_high, depth + 1)
        if axis == 0 and not whole[low:high].all():
            raise self._unwritten(dataset, low + int(np.argmin(whole[low:high])))

    def _mapped(self, dataset: Any) -> tuple[list[virtual.Mapping], np.ndarray]:
        """The mappings of a virtual data set, and which of its entries have all their sources mapped."""
        key = hash(dataset.id)
        if key not in self._mappings:
            mappings = virtual.sources(dataset)
            filled = virtual.coverage(mappings, int(dataset.shape[0]))
            self._mappings[key] = mappings, virtual.whole_entries(dataset, filled)
        return self._mappings[key]

    def _check(self, dataset: Any) -> tuple[ChunkTable, ChunkCheck | None]:
        key = hash(dataset.id)
        if key not in self._checks:
            check = ChunkCheck(pipeline(dataset), math.prod(dataset.chunks) * dataset.dtype.itemsize)
            self._checks[key] = ChunkTable(dataset), check if check.framed else None
        return self._checks[key]

    def _unwritten(self, dataset: Any, frame: int) -> MissingError:
        return MissingError(f"Reading {self._files.state.path}: frame {frame} of {dataset.name} is not written.")


def chunk_offsets(dataset: Any, axis: int | None, low: int, high: int) -> Iterator[tuple[int, ...]]:
    """The coordinates of the chunks that hold the entries low .. high-1 along an axis; all chunks for none."""
    ranges = []
    for place, (side, step) in enumerate(zip(dataset.shape, dataset.chunks, strict=True)):
        ranges.append(range(low // step * step, high, step) if place == axis else range(0, side, step))
    return itertools.product(*ranges)


def stored_entries(dataset: Any, axis: int, file_size: int) -> int:
    """How many leading entries along an axis of a data set without chunks lie within the file's bytes."""
    entries = int(dataset.shape[axis])
    if dataset.id.get_create_plist().get_layout() == h5py.h5d.COMPACT:
        return entries
    offset: int | None = dataset.id.get_offset()
    if offset is None:
        return 0
    if axis != 0:
        end = offset + int(dataset.size) * int(dataset.dtype.itemsize)
        return entries if end <= file_size else 0
    entry_bytes = math.prod(dataset.shape[1:]) * int(dataset.dtype.itemsize)
    return int(max(0, min(entries, (file_size - offset) // max(1, entry_bytes))))
