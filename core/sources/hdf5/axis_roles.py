"""What the axes of a data set are, from names, neighbours and how it is put together."""

from __future__ import annotations

import re
from typing import Any

import h5py

from photon_triage.core.sources.hdf5 import virtual
from photon_triage.core.sources.hdf5.axes import axis_names
from photon_triage.core.sources.hdf5.axis_view import View, frames_last, plain_view
from photon_triage.core.sources.hdf5.links import OpenFiles, names_in
from photon_triage.core.sources.hdf5.values import text

SMALLEST_SIDE = 32
"""Rows and columns that a data set must have to be taken for images where no convention names it."""

_ROWS = frozenset({"y", "row", "rows", "ss", "slow", "height", "det_y", "detector_y", "dety"})
_COLUMNS = frozenset({"x", "column", "columns", "fs", "fast", "width", "det_x", "detector_x", "detx"})
_TILES = ("module", "panel", "asic")
_EUXFEL_IMAGE = re.compile(r"/INSTRUMENT/.+/image/data$")
_VELOX = re.compile(r"/Data/Image/[0-9a-f]+/Data$")
_FRAMES_FIRST = re.compile(r"/(entry_\d+|exchange|INSTRUMENT|data/[^/]*data|entry\d*/(data|instrument/.+)/data)(/|$)")
"""Where conventions put (frame, y, x), however small an image may be."""

_EVENT_LISTS = ("timestamp", "event_time", "fiducials")
"""What psana's files have for each event: where the first axis counts those, the second counts modules."""

_MOST_CHANNELS = 4
_MOST_CHILDREN = 60


def view_of(files: OpenFiles, path: str, dataset: Any) -> View:
    """The roles of a data set's axes. path: where it was found, links and all."""
    shape = tuple(int(side) for side in dataset.shape)
    names = axis_names(files, dataset)
    tiles = tuple(axis for axis, name in enumerate(names) if any(part in name for part in _TILES))
    fixed = {axis: "of counts and gains, the counts are taken" for axis, name in enumerate(names) if "gain" in name}
    named = () if names[-1:] == (".",) else names  # what a scan over y and x has behind its axes is the detector's
    rows = [axis for axis, name in enumerate(named) if name in _ROWS]
    columns = [axis for axis, name in enumerate(named) if name in _COLUMNS]
    if len(rows) == len(columns) == 1 and (rows[0], columns[0]) != (len(shape) - 2, len(shape) - 1):
        others = (axis for axis in range(len(shape)) if axis not in (*rows, *columns, *tiles, *fixed))
        note = f"the axes are {', '.join(names)}"
        return View(shape, tuple(others), tiles, tuple((axis, 0) for axis in fixed), rows[0], columns[0], (note,))
    if len(shape) == 3 and not tiles and _has_frames_last(path, dataset, shape):
        return frames_last(shape)
    if len(shape) >= 4 and not tiles and not fixed:
        if _EUXFEL_IMAGE.search(path):
            note = "raw: of counts and gains, the counts are taken" if shape[1] == 2 else ""
            return plain_view(shape, fixed={1: note})
        if path.startswith("/entry_1/"):
            return plain_view(shape, tiles=(1,), fixed=dict.fromkeys(range(2, len(shape) - 2), ""))
        kind = _second_axis(files, path, dataset, shape)
        if kind == "module":
            return plain_view(shape, tiles=(1,))
        if kind == "channel":
            note = f"of {shape[1]} energy channels, the first is taken" if shape[1] > 1 else ""
            return plain_view(shape, fixed={1: note})
    return plain_view(shape, tiles=tiles, fixed=fixed)


def _has_frames_last(path: str, dataset: Any, shape: tuple[int, ...]) -> bool:
    if _VELOX.search(path):
        return shape[2] > 1
    if _FRAMES_FIRST.match(path):
        return False
    chunks = dataset.chunks
    if chunks and chunks[2] == 1 and min(chunks[:2]) > 1 and shape[2] > 1:
        return True
    return min(shape[:2]) >= SMALLEST_SIDE > shape[2] > 1 and not (chunks and chunks[0] == 1)


def _second_axis(files: OpenFiles, path: str, dataset: Any, shape: tuple[int, ...]) -> str:
    """What the second axis of four counts: "module", "channel" of energy, or "" for more frames."""
    if dataset.is_virtual and virtual.is_put_together_along(dataset, 1):
        return "module"
    if len(shape) != 4:
        return ""
    if any(_counts_events(files.optional(name), shape[0]) for name in _EVENT_LISTS):
        return "module"
    entry = path.strip("/").partition("/")[0]
    detector = files.optional(f"{entry}/instrument/detector")
    if not isinstance(detector, h5py.Group):
        return ""
    mask = next((node for node in (files.optional(name, detector) for name in ("pixel_mask", "mask")) if node), None)
    masked = tuple(mask.shape) if isinstance(mask, h5py.Dataset) else ()
    axes_of_module = _axes_of_module(files, detector)
    if axes_of_module >= 3 or (masked == shape[1:] and shape[1] > _MOST_CHANNELS):
        return "module"
    is_nxmx = text(files.optional(f"{entry}/definition")) == "NXmx"
    return "channel" if is_nxmx and shape[1] <= _MOST_CHANNELS and (masked or axes_of_module) else ""


def _counts_events(node: Any, events: int) -> bool:
    return isinstance(node, h5py.Dataset) and node.shape == (events,)


def _axes_of_module(files: OpenFiles, detector: Any) -> int:
    """How many axes the modules of a NeXus detector are placed in: two of the image, three where modules have one."""
    for name in names_in(detector, _MOST_CHILDREN):
        size = files.optional(f"{name}/data_size", detector)
        if isinstance(size, h5py.Dataset):
            return int(size.size)
    return 0
