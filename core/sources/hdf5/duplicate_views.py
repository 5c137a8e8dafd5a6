"""Whether another file of the folder shows the frames of a file as its own: a master, or what stands around it.

An Eiger at Diamond leaves run_1.nxs, run_1_master.h5, run_1_vds.h5 and run_1_000001.h5: the same frames four times.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from photon_triage.core.common.errors import SourceError
from photon_triage.core.sources.common.file_probe import FileState, translated
from photon_triage.core.sources.hdf5 import virtual
from photon_triage.core.sources.hdf5.layouts import find_layout, named_layout
from photon_triage.core.sources.hdf5.links import OpenFiles
from photon_triage.core.sources.hdf5.stack import FrameStack
from photon_triage.core.sources.registry import look

_BREAK = re.compile(r"[_\-.]")
_ENDINGS = (".nxs", "_master.h5", ".h5", ".cxi")
"""Of the files around: of two that show the same frames, the one whose ending stands first counts."""

_MOST_PARTS = 2
_MOST_KEPT = 1000


@dataclass(frozen=True, slots=True)
class DuplicateViews:
    """The real paths of the files that frames lie in, and whether they are frames there, not parts of them."""

    files: frozenset[str]
    whole: bool


Kept = dict[tuple[str, str | None, tuple[int, int, int, int]], DuplicateViews]


def shown_by(
    state: FileState, own: frozenset[str], dataset: str | None, kept: Kept
) -> tuple[str, DuplicateViews] | None:
    """The file beside this one that shows all its frames, and what that shows; None where there is none.

    own: the files that this one's frames lie in. dataset: the one that is read of every file, None where the layout
    tells. kept: what other calls found out. Asked are files whose names this one's name begins with; they are opened,
    and nothing is read.
    """
    for path in _around(state.path):
        try:
            around = look(path, state.roots)
            if around.format != "HDF5" or around.path == state.path or around.path in own:
                continue
            if own <= (shown := _frame_files(around, dataset, kept)).files:
                return around.path, shown
        except SourceError:
            continue
    return None


def _around(path: str) -> Iterator[str]:
    folder, name = os.path.split(path)
    stem = name.rpartition(".")[0]
    breaks = [found.start() for found in _BREAK.finditer(stem) if found.start()]
    for end in breaks[: -_MOST_PARTS - 1 : -1]:
        for ending in _ENDINGS:
            if f"{stem[:end]}{ending}" != name and Path(around := f"{folder}/{stem[:end]}{ending}").is_file():
                yield around


def _frame_files(state: FileState, dataset: str | None, kept: Kept) -> DuplicateViews:
    key = (state.path, dataset, state.signature)
    if key not in kept:
        if len(kept) >= _MOST_KEPT:
            kept.clear()
        with translated(state.path), OpenFiles(state) as files:
            layout = find_layout(files) if dataset is None else named_layout(files, dataset)
            stack = FrameStack(files, layout.dataset)
            kept[key] = frame_files(files, stack)
    return kept[key]


def frame_files(files: OpenFiles, stack: FrameStack) -> DuplicateViews:
    """Where the frames of a stack lie."""
    parts = [stack.leader] if stack.is_tagged else [stack.part(number) for number in range(len(stack.lengths))]
    found = [each for part in parts for each in _files_of(files, part.dataset)]
    return DuplicateViews(frozenset(path for path, _ in found), all(shape == stack.shape for _, shape in found))


def _files_of(files: OpenFiles, dataset: Any, depth: int = 0) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The files that a data set lies in, each with the last two lengths of what it holds of it."""
    if not dataset.is_virtual or depth > 3:
        yield os.fsdecode(dataset.file.filename), dataset.shape[-2:]
        return
    for mapping in virtual.sources(dataset):
        try:
            yield from _files_of(files, virtual.open_source(files, dataset, mapping), depth + 1)
        except SourceError:  # it is to come
            continue
