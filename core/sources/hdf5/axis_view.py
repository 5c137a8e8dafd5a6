"""How the frames of an HDF5 data set lie in its axes.

Most often (frame, y, x). But modules have an axis of their own, memory cells another; raw data hold counts and gains
side by side; microscopes and MATLAB put the frames last.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from photon_triage.core.frames import Window

_BYTES = {"b": (1,), "i": (1, 2, 4, 8), "u": (1, 2, 4, 8), "f": (2, 4, 8)}

READ = "bool, int8 to int64, uint8 to uint64, float16, float32, float64"


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


MOST_AXES = 6


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
