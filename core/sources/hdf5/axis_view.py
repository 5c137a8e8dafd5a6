"""How the frames of an HDF5 data set lie in its axes.

Most often (frame, y, x). But modules have an axis of their own, memory cells another; raw data hold counts and gains
side by side; microscopes and MATLAB put the frames last.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from photon_triage.core.frames import Window
from photon_triage.core.sources.hdf5.links import OpenFiles, attribute, names_in, text, text_of, texts

_BYTES = {"b": (1,), "i": (1, 2, 4, 8), "u": (1, 2, 4, 8), "f": (2, 4, 8)}

READ = "bool, int8 to int64, uint8 to uint64, float16, float32, float64"

MOST_AXES = 6
_MOST_CHILDREN = 200
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
_MOST_CHILDREN_OF_DETECTOR = 60


def image_dtype(stored: np.dtype[Any]) -> np.dtype[Any] | None:
    """The dtype in which frames of a stored dtype are handed over, None where it makes no image.

    Native byte order and the same values; bool as uint8. Integers of 64 bits are handed over exactly. Stages compute in
    float32, which rounds integers beyond 2^24 (float64: beyond 2^53) to the nearest it has, an error below 6e-8 of the
    value; counts of a detector stay below.
    """
    if stored.itemsize not in _BYTES.get(stored.kind, ()) or stored.subdtype is not None:
        return None
    return np.dtype(np.uint8) if stored.kind == "b" else np.dtype(f"{stored.kind}{stored.itemsize}")


def stored_dtype(node: Any) -> np.dtype[Any] | None:
    """The dtype of an HDF5 data set, None where NumPy has none for its type."""
    try:
        dtype: np.dtype[Any] = np.dtype(node.dtype)
    except (TypeError, ValueError):
        return None
    return dtype


@dataclass(frozen=True, slots=True)
class View:
    """The roles of a data set's axes.

    frames: the axes that count frames, in C order, () where it holds one. tiles: the axes whose elements (modules)
    stand below each other in a frame. fixed: (axis, index) where only one element is taken. rows, columns: the axes of
    an image. notes: what of this is not obvious, in words.
    """

    shape: tuple[int, ...]
    frames: tuple[int, ...]
    tiles: tuple[int, ...]
    fixed: tuple[tuple[int, int], ...]
    rows: int
    columns: int
    notes: tuple[str, ...] = ()

    @property
    def axis(self) -> int | None:
        """The axis along which frames are written one after the other, None where there is one frame."""
        return self.frames[0] if self.frames else None

    @property
    def per_entry(self) -> int:
        """Frames in one element of that axis."""
        return math.prod(self.shape[axis] for axis in self.frames[1:])

    @property
    def count(self) -> int:
        """Number of frames."""
        return math.prod(self.shape[axis] for axis in self.frames)

    @property
    def frame_shape(self) -> tuple[int, int]:
        """(height, width) of a frame."""
        modules = math.prod(self.shape[axis] for axis in self.tiles)
        return modules * self.shape[self.rows], self.shape[self.columns]

    def read(self, dataset: Any, low: int, high: int, out: np.ndarray) -> None:
        """Frames low .. high-1 of a data set into `out`, (n, height, width) C-contiguous, native byte order."""
        if dataset.is_virtual and high - low > 1:
            # HDF5 takes minutes for many frames of a virtual data set whose mappings change the shape.
            for frame in range(low, high):
                self.read(dataset, frame, frame + 1, out[frame - low : frame - low + 1])
            return
        for part, place in self.parts(low, high, out):
            read_part(dataset, part, place)

    def parts(self, low: int, high: int, out: np.ndarray, window: Window | None = None) -> Iterator[PartAndPlace]:
        """What to read for the frames low .. high-1, or for one window of them, and where in `out` it belongs.

        The places are views of `out`, (n, rows, columns) C-contiguous, with the data set's axes. A window is for frames
        without tiles.
        """
        whole = [slice(0, side) for side in self.shape]
        for axis, index in self.fixed:
            whole[axis] = slice(index, index + 1)
        if window is not None:
            whole[self.rows], whole[self.columns] = window.rows, window.columns
        tiles = [self.shape[axis] for axis in self.tiles]
        image = [_length(whole[self.rows]), _length(whole[self.columns])]
        if not self.frames:
            yield tuple(whole), self._place(out, [*tiles, *image], [*self.tiles, self.rows, self.columns])
            return
        *outer, inner = self.frames
        lengths = [self.shape[axis] for axis in outer]
        done = 0
        while low < high:
            number, start = divmod(low, self.shape[inner])
            count = min(high - low, self.shape[inner] - start)
            for axis, at in zip(outer, np.unravel_index(number, lengths) if outer else (), strict=True):
                whole[axis] = slice(int(at), int(at) + 1)
            whole[inner] = slice(start, start + count)
            sides, axes = [count, *tiles, *image], [inner, *self.tiles, self.rows, self.columns]
            yield tuple(whole), self._place(out[done : done + count], sides, axes)
            low, done = low + count, done + count

    def _place(self, out: np.ndarray, sides: list[int], axes: list[int]) -> np.ndarray:
        """`out` with the axes of the data set; `axes`: those that it has, in its order."""
        arranged = np.transpose(out.reshape(sides), [axes.index(axis) for axis in sorted(axes)])
        return np.expand_dims(arranged, tuple(axis for axis in range(len(self.shape)) if axis not in axes))


Selection = tuple[slice, ...]
"""A part of a data set: a range along each of its axes."""

PartAndPlace = tuple[Selection, np.ndarray]


def read_part(dataset: Any, part: Selection, place: np.ndarray) -> None:
    """A part of a data set into an array with the same axes, through HDF5."""
    if place.flags.c_contiguous and dataset.dtype.kind != "b":
        dataset.read_direct(place, part)
    else:
        place[...] = dataset[part]


def _length(range_: slice) -> int:
    return int(range_.stop - range_.start)


def plain_view(shape: tuple[int, ...], *, tiles: tuple[int, ...] = (), fixed: dict[int, str] | None = None) -> View:
    """The roles by position: the last two axes are an image, what stands before counts frames.

    tiles, fixed: axes that are known not to count frames; for each fixed one, of which the first element is taken, a
    note ("" for none).
    """
    taken = dict(fixed or {})
    images = [axis for axis in range(len(shape)) if axis not in taken and axis not in tiles]
    if len(images) > 2 and shape[images[-1]] == 1 and len(images) >= 3 and shape[images[-3]] > 1:
        taken[images.pop()] = ""
    *leading, rows, columns = images
    for axis in leading[:]:
        if shape[axis] == 1 and len(leading) > 1:
            taken[axis] = ""
            leading.remove(axis)
    notes = tuple(note for note in taken.values() if note)
    if tiles:
        notes += (f"{math.prod(shape[axis] for axis in tiles)} modules stand below each other",)
    return View(shape, tuple(leading), tiles, tuple((axis, 0) for axis in sorted(taken)), rows, columns, notes)


def frames_last(shape: tuple[int, ...]) -> View:
    """The roles of (y, x, frame)."""
    return View(shape, (2,), (), (), 0, 1, ("frames lie along the last axis",))


def is_numeric(node: Any) -> bool:
    """Whether an object is a data set of numbers in this file, of two axes or a few more."""
    if not isinstance(node, h5py.Dataset) or not 2 <= node.ndim <= MOST_AXES:
        return False
    stored = stored_dtype(node)
    if stored is None or image_dtype(stored) is None:
        return False
    return not node.id.get_create_plist().get_external_count()


def marked(node: Any, name: str) -> int | None:
    """An attribute that is a whole number, also where it is written as a text or in an array; None for none."""
    if not isinstance(node, h5py.Dataset):
        return None
    told = attribute(node, name)
    try:
        return int(told or np.ravel(node.attrs[name])[0])
    except (KeyError, OSError, RuntimeError, ValueError, TypeError, IndexError, OverflowError):
        return None


def axis_names(files: OpenFiles, dataset: Any, group: Any = None, name: str = "") -> tuple[str, ...]:
    """The names of a data set's axes in lower case, () where the file gives none for each.

    group, name: a group that holds it and its name there; its own, unless they are given.
    """
    own = attribute(dataset, "axes").strip("[]() ")
    names = tuple(part.strip().lower() for part in re.split(r"[:,]", own)) if own else ()
    if len(names) == dataset.ndim:
        return names
    parent = dataset.parent if group is None else group
    name = name or text_of(dataset.name).rpartition("/")[2]
    if attribute(parent, "signal") == name:
        for attribute_name in ("axes", f"{name}_axes"):
            told = texts(parent, attribute_name)
            names = tuple(each.strip().lower() for each in (told[0].split(",") if len(told) == 1 else told))
            if len(names) == dataset.ndim:
                return names
    return _names_by_number(files, parent, dataset.ndim)


def _names_by_number(files: OpenFiles, group: Any, axes: int) -> tuple[str, ...]:
    """Names of axes by the attribute "axis" (from 1) of the coordinates beside a data set; primary ones go before."""
    found: dict[int, tuple[int, str]] = {}
    if not attribute(group, "NX_class"):
        return ()
    for name, node in datasets_in(files, group):
        number = marked(node, "axis")
        if number is not None:
            rank = marked(node, "primary")
            found[number] = min(found.get(number, (99, name)), (9 if rank is None else rank, name.lower()))
    return tuple(found[number][1] for number in range(1, axes + 1)) if set(range(1, axes + 1)) <= set(found) else ()


def datasets_in(files: OpenFiles, group: Any) -> Iterator[tuple[str, Any]]:
    """The data sets of a group; what lies in other files is no part of its description."""
    for name in names_in(group, _MOST_CHILDREN):
        try:
            if group.id.links.get_info(name.encode("utf-8", "surrogateescape")).type == h5py.h5l.TYPE_EXTERNAL:
                continue
        except (KeyError, OSError, RuntimeError, ValueError):
            continue
        node = files.optional(name, group)
        if isinstance(node, h5py.Dataset):
            yield name, node


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
    if dataset.is_virtual and _is_put_together_along(dataset, 1):
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
    for name in names_in(detector, _MOST_CHILDREN_OF_DETECTOR):
        size = files.optional(f"{name}/data_size", detector)
        if isinstance(size, h5py.Dataset):
            return int(size.size)
    return 0


def _is_put_together_along(dataset: Any, axis: int) -> bool:
    """Whether a virtual data set has its elements along an axis from different places."""
    length = int(dataset.shape[axis])
    return any(
        high - low < length for low, high in (bounds_along(m.vspace, axis) for m in dataset.virtual_sources()) if high
    )


def bounds_along(space: Any, axis: int) -> tuple[int, int]:
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
