"""Whether another file of the folder shows the frames of a file as its own: a master, or what stands around it.

An Eiger at Diamond leaves run_1.nxs, run_1_master.h5, run_1_vds.h5 and run_1_000001.h5: the same frames four times.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from photon_triage.core.errors import SourceError
from photon_triage.core.sources import virtual
from photon_triage.core.sources.layouts import find_layout, named_layout
from photon_triage.core.sources.links import OpenFiles
from photon_triage.core.sources.opening import FileState, look, translated
from photon_triage.core.sources.stack import FrameStack

_BREAK = re.compile(r"[_\-.]")
_ENDINGS = (".nxs", "_master.h5", ".h5", ".cxi")
"""Of the files around: of two that show the same frames, the one whose ending stands first counts."""

_MOST_PARTS = 2
_MOST_KEPT = 1000

Kept = dict[tuple[str, str | None, tuple[int, int, int, int]], frozenset[str]]


def shown_by(state: FileState, dataset: str | None, kept: Kept) -> str:
    """The file beside this one that shows all its frames, "" where there is none. kept: what other calls found out.

    dataset: the one that is read of every file, None where the layout tells. Asked are files whose names this one's
    name begins with; they are opened, as this one is, and nothing is read.
    """
    if state.format != "HDF5":
        return ""
    own: frozenset[str] = frozenset()
    for path in _around(state.path):
        try:
            around = look(path, state.roots)
            if around.format != "HDF5" or around.path == state.path:
                continue
            own = own or _frame_files(state, dataset, kept)
            if own and own <= _frame_files(around, dataset, kept) and around.path not in own:
                return around.path
        except SourceError:
            continue
    return ""


def _around(path: str) -> Iterator[str]:
    folder, name = os.path.split(path)
    stem = name.rpartition(".")[0]
    breaks = [found.start() for found in _BREAK.finditer(stem) if found.start()]
    for end in breaks[: -_MOST_PARTS - 1 : -1]:
        for ending in _ENDINGS:
            if f"{stem[:end]}{ending}" != name and Path(around := f"{folder}/{stem[:end]}{ending}").is_file():
                yield around


def _frame_files(state: FileState, dataset: str | None, kept: Kept) -> frozenset[str]:
    """The real paths of the files that the frames of a file lie in."""
    key = (state.path, dataset, state.signature)
    if key not in kept:
        if len(kept) >= _MOST_KEPT:
            kept.clear()
        with translated(state.path), OpenFiles(state) as files:
            layout = find_layout(files) if dataset is None else named_layout(files, dataset)
            stack = FrameStack(files, layout.dataset)
            parts = [stack.leader] if stack.is_tagged else [stack.part(number) for number in range(len(stack.lengths))]
            kept[key] = frozenset(path for part in parts for path in _files_of(files, part.dataset))
    return kept[key]


def _files_of(files: OpenFiles, dataset: Any, depth: int = 0) -> Iterator[str]:
    if not dataset.is_virtual or depth > 3:
        yield os.fsdecode(dataset.file.filename)
        return
    for mapping in virtual.sources(dataset):
        try:
            yield from _files_of(files, virtual.open_source(files, dataset, mapping), depth + 1)
        except SourceError:  # it is to come
            continue
