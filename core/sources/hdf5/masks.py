"""Masks of HDF5 files: where a pixel is bad, by the convention of the file."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import h5py
import numpy as np

from photon_triage.core.common.errors import SourceError
from photon_triage.core.sources.common.file_probe import FileState, require_size, translated
from photon_triage.core.sources.hdf5 import virtual
from photon_triage.core.sources.hdf5.axis_view import View
from photon_triage.core.sources.hdf5.chunks.filters import ChunkCheck, pipeline, require_decoders
from photon_triage.core.sources.hdf5.entries import chunk_offsets
from photon_triage.core.sources.hdf5.links import OpenFiles
from photon_triage.core.sources.hdf5.stack import FrameStack

_SAMPLED = 8
_CHECKED_FOR_S = 20.0
_MOST_KEPT = 1000
LEAST_LEFT, FEW_LEFT = 0.1, 0.5
"""A mask that leaves a smaller fraction of the pixels than the first is not used: it may be the other way round, with 1
for good pixels, as psana and some programs of the ESRF write it. One that leaves less than the second is told of."""
PER_FRAME = f"the mask is one for each frame: what is bad in more than half of {_SAMPLED} of them is bad in all"

_CXI_BAD = {
    0x1: "invalid",
    0x2: "saturated",
    0x4: "hot",
    0x8: "dead",
    0x10: "shadowed",
    0x40: "to be ignored",
    0x80: "bad",
    0x200: "missing",
    0x400: "noisy",
    0x1000: "failed correction",
}
"""CXI file format 1.6, pixel status. Peaks (0x20, 0x2000), resolution limits and corrected pixels stay good."""

_NXMX_BAD = {1: "gap", 2: "dead", 4: "under-responding", 8: "over-responding", 16: "noisy", 64: "cluster", 256: "user"}
"""NeXus, NXdetector/pixel_mask."""


@dataclass(frozen=True, slots=True)
class MaskRule:
    """Which values in a mask make a pixel bad. bits: those that do, None for any; words: the same for people."""

    bits: int | None
    words: tuple[str, ...]

    def valid(self, mask: np.ndarray) -> np.ndarray:
        """True where a pixel is good."""
        if mask.dtype.kind == "f":
            finite = np.isfinite(mask)
            return np.asarray(self.valid(np.where(finite, mask, 0).astype(np.int64)) & finite)
        if self.bits is None or mask.dtype.kind not in "iu":
            return np.asarray(mask == 0)
        return np.asarray(mask.astype(np.int64, copy=False) & self.bits == 0)


ANY = MaskRule(None, ("any value but 0",))
CXI = MaskRule(sum(_CXI_BAD), tuple(f"{bit:#x} {name}" for bit, name in _CXI_BAD.items()))
NXMX = MaskRule(None, (*(f"{bit:#x} {name}" for bit, name in _NXMX_BAD.items()), "any other bit"))
RULES = {"CXI": CXI, "NXmx": NXMX, "any": ANY}


def read_hdf5_mask(
    state: FileState, path: str, dataset: str, shape: tuple[int, int], words: tuple[str, ...]
) -> np.ndarray:
    """The mask at `path` of the frames at `dataset`, (height, width) bool, True = valid.

    words: those of its rule, as an earlier look told them.
    """
    rule = next((rule for rule in RULES.values() if rule.words == words), ANY)
    with translated(state.path), OpenFiles(state) as files:
        node = files.find(path)
        if not isinstance(node, h5py.Dataset) or node.id.get_create_plist().get_external_count():
            raise SourceError(f"Reading {state.path}: the mask {path} is no data set of its own.")
        view = view_of_mask(node, FrameStack(files, dataset).leader.view, shape)
        if view is None:
            raise SourceError(f"Reading {state.path}: the mask {path} has shape {node.shape}, the frames {shape}.")
        return valid_pixels(files, node, view, shape, rule)


def valid_pixels(files: OpenFiles, node: Any, view: View, shape: tuple[int, int], rule: MaskRule) -> np.ndarray:
    """What a mask's data set leaves of a frame, (height, width) bool; raises SourceError where it is damaged."""
    frames = np.unique(np.linspace(0, view.count - 1, _SAMPLED, dtype=np.int64)) if view.frames else [0]
    whole = np.empty((1, *shape), node.dtype.newbyteorder("="))
    valid = np.zeros(shape, np.int64)
    for frame in map(int, frames):
        _require_sound(files, node, view, frame)
        view.read(node, frame, frame + 1, whole)
        valid += rule.valid(whole[0])
    return np.asarray(2 * valid >= len(frames))


class MaskCheck:
    """What masks leave of the frames, kept for a while: a file that grows is looked at often."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: OrderedDict[tuple[int, int, str, str], tuple[float, float]] = OrderedDict()

    def left(self, files: OpenFiles, path: str, view: View, shape: tuple[int, int], rule: MaskRule) -> float | None:
        """The fraction of the pixels that a mask leaves, None where it cannot be read (which reading it tells)."""
        state = files.state
        key = (state.device, state.inode, state.path, path)
        kept = self._kept.get(key)
        if kept is not None and self._clock() - kept[0] < _CHECKED_FOR_S:
            return kept[1]
        try:
            fraction = float(valid_pixels(files, files.find(path), view, shape, rule).mean())
        except (SourceError, OSError, RuntimeError, KeyError, ValueError):
            return None
        self._kept[key] = self._clock(), fraction
        while len(self._kept) > _MOST_KEPT:
            self._kept.popitem(last=False)
        return fraction


def view_of_mask(node: Any, frames: View, shape: tuple[int, int]) -> View | None:
    """How a mask lies in its axes, given those of the frames; None where it cannot be theirs."""
    own = tuple(int(side) for side in node.shape)
    if len(own) == len(frames.shape) and all(
        mine == theirs
        for axis, (mine, theirs) in enumerate(zip(own, frames.shape, strict=True))
        if axis not in frames.frames
    ):
        return replace(frames, shape=own)
    kept = [axis for axis in range(len(frames.shape)) if axis not in frames.frames]
    if own == tuple(frames.shape[axis] for axis in kept):
        return View(
            own,
            (),
            tuple(kept.index(axis) for axis in frames.tiles),
            tuple((kept.index(axis), index) for axis, index in frames.fixed),
            kept.index(frames.rows),
            kept.index(frames.columns),
        )
    last = len(own) - 1
    if own[-1:] == shape[1:] and math.prod(own) == math.prod(shape):
        return View(own, (), tuple(range(last - 1)), (), last - 1, last)
    if len(own) > 2 and own[-1] == shape[1] and math.prod(own[1:]) == math.prod(shape):
        return View(own, (0,), tuple(range(1, last - 1)), (), last - 1, last)
    return None


def _require_sound(files: OpenFiles, node: Any, view: View, frame: int) -> None:
    path = files.state.path
    require_size("the mask", view.frame_shape, node.dtype.itemsize, path)
    if node.is_virtual:
        for mapping in virtual.sources(node):
            virtual.open_source(files, node, mapping)
    elif node.chunks:
        require_size("one chunk of the mask", node.chunks, node.dtype.itemsize, path)
        filters = pipeline(node)
        require_decoders(filters, path)
        check = ChunkCheck(filters, math.prod(node.chunks) * node.dtype.itemsize)
        entry = frame // view.per_entry
        for offsets in chunk_offsets(node, view.axis, entry, entry + 1) if check.framed else ():
            found = node.id.get_chunk_info_by_coord(offsets)
            problem = check.problem(*node.id.read_direct_chunk(offsets)) if found.size else None
            if problem:
                raise SourceError(f"Reading {path}: the mask {node.name} is damaged: {problem}.")
