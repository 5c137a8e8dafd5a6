"""Virtual data sets: where each frame comes from, and whether that is there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import h5py

from photon_triage.core.errors import MissingError
from photon_triage.core.sources.links import OpenFiles

_MOST_BLOCKS = 100_000


@dataclass(frozen=True, slots=True)
class Mapping:
    """Where the entries start .. stop-1 of the first axis (-1: without an end) come from.

    source_start: the entry of the source that is entry `start`; None where the source's first axis counts something
    else, such as modules, and the whole source is needed. per_source: entries that one of the source becomes, as when
    trains of several memory cells become frames.
    """

    start: int
    stop: int
    source_start: int | None
    file_name: str
    dataset_name: str
    per_source: int = 1

    def of_source(self, low: int, high: int) -> tuple[int, int] | None:
        """The entries of the source that the entries low .. high-1 come from, None for all of it."""
        if self.source_start is None:
            return None
        first, last = (low - self.start) // self.per_source, -(-(high - self.start) // self.per_source)
        return self.source_start + first, self.source_start + last


def sources(dataset: Any) -> list[Mapping]:
    """The mappings of a virtual data set along its first axis."""
    return [mapping for told in dataset.virtual_sources() for mapping in _mappings(told, int(dataset.shape[0]))]


def is_put_together_along(dataset: Any, axis: int) -> bool:
    """Whether a virtual data set has its elements along an axis from different places."""
    length = int(dataset.shape[axis])
    return any(high - low < length for low, high in (_along(m.vspace, axis) for m in dataset.virtual_sources()) if high)


def available(files: OpenFiles, dataset: Any, entries: int, of_source: Callable[[Any], int], trouble: list[str]) -> int:
    """How many leading entries of a virtual data set have all their sources written.

    HDF5 gives the fill value for what a source lacks, so every source is opened here. of_source: available entries of
    a data set. trouble: takes the names of sources that are not there.
    """
    limit = entries
    covered: list[tuple[int, int]] = []
    known: dict[tuple[str, str], int] = {}
    for mapping in sources(dataset):
        start = mapping.start
        if start >= limit:
            continue
        end = entries if mapping.stop < 0 else min(mapping.stop, entries)
        try:
            source = open_source(files, dataset, mapping)
        except MissingError:
            trouble.append(f"{mapping.file_name}:{mapping.dataset_name}")
            reach = start
        else:
            key = (mapping.file_name, mapping.dataset_name)
            count = known[key] = known[key] if key in known else of_source(source)
            if mapping.source_start is None:
                reach = end if count and count == len(source) else start
            else:
                reach = start + max(0, count - mapping.source_start) * mapping.per_source
        covered.append((start, end))
        if reach < end:
            limit = min(limit, reach)
    reached = 0
    for start, end in sorted(covered):
        if start > reached:
            break
        reached = max(reached, end)
    return min(limit, reached)


def open_source(files: OpenFiles, dataset: Any, mapping: Mapping) -> Any:
    """The data set that a mapping names; MissingError if it is not there, SourceError if it lies outside the folder."""
    file_name, dataset_name = mapping.file_name, mapping.dataset_name
    inside = files.linked(file_name, dataset) if file_name != "." else dataset.file
    source = files.find(dataset_name, inside)
    if not isinstance(source, h5py.Dataset):
        raise MissingError(f"Reading {files.state.path}: {file_name} has no data set {dataset_name} yet.")
    return source


def _mappings(told: Any, length: int) -> Iterator[Mapping]:
    low, high = _along(told.vspace, 0)
    source_low, source_high = _along(told.src_space, 0)
    file_name, dataset_name = told.file_name, told.dset_name
    if not (_counts(file_name) or _counts(dataset_name)):
        per_source = 1
        if high > low and source_high > source_low and (high - low) % (source_high - source_low) == 0:
            per_source = (high - low) // (source_high - source_low)
        aligned = high < 0 or source_high < 0 or high - low == per_source * (source_high - source_low)
        yield Mapping(low, high, source_low if aligned else None, file_name, dataset_name, per_source)
        return
    start, stride, _, block = (int(values[0]) for values in told.vspace.get_regular_hyperslab())
    for number in range(min(-(-(length - start) // max(1, stride)), _MOST_BLOCKS)):
        at = start + number * stride
        yield Mapping(at, at + block, source_low, _numbered(file_name, number), _numbered(dataset_name, number))


def _counts(name: str) -> bool:
    """Whether a source's name stands for many: %b is the number of the block (H5Pset_virtual)."""
    return "%b" in name.replace("%%", "")


def _numbered(name: str, number: int) -> str:
    return name.replace("%b", str(number)).replace("%%", "%")


def _along(space: Any, axis: int) -> tuple[int, int]:
    """First and one past the last index along an axis; -1 where the selection has no end."""
    if space.get_select_type() == h5py.h5s.SEL_ALL:
        return 0, (*(space.get_simple_extent_dims() or ()), -1)[axis]
    if space.get_select_type() == h5py.h5s.SEL_HYPERSLABS and space.is_regular_hyperslab():
        start, stride, count, block = space.get_regular_hyperslab()
        if count[axis] == h5py.h5s.UNLIMITED or block[axis] == h5py.h5s.UNLIMITED:
            return int(start[axis]), -1
        return int(start[axis]), int(start[axis] + (count[axis] - 1) * stride[axis] + block[axis])
    low, high = space.get_select_bounds()
    return int(low[axis]), int(high[axis]) + 1
