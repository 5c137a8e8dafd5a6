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

    @property
    def in_order(self) -> bool:
        """Whether a frame's pixels lie in the data set as they do in the frame, behind at most one axis of frames."""
        leading = self.frames if len(self.frames) < 2 else (-1,)
        return (*leading, *self.tiles, self.rows, self.columns) == tuple(range(len(self.shape)))

    def read(self, dataset: Any, low: int, high: int, out: np.ndarray) -> None:
        """Frames low .. high-1 of a data set into `out`, (n, height, width) C-contiguous, native byte order."""
        if dataset.is_virtual and high - low > 1:
            # HDF5 takes minutes for many frames of a virtual data set whose mappings change the shape.
            for frame in range(low, high):
                self.read(dataset, frame, frame + 1, out[frame - low : frame - low + 1])
            return
        if self.in_order:
            if self.frames:
                dataset.read_direct(out.reshape(high - low, *self.shape[1:]), np.s_[low:high])
            else:
                dataset.read_direct(out.reshape(self.shape))
            return
        done = 0
        for selection, count in self._blocks(low, high):
            block = dataset[selection]
            order = (*self.frames[-1:], *self.tiles, self.rows, self.columns)
            kept = sorted(order)
            arranged = np.transpose(block, [kept.index(axis) for axis in order])
            out[done : done + count] = arranged.reshape(count, *self.frame_shape)
            done += count

    def _blocks(self, low: int, high: int) -> Iterator[tuple[tuple[Any, ...], int]]:
        """Selections that together hold frames low .. high-1, and how many each: one along the last axis of frames."""
        whole: list[Any] = [slice(None)] * len(self.shape)
        for axis, index in self.fixed:
            whole[axis] = index
        if not self.frames:
            yield tuple(whole), 1
            return
        *outer, inner = self.frames
        length = self.shape[inner]
        lengths = [self.shape[axis] for axis in outer]
        while low < high:
            number, start = divmod(low, length)
            count = min(high - low, length - start)
            for axis, place in zip(outer, np.unravel_index(number, lengths) if outer else (), strict=True):
                whole[axis] = int(place)
            whole[inner] = slice(start, start + count)
            yield tuple(whole), count
            low += count


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
    if not isinstance(node, h5py.Dataset) or not 2 <= node.ndim <= MOST_AXES or node.dtype.kind not in "iuf":
        return False
    return not node.id.get_create_plist().get_external_count()
