"""The frames of an HDF5 file as one stack, whatever data sets they are kept in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import h5py
import numpy as np

from photon_triage.core.common.errors import NotYetError, SourceError
from photon_triage.core.common.index_ranges import runs_of
from photon_triage.core.frames import Window
from photon_triage.core.sources.common.info import Member, StackLayout
from photon_triage.core.sources.common.limits import require_size
from photon_triage.core.sources.hdf5 import virtual
from photon_triage.core.sources.hdf5.axes import view_of
from photon_triage.core.sources.hdf5.axis_view import (
    MOST_AXES,
    READ,
    View,
    image_dtype,
    is_numeric,
    read_part,
    stored_dtype,
)
from photon_triage.core.sources.hdf5.chunks.filters import ChunkFilter, pipeline, require_decoders
from photon_triage.core.sources.hdf5.chunks.raw import ChunkTable, RawChunks
from photon_triage.core.sources.hdf5.entries import Entries
from photon_triage.core.sources.hdf5.frame_selection import chosen_images
from photon_triage.core.sources.hdf5.links import OpenFiles, numbered_members, tagged_members

MOST_MEMBERS = 1000
"""Data sets, or ranges of images, of a layout that is kept: beyond, it is longer than finding it again takes."""


class StaleLayoutError(NotYetError):
    """Frames are no longer where they were found: look for them again."""


@dataclass(frozen=True, slots=True)
class StackPart:
    """A data set of a stack.

    positions: which of its images are frames, None for all. notes: what is not obvious. raw: None where its frames are
    to be read through HDF5.
    """

    dataset: Any
    view: View
    positions: np.ndarray | None
    notes: tuple[str, ...]
    raw: RawChunks | None

    @property
    def frames(self) -> int:
        """Number of frames."""
        return self.view.count if self.positions is None else len(self.positions)

    def runs(self, low: int, high: int) -> Iterator[tuple[int, int]]:
        """The images that are frames low .. high-1, as ranges."""
        if self.positions is None:
            yield low, high
            return
        yield from runs_of(self.positions[low:high].tolist())

    def chosen(self) -> tuple[tuple[int, int], ...] | None:
        """The images that are frames, as ranges; None where all are."""
        return None if self.positions is None else tuple(self.runs(0, len(self.positions)))

    def frames_within(self, images: int) -> int:
        """How many leading frames lie among the first `images` images."""
        return images if self.positions is None else int(np.searchsorted(self.positions, images))


class FrameStack:
    """The frames at a path: a data set, a group's data_000001, data_000002 ..., or a pattern such as /%/data.

    frames: the stack's length. shape: (height, width). dtype: native byte order. missing: linked files that are not
    there (frames after the first are not counted). layout: where they were found before; without one they are looked
    for, with one each data set is opened when it is needed, and StaleLayoutError is raised where it is another by now.
    """

    def __init__(self, files: OpenFiles, path: str, layout: StackLayout | None = None) -> None:
        self.files = files
        self.path = path
        self.missing: list[str] = []
        self._entries = Entries(files)
        self._opened: dict[int, StackPart] = {}
        self._tags: list[str] = []
        self._layout = layout
        self.dtype: np.dtype[Any]
        if layout is not None:
            view = _view(layout, layout.shape)
            self.shape, self.dtype = view.frame_shape, _handed_over(np.dtype(layout.dtype))
            if layout.images is not None:
                self.lengths = [sum(high - low for low, high in layout.images)]
            else:
                self.lengths = [_view(layout, _shape(layout, member)).count for member in layout.members]
            self.frames = sum(self.lengths)
            return
        parts = self._open_members()
        leader = parts[0]
        self.shape = leader.view.frame_shape
        self.dtype = _handed_over(leader.dataset.dtype)
        if self._tags:
            self.lengths = [leader.frames] * len(self._tags)
        else:
            self.lengths = [part.frames for part in parts]
            for part in parts[1:]:
                self._require_alike(part)
        self.frames = sum(self.lengths)

    @property
    def leader(self) -> StackPart:
        """The first of the stack's data sets."""
        return self.part(0)

    def layout(self) -> StackLayout | None:
        """Where the frames lie; None where only looking for them again tells."""
        parts = [self.part(number) for number in range(len(self.lengths))] if len(self.lengths) <= MOST_MEMBERS else []
        if not parts or self._tags or (len(parts) > 1 and any(part.positions is not None for part in parts)):
            return None
        leader, view, chosen = parts[0], parts[0].view, parts[0].chosen()
        if chosen is not None and len(chosen) > MOST_MEMBERS:
            return None
        layout = StackLayout(
            signature=self.files.state.signature,
            shape=view.shape,
            dtype=leader.dataset.dtype.str,
            frames=view.frames,
            tiles=view.tiles,
            fixed=view.fixed,
            rows=view.rows,
            columns=view.columns,
            members=tuple(
                Member(
                    os.fsdecode(part.dataset.file.filename),
                    part.dataset.name,
                    1 if view.axis is None else part.view.shape[view.axis],
                )
                for part in parts
            ),
            images=chosen,
            cuts=self.cuts,
        )
        alike = all(
            replace(part.view, notes=()) == _view(layout, _shape(layout, member))
            and part.dataset.dtype == leader.dataset.dtype
            for part, member in zip(parts, layout.members, strict=True)
        )
        return layout if alike else None

    @property
    def is_tagged(self) -> bool:
        """Whether each group of many holds one data set of the stack."""
        return bool(self._tags)

    @property
    def tags(self) -> tuple[str, ...]:
        """The paths of the data sets of a pattern, () where the stack is of no pattern."""
        return tuple(self._tags)

    def part(self, number: int) -> StackPart:
        """One of the stack's data sets."""
        if number in self._opened:
            return self._opened[number]
        if self._layout is not None:
            self._opened[number] = self._known_part(self._layout, self._layout.members[number])
            return self._opened[number]
        path = self._tags[number]
        node = self.files.find(path)
        if node is None:
            raise KeyError(f"the data set {path} doesn't exist")
        part = self._part(path, node)
        self._require_alike(part)
        if part.frames != self.leader.frames:
            raise SourceError(
                f"Reading {self.files.state.path}: {path} holds {part.frames} frames, others another number."
            )
        return part

    def _open_members(self) -> list[StackPart]:
        if "%" in self.path:
            self._tags = tagged_members(self.files, self.path)
            if not self._tags:
                raise KeyError(f"there is no data set {self.path}: object doesn't exist")
            self._opened[0] = self._part(self._tags[0], self.files.find(self._tags[0]))
            return [self._opened[0]]
        node = self.files.find(self.path)
        if node is None:
            raise KeyError(f"the data set {self.path} doesn't exist")
        members = [(self.path, node)] if not isinstance(node, h5py.Group) else list(self._numbered(node))
        if not members:
            raise KeyError(f"the group {self.path} holds no data set: object data_000001 doesn't exist")
        self._opened = {number: self._part(path, member) for number, (path, member) in enumerate(members)}
        return list(self._opened.values())

    def _numbered(self, group: Any) -> Iterator[tuple[str, Any]]:
        found = False
        for name in numbered_members(group):
            try:
                member = self.files.find(name, group)
            except NotYetError as error:
                if not found:
                    raise
                self.missing.append(error.message)
                return
            if member is None:
                self.missing.append(name)
                return
            found = True
            yield f"{self.path}/{name}", member

    def _part(self, path: str, dataset: Any) -> StackPart:
        file = self.files.state.path
        self._require_readable(path, dataset)
        view = view_of(self.files, path, dataset)
        if 0 in view.frame_shape:
            raise SourceError(
                f"Reading {file}: {path} has frames without pixels (shape {dataset.shape}, dtype {dataset.dtype})."
            )
        require_size("one frame", view.frame_shape, dataset.dtype.itemsize, file)
        chosen = chosen_images(self.files, path, view.count, view.per_entry) if view.frames else None
        notes = view.notes if chosen is None else (*view.notes, chosen.note)
        if dataset.is_virtual and view.axis == 0:
            notes += virtual.coverage_notes(dataset, view.per_entry)
        positions = None if chosen is None else chosen.positions
        return StackPart(dataset, view, positions, notes, RawChunks.of(dataset, view.axis))

    def _require_readable(self, path: str, dataset: Any) -> None:
        """SourceError where an object is no data set of images, or one that cannot be decoded here."""
        file = self.files.state.path
        if isinstance(dataset, h5py.Dataset) and dataset.id.get_create_plist().get_external_count():
            raise SourceError(f"Reading {file}: {path} keeps its bytes in other files (external storage).")
        if not is_numeric(dataset):
            told = "a group"
            if isinstance(dataset, h5py.Dataset):
                told = f"shape {dataset.shape}, dtype {stored_dtype(dataset) or 'unknown'}"
            raise SourceError(
                f"Reading {file}: {path} is no stack of images ({told}).",
                f"Name a data set of two to {MOST_AXES} axes and one of the dtypes that are read: {READ}.",
            )
        if dataset.chunks:
            require_size("one chunk", dataset.chunks, dataset.dtype.itemsize, file)
            require_decoders(pipeline(dataset), file)

    def _known_part(self, layout: StackLayout, member: Member) -> StackPart:
        """A data set where it was found before; StaleLayoutError where it is another one by now."""
        state, shape = self.files.state, _shape(layout, member)
        stale = StaleLayoutError(f"Reading {state.path}: its frames are not at {member.dataset} as before.")
        if member.file != state.path and state.signature != layout.signature:
            raise stale  # it may link to other files by now
        if os.path.realpath(member.file) != member.file:
            raise stale
        dataset = self.files.find(member.dataset, self.files.at(member.file, member.file))
        if not isinstance(dataset, h5py.Dataset) or dataset.dtype.str != layout.dtype:
            raise stale
        longer = list(dataset.shape)
        if layout.frames and len(longer) == len(shape):  # frames that have come since are not asked for
            longer[layout.frames[0]] = min(longer[layout.frames[0]], member.length)
        if tuple(longer) != shape:
            raise stale
        self._require_readable(member.dataset, dataset)
        positions = None
        if layout.images is not None:
            positions = np.concatenate([np.arange(low, high) for low, high in layout.images])
        view = _view(layout, shape)
        return StackPart(dataset, view, positions, (), RawChunks.of(dataset, view.axis))

    def _require_alike(self, part: StackPart) -> None:
        shape, dtype = part.view.frame_shape, _handed_over(part.dataset.dtype)
        if shape != self.shape or dtype != self.dtype:
            raise SourceError(
                f"Reading {self.files.state.path}: {part.dataset.name} has frames {shape} of {dtype}, "
                f"expected {self.shape} of {self.dtype} as in {self.leader.dataset.name}."
            )

    @property
    def filters(self) -> tuple[ChunkFilter, ...]:
        """The filters of the first data set that holds pixels: a virtual one is looked through."""
        leader = self.leader.dataset
        if leader.is_virtual:
            for mapping in virtual.sources(leader):
                try:
                    return pipeline(virtual.open_source(self.files, leader, mapping))
                except SourceError:
                    continue
        return pipeline(leader)

    @property
    def cuts(self) -> bool:
        """Whether a window of the frames may be read alone, and reading less of them saves work."""
        if self._layout is not None:
            return self._layout.cuts
        raw = self.leader.raw
        return raw is not None and raw.cuts and not self.leader.view.tiles and not self._tags

    def read(self, start: int, stop: int, out: np.ndarray, window: Window | None = None) -> None:
        """Frames start .. stop-1 into `out`, (n, height, width) C-contiguous, native byte order.

        window: the part of them to read, where the stack `cuts`.

        Raises NotYetError where one of them is not written, SourceError where a chunk is damaged.
        """
        if stop > self.frames:
            raise NotYetError(
                f"Reading {self.files.state.path}: frame {stop - 1} of {self.path} was asked for, it has {self.frames}."
            )
        done = 0
        for part, low, high in self._runs(start, stop):
            self._require_written(part, low, high, None if part.raw is None else part.raw.table)
            place = out[done : done + high - low]
            if part.raw is not None:
                for selection, target in part.view.parts(low, high, place, window):
                    part.raw.read(selection, target)
            elif window is not None:
                for selection, target in part.view.parts(low, high, place, window):
                    read_part(part.dataset, selection, target)
            else:
                part.view.read(part.dataset, low, high, place)
            done += high - low

    def present(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Of the frames start .. stop-1 those that are in the file, as ranges; a damaged one is."""
        try:
            for part, low, high in self._runs(start, min(stop, self.frames)):
                self._require_written(part, low, high)
        except StaleLayoutError:
            raise
        except SourceError as error:
            if stop - start == 1:
                return [] if isinstance(error, NotYetError) else [(start, stop)]
            middle = (start + stop) // 2
            return self.present(start, middle) + self.present(middle, stop)
        return [(start, min(stop, self.frames))] if start < self.frames else []

    def _runs(self, start: int, stop: int) -> Iterator[tuple[StackPart, int, int]]:
        """(part, first, one past the last of its images) that together are frames start .. stop-1."""
        offset = 0
        if self._tags:
            skipped = start // max(1, self.lengths[0])
            offset = skipped * self.lengths[0]
        else:
            skipped = 0
        for number in range(skipped, len(self.lengths)):
            length = self.lengths[number]
            low, high = max(start, offset) - offset, min(stop, offset + length) - offset
            if offset >= stop:
                return
            if low < high:
                part = self.part(number)
                for first, last in part.runs(low, high):
                    yield part, first, last
            offset += length

    def _require_written(self, part: StackPart, low: int, high: int, table: ChunkTable | None = None) -> None:
        per_entry = part.view.per_entry
        self._entries.require(part.dataset, part.view.axis, low // per_entry, -(-high // per_entry), table=table)


def _handed_over(stored: np.dtype[Any]) -> np.dtype[Any]:
    dtype = image_dtype(stored)
    assert dtype is not None, "checked by _require_readable"
    return dtype


def _shape(layout: StackLayout, member: Member) -> tuple[int, ...]:
    """The shape of a member's data set."""
    shape = list(layout.shape)
    if layout.frames:
        shape[layout.frames[0]] = member.length
    return tuple(shape)


def _view(layout: StackLayout, shape: tuple[int, ...]) -> View:
    """The roles of the axes of a member of this shape."""
    return View(shape, layout.frames, layout.tiles, layout.fixed, layout.rows, layout.columns)
