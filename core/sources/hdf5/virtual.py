"""Virtual data sets: where each frame comes from, and whether that is there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import h5py
import numpy as np

from photon_triage.core.common.errors import MissingError
from photon_triage.core.sources.hdf5.axis_view import bounds_along
from photon_triage.core.sources.hdf5.links import OpenFiles

_MOST_BLOCKS = 100_000


@dataclass(frozen=True, slots=True)
class AxisSteps:
    """Positions along an axis: blocks of neighbours at a regular distance. blocks: -1 for no end."""

    start: int
    stride: int
    block: int
    blocks: int

    def at(self, number: int) -> int:
        """The position with this number."""
        return self.start + number // self.block * self.stride + number % self.block

    def before(self, limit: int) -> int:
        """Number of positions before a limit."""
        if limit <= self.start:
            return 0
        whole, rest = divmod(limit - self.start, self.stride)
        count = whole * self.block + min(rest, self.block)
        return count if self.blocks < 0 else min(count, self.blocks * self.block)

    def positions(self, length: int) -> np.ndarray:
        """All positions before `length`."""
        numbers = np.arange(self.before(length))
        return np.asarray(self.start + numbers // self.block * self.stride + numbers % self.block)


@dataclass(frozen=True, slots=True)
class Mapping:
    """Where some entries of the first axis of a virtual data set come from.

    places: the entries; pixels: elements of each that the mapping fills. source_places, source_pixels: the same of the
    source, in whose order HDF5 counts the elements through; source_places is None where the whole source is needed.
    source_pixels 0: all of the source, whose shape the file does not tell.
    """

    file_name: str
    dataset_name: str
    places: AxisSteps
    pixels: int
    source_places: AxisSteps | None = None
    source_pixels: int = 1

    def of_source(self, low: int, high: int) -> tuple[int, int] | None:
        """The entries of the source that the entries low .. high-1 come from, None for all of it."""
        if self.source_places is None:
            return None
        first, last = self.places.before(low) * self.pixels, self.places.before(high) * self.pixels
        return (
            self.source_places.at(first // self.source_pixels),
            self.source_places.at(max(first, last - 1) // self.source_pixels) + 1,
        )

    def known(self, source: Any) -> Mapping:
        """This mapping with what only its source tells."""
        return self if self.source_pixels else replace(self, source_pixels=max(1, prod(source.shape[1:])))

    def touches(self, low: int, high: int) -> bool:
        """Whether it fills something of the entries low .. high-1."""
        return self.places.before(high) > self.places.before(low)

    def reach(self, available: int, length: int, end: int) -> int:
        """The first entry that lacks something when a source of `length` entries has `available` ones; else `end`."""
        if self.source_places is None:
            number = self.places.before(end) if available and available == length else 0
        else:
            number = self.source_places.before(available) * self.source_pixels // max(1, self.pixels)
        return self.places.at(number) if number < self.places.before(end) else end


def sources(dataset: Any) -> list[Mapping]:
    """The mappings of a virtual data set along its first axis."""
    return [mapping for told in dataset.virtual_sources() for mapping in _mappings(told, int(dataset.shape[0]))]


def coverage(mappings: list[Mapping], length: int) -> np.ndarray:
    """Elements of each entry of the first axis that have a source, (length,) int64."""
    filled = np.zeros(length, np.int64)
    for mapping in mappings:
        filled[mapping.places.positions(length)] += mapping.pixels
    return filled


def whole_entries(dataset: Any, filled: np.ndarray) -> np.ndarray:
    """Entries of the first axis with a source for all that has one in any entry, (length,) bool.

    What has no source in any entry is a gap of the detector. Where the fill value is NaN, which no stage counts, an
    entry with some sources is whole too: EXtra-data writes so where a module did not record a train.
    """
    if not filled.size:
        return filled > 0
    return np.asarray(filled > 0) if marks_gaps(dataset) else np.asarray((filled == filled.max()) & (filled > 0))


def marks_gaps(dataset: Any) -> bool:
    """Whether what has no source reads as NaN."""
    return dataset.dtype.kind == "f" and bool(np.isnan(dataset.fillvalue))


def coverage_notes(dataset: Any, per_entry: int) -> tuple[str, ...]:
    """Notes on the entries of a data set that have no source for all their pixels: () where it is not virtual."""
    if not dataset.is_virtual:
        return ()
    length = int(dataset.shape[0])
    filled = coverage(sources(dataset), length)
    whole = whole_entries(dataset, filled)
    if not whole.any():
        return ()
    notes = []
    if lacking := int((~whole).sum()) * per_entry:
        notes.append(f"{_frames(lacking)} missing: the virtual data set has no source for all of their pixels")
    if partial := int((whole & (filled < filled.max())).sum()) * per_entry:
        notes.append(f"in {partial} frames a part has no source and is NaN")
    gaps = 100 * (1 - int(filled.max()) / max(1, prod(dataset.shape[1:])))
    if gaps > 0:
        notes.append(f"{gaps:.3g} % of the pixels have no source in any frame, and are gaps")
    return tuple(notes)


def _frames(count: int) -> str:
    return "1 frame is" if count == 1 else f"{count} frames are"


def available(
    files: OpenFiles, dataset: Any, entries: int, of_source: Callable[[Any], int], trouble: list[str], *, framed: bool
) -> int:
    """How many leading entries of a virtual data set have all their sources written.

    HDF5 gives the fill value for what a source lacks, so every source is opened here. of_source: available entries of
    a data set. trouble: takes the names of sources that are not there. framed: its first axis counts frames; else
    entries without a source are gaps.
    """
    limit = entries
    known: dict[tuple[str, str], tuple[Any, int] | None] = {}
    mappings = sources(dataset)
    for mapping in mappings:
        if mapping.places.start >= limit:
            continue
        key = (mapping.file_name, mapping.dataset_name)
        if key not in known:
            try:
                source = open_source(files, dataset, mapping)
            except MissingError:
                trouble.append(f"{mapping.file_name}:{mapping.dataset_name}")
                known[key] = None
            else:
                known[key] = source, of_source(source)
        found = known[key]
        if found is None:
            limit = min(limit, mapping.places.start)
        else:
            source, count = found
            limit = min(limit, mapping.known(source).reach(count, len(source) if source.ndim else 1, entries))
    if not framed:
        return limit
    whole = whole_entries(dataset, coverage(mappings, entries))
    return min(limit, entries if whole.all() else int(np.argmin(whole)))


def open_source(files: OpenFiles, dataset: Any, mapping: Mapping) -> Any:
    """The data set that a mapping names; MissingError if it is not there, SourceError if it lies outside the folder."""
    file_name, dataset_name = mapping.file_name, mapping.dataset_name
    inside = files.linked(file_name, dataset) if file_name != "." else dataset.file
    source = files.find(dataset_name, inside)
    if not isinstance(source, h5py.Dataset):
        raise MissingError(f"Reading {files.state.path}: {file_name} has no data set {dataset_name} yet.")
    return source


def _mappings(told: Any, length: int) -> Iterator[Mapping]:
    file_name, dataset_name = told.file_name, told.dset_name
    source = _steps(told.src_space)
    filled = list(_filled(told.vspace))
    if not (_counts(file_name) or _counts(dataset_name)):
        for places, pixels in filled:
            exact = source is not None and len(filled) == 1
            yield Mapping(file_name, dataset_name, places, pixels, *((source or ()) if exact else ()))
        return
    start, stride, _, block = (int(values[0]) for values in told.vspace.get_regular_hyperslab())
    pixels = filled[0][1]
    for number in range(min(-(-(length - start) // max(1, stride)), _MOST_BLOCKS)):
        places = AxisSteps(start + number * stride, max(1, block), max(1, block), 1)
        names = _numbered(file_name, number), _numbered(dataset_name, number)
        yield Mapping(*names, places, pixels, *(source or ()))


def _filled(space: Any) -> Iterator[tuple[AxisSteps, int]]:
    """(entries of the first axis, elements in each) that a selection is made of."""
    regular = _steps(space)
    if regular is not None:
        yield regular
    elif space.get_select_type() == h5py.h5s.SEL_HYPERSLABS and space.get_select_hyper_nblocks() <= _MOST_BLOCKS:
        for low, high in space.get_select_hyper_blocklist():
            sides = [int(last) - int(first) + 1 for first, last in zip(low, high, strict=True)]
            yield AxisSteps(int(low[0]), sides[0], sides[0], 1), prod(sides[1:])
    else:
        low, high = bounds_along(space, 0)
        yield AxisSteps(low, max(1, high - low), max(1, high - low), 1), 1


def _steps(space: Any) -> tuple[AxisSteps, int] | None:
    """The entries along the first axis of a regular selection, and its elements in each; None where it is none."""
    if space.get_select_type() == h5py.h5s.SEL_ALL:
        dims = [int(side) for side in space.get_simple_extent_dims() or ()]
        return (AxisSteps(0, 1, 1, dims[0]), prod(dims[1:])) if dims else (AxisSteps(0, 1, 1, -1), 0)
    if space.get_select_type() != h5py.h5s.SEL_HYPERSLABS or not space.is_regular_hyperslab():
        return None
    start, stride, count, block = ([int(value) for value in values] for values in space.get_regular_hyperslab())
    endless = int(h5py.h5s.UNLIMITED)
    pixels = prod(each * side for each, side in zip(count[1:], block[1:], strict=True))
    if block[0] in (endless, -1):
        return AxisSteps(start[0], 1, 1, -1), pixels
    blocks = -1 if count[0] in (endless, -1) else count[0]
    return AxisSteps(start[0], max(stride[0], block[0], 1), max(1, block[0]), blocks), pixels


def _counts(name: str) -> bool:
    """Whether a source's name stands for many: %b is the number of the block (H5Pset_virtual)."""
    return "%b" in name.replace("%%", "")


def _numbered(name: str, number: int) -> str:
    return name.replace("%b", str(number)).replace("%%", "%")
