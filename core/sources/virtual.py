"""Virtual data sets: where each frame comes from, and whether that is there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import h5py

from photon_triage.core.errors import MissingError, NotYetError, SourceError
from photon_triage.core.sources.links import OpenFiles

_MOST_PRINTF_BLOCKS = 100_000


@dataclass(frozen=True, slots=True)
class Mapping:
    """Where frames start .. stop-1 (-1: without an end) come from.

    source_start: the frame of the source that is frame `start`; None where the source's first axis counts something
    else, such as modules, and the whole source is needed.
    """

    start: int
    stop: int
    source_start: int | None
    file_name: str
    dataset_name: str


def sources(dataset: Any) -> list[Mapping]:
    """The mappings of a virtual data set along its first axis."""
    found = []
    for mapping in dataset.virtual_sources():
        low, high = _along_first(mapping.vspace)
        source_low, source_high = _along_first(mapping.src_space)
        aligned = high < 0 or source_high < 0 or high - low == source_high - source_low
        found.append(Mapping(low, high, source_low if aligned else None, mapping.file_name, mapping.dset_name))
    return found


def available(files: OpenFiles, dataset: Any, frames: int, of_source: Callable[[Any], int], trouble: list[str]) -> int:
    """How many leading frames of a virtual data set have all their sources written.

    HDF5 gives zeros for what a source lacks, so every source is opened here. of_source: available frames of a data set.
    trouble: takes the names of sources that are not there.
    """
    limit = frames
    covered: list[tuple[int, int]] = []
    for mapping in sources(dataset):
        start = mapping.start
        if start >= limit:
            continue
        end = frames if mapping.stop < 0 else min(mapping.stop, frames)
        try:
            source = open_source(files, dataset, mapping)
        except NotYetError:
            trouble.append(f"{mapping.file_name}:{mapping.dataset_name}")
            reach = start
        else:
            count = of_source(source)
            if mapping.source_start is None:
                reach = end if count and count == len(source) else start
            else:
                reach = start + max(0, count - mapping.source_start)
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
    """The data set that a mapping names; NotYetError if it is missing, SourceError if it lies outside the folder."""
    file_name, dataset_name = mapping.file_name, mapping.dataset_name
    if "%" in file_name.replace("%%", "") or "%" in dataset_name.replace("%%", ""):
        raise SourceError(
            f"Reading {files.state.path}: its virtual data set counts its sources by a pattern ({file_name}).",
            "Name the source files themselves.",
        )
    inside = files.linked(file_name, dataset) if file_name != "." else dataset.file
    source = files.find(dataset_name, inside)
    if not isinstance(source, h5py.Dataset):
        raise MissingError(f"Reading {files.state.path}: {file_name} has no data set {dataset_name} yet.")
    return source


def _along_first(space: Any) -> tuple[int, int]:
    """First and one past the last index along the first axis; -1 where the selection has no end."""
    if space.get_select_type() == h5py.h5s.SEL_ALL:
        return 0, (space.get_simple_extent_dims() or (-1,))[0]
    if space.get_select_type() == h5py.h5s.SEL_HYPERSLABS and space.is_regular_hyperslab():
        start, stride, count, block = space.get_regular_hyperslab()
        if count[0] == h5py.h5s.UNLIMITED or block[0] == h5py.h5s.UNLIMITED:
            return int(start[0]), -1
        return int(start[0]), int(start[0] + (count[0] - 1) * stride[0] + block[0])
    low, high = space.get_select_bounds()
    return int(low[0]), int(high[0]) + 1
