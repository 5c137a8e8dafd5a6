"""HDF5 files: what is in them, frames, masks."""

from __future__ import annotations

import math
from typing import Any

import h5py
import numpy as np

from photon_triage.core.errors import SourceError
from photon_triage.core.sources import virtual
from photon_triage.core.sources.filters import ChunkCheck, compression, pipeline, require_decoders
from photon_triage.core.sources.info import SourceInfo
from photon_triage.core.sources.layouts import ended, find_layout, named_layout, simulated
from photon_triage.core.sources.limits import require_size
from photon_triage.core.sources.links import OpenFiles
from photon_triage.core.sources.names import run_name
from photon_triage.core.sources.opening import FileState, translated
from photon_triage.core.sources.stack import FrameStack, chunk_offsets, frame_count
from photon_triage.core.sources.written import Settling, written

_settling = Settling()


def inspect_hdf5(state: FileState, dataset: str | None, *, explain: bool = False) -> SourceInfo:
    """What an HDF5 file holds; raises SourceError, NotYetError."""
    with translated(state.path), OpenFiles(state) as files:
        over = ended(files)
        layout = find_layout(files) if dataset is None else named_layout(files, dataset)
        stack = FrameStack(files, layout.dataset)
        told = written(files, stack, ended=over, expected=layout.expected, settling=_settling)
        return SourceInfo(
            path=state.path,
            format="HDF5",
            layout=layout.name,
            dataset=layout.dataset,
            frames=stack.frames,
            available=told.available,
            complete=told.complete,
            shape=stack.shape,
            dtype=stack.dtype.name,
            compression=compression(stack.filters),
            mask=layout.mask,
            geometry=layout.geometry,
            simulated=simulated(files),
            run=layout.run or run_name(state.path, one_of_many=False),
            missing=told.missing,
            proven=told.proven,
        )


class OpenStack:
    """A stack kept open for reading."""

    def __init__(self, state: FileState, dataset: str) -> None:
        self.state = state
        with translated(state.path):
            self._files = OpenFiles(state)
            try:
                self.stack = FrameStack(self._files, dataset)
            except BaseException:
                self._files.close()
                raise

    @property
    def dtype(self) -> np.dtype[Any]:
        """The frames' dtype."""
        return self.stack.dtype

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width)."""
        return self.stack.shape

    def read(self, start: int, stop: int, out: np.ndarray) -> None:
        """Frames start .. stop-1 into `out`, (n, height, width)."""
        with translated(self.state.path):
            self.stack.read(start, stop, out)

    def present(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Of the frames start .. stop-1 those that are in the file, as ranges."""
        with translated(self.state.path):
            return self.stack.present(start, stop)

    def close(self) -> None:
        """Let go of the files."""
        self._files.close()


def read_hdf5_mask(state: FileState, path: str, shape: tuple[int, int]) -> np.ndarray:
    """The mask at `path`, (height, width) bool, True = valid: any bit set in the file makes a pixel invalid."""
    with translated(state.path), OpenFiles(state) as files:
        node = files.find(path)
        if not isinstance(node, h5py.Dataset) or node.id.get_create_plist().get_external_count():
            raise SourceError(f"Reading {state.path}: the mask {path} is no data set of its own.")
        _require_sound(files, node)
        pixels = math.prod(shape)
        stacked = node.size == pixels and node.shape[-1] == shape[1]
        whole = node[()] if stacked else node[0] if node.ndim > 2 and math.prod(node.shape[1:]) == pixels else None
        if whole is None:
            raise SourceError(f"Reading {state.path}: the mask {path} has shape {node.shape}, the frames {shape}.")
        return np.asarray(whole == 0).reshape(shape)


def _require_sound(files: OpenFiles, node: Any) -> None:
    path = files.state.path
    require_size("the mask", node.shape[-2:], node.dtype.itemsize, path)
    if node.is_virtual:
        for mapping in virtual.sources(node):
            virtual.open_source(files, node, mapping)
    elif node.chunks:
        require_size("one chunk of the mask", node.chunks, node.dtype.itemsize, path)
        filters = pipeline(node)
        require_decoders(filters, path)
        check = ChunkCheck(filters, math.prod(node.chunks) * node.dtype.itemsize)
        for offsets in chunk_offsets(node, 0, frame_count(node)) if check.framed else ():
            found = node.id.get_chunk_info_by_coord(offsets)
            problem = check.problem(*node.id.read_direct_chunk(offsets)) if found.size else None
            if problem:
                raise SourceError(f"Reading {path}: the mask {node.name} is damaged: {problem}.")
