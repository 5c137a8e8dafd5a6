"""HDF5 files: what is in them, and their frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from typing import Any

import h5py
import numpy as np

from photon_triage.core.common.errors import NotYetError, SourceError
from photon_triage.core.frames import Window
from photon_triage.core.sources.common.file_probe import ABANDONED, FileState, translated
from photon_triage.core.sources.common.info import ProbeOptions, SourceInfo, StackLayout
from photon_triage.core.sources.common.names import printable, run_name
from photon_triage.core.sources.hdf5.availability import Settling, written
from photon_triage.core.sources.hdf5.chunks.filters import compression
from photon_triage.core.sources.hdf5.duplicate_views import frame_files
from photon_triage.core.sources.hdf5.layouts import ended, find_layout, named_layout, search, simulated
from photon_triage.core.sources.hdf5.layouts.layout import Layout
from photon_triage.core.sources.hdf5.links import OpenFiles
from photon_triage.core.sources.hdf5.masks import (
    FEW_LEFT,
    LEAST_LEFT,
    PER_FRAME,
    MaskCheck,
    read_hdf5_mask,
    view_of_mask,
)
from photon_triage.core.sources.hdf5.stack import FrameStack, StackPart
from photon_triage.core.sources.hdf5.virtual import coverage_notes

_settling = Settling()
_masks = MaskCheck()


def probe(state: FileState, options: ProbeOptions) -> tuple[SourceInfo, OpenStack]:
    """What an HDF5 file holds, and its frames, open for reading; raises SourceError, NotYetError."""
    dataset = f"/{options.dataset.strip('/')}" if options.dataset else None
    with translated(state.path), ExitStack() as opened:
        files = opened.enter_context(OpenFiles(state))
        over = ended(files)
        layout = find_layout(files, any_image=options.any_image) if dataset is None else named_layout(files, dataset)
        stack = FrameStack(files, layout.dataset)
        _require_frames(state, stack)
        told = written(files, stack, ended=over, expected=layout.expected, settling=_settling)
        view = stack.leader.view
        mask, mask_note = _mask(files, layout, stack)
        further = search.further_frames(files, layout.dataset, stack.shape)
        gaps = coverage_notes(stack.leader.dataset, view.per_entry) if view.axis == 0 else ()
        notes = (*layout.notes, *stack.leader.notes, *gaps, *mask_note, *further, *files.remarks)
        shown = None
        with suppress(SourceError), translated(state.path):  # what it links to may be damaged: that is told elsewhere
            shown = frame_files(files, stack) if options.around else None
        info = SourceInfo(
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
            mask=mask,
            geometry=layout.geometry,
            simulated=simulated(files),
            run=printable(layout.run or run_name(state.path, one_of_many=False)),
            missing=tuple(map(printable, told.missing)),
            proven=told.proven,
            reason=printable(layout.reason),
            notes=tuple(dict.fromkeys(map(printable, notes))),
            mask_bits=layout.mask_rule.words if mask else (),
            frame_axes=tuple(view.shape[axis] for axis in view.frames) if len(view.frames) > 1 else (),
            shows=tuple(sorted(shown.files)) if shown else (),
            shows_whole=shown is not None and shown.whole,
            alternatives=search.others(files, layout.dataset) if options.explain else (),
            stack=stack.layout(),
        )
        opened.pop_all()  # the files stay open, for reading
        return info, OpenStack(files, stack)


def open_frames(state: FileState, dataset: str, layout: StackLayout | None = None) -> OpenStack:
    """The stack at a path of a file, open until closed. layout: where it was found before, see FrameStack."""
    with translated(state.path), ExitStack() as opened:
        files = opened.enter_context(OpenFiles(state, lazily=layout is not None))
        stack = FrameStack(files, dataset, layout)
        opened.pop_all()
        return OpenStack(files, stack)


def read_mask(state: FileState, info: SourceInfo) -> np.ndarray:
    """The mask of a file's frames, (height, width) bool, True where a pixel is valid."""
    assert info.mask is not None
    return read_hdf5_mask(state, info.mask, info.dataset, info.shape, info.mask_bits)


def _require_frames(state: FileState, stack: FrameStack) -> None:
    """SourceError, or NotYetError while frames may come, where a file holds images and none of them is a frame."""
    if stack.frames or stack.leader.positions is None:
        return
    reason = f"Reading {state.path}: none of its images is a frame ({'; '.join(stack.leader.notes)})."
    if state.age > ABANDONED:
        raise SourceError(reason, "Name another data set if it holds one.")
    raise NotYetError(reason, "It is looked at again.")


def _mask(files: OpenFiles, layout: Layout, stack: FrameStack) -> tuple[str | None, tuple[str, ...]]:
    """The mask's path where it fits the frames, and what is to be said of it."""
    if layout.mask is None:
        return None, ()
    node = files.optional(layout.mask)
    view = view_of_mask(node, stack.leader.view, stack.shape) if isinstance(node, h5py.Dataset) else None
    if view is None:
        return None, (f"the mask {layout.mask} is not of the frames' shape, and is passed over",)
    left = _masks.left(files, layout.mask, view, stack.shape, layout.mask_rule)
    if left is not None and left < LEAST_LEFT:
        told = f"the mask {layout.mask} leaves {100 * left:.2g} % of the pixels and is not used"
        return None, (f"{told}: is it the other way round?",)
    notes: tuple[str, ...] = (PER_FRAME,) if view.frames and view.count > 1 else ()
    if left is not None and left < FEW_LEFT:
        notes += (f"the mask {layout.mask} leaves {100 * left:.2g} % of the pixels",)
    return layout.mask, notes


class OpenStack:
    """A stack kept open for reading."""

    def __init__(self, files: OpenFiles, stack: FrameStack) -> None:
        self.state, self._files, self.stack = files.state, files, stack

    @property
    def dtype(self) -> np.dtype[Any]:
        """The frames' dtype."""
        return self.stack.dtype

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width)."""
        return self.stack.shape

    @property
    def cuts(self) -> bool:
        """Whether reading a window of the frames saves the work for the rest."""
        return self.stack.cuts

    def read(self, start: int, stop: int, out: np.ndarray) -> None:
        """Frames start .. stop-1 into `out`, (n, height, width)."""
        with translated(self.state.path):
            self.stack.read(start, stop, out)

    def read_window(self, start: int, stop: int, out: np.ndarray, window: Window) -> None:
        """A window of the frames start .. stop-1 into `out`, (n, *window.shape)."""
        with translated(self.state.path):
            self.stack.read(start, stop, out, window)

    def present(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Of the frames start .. stop-1 those that are in the file, as ranges."""
        with translated(self.state.path):
            return self.stack.present(start, stop)

    def close(self) -> None:
        """Let go of the files."""
        self._files.close()


def event_names(state: FileState, dataset: str, indices: Sequence[int]) -> list[str]:
    """The names of these frames: //7, //5/2 where two axes count frames, tag-123// where a group holds each.

    Raises SourceError where the file cannot be read, or has no such frame.
    """
    with translated(state.path), OpenFiles(state) as files:
        stack = FrameStack(files, dataset)
        if indices and not 0 <= min(indices) <= max(indices) < stack.frames:
            raise SourceError(f"Reading {state.path}: {dataset} has {stack.frames} frames, not frame {max(indices)}.")
        return list(_event_names(stack, indices))


def _event_names(stack: FrameStack, indices: Sequence[int]) -> Iterator[str]:
    if stack.tags:
        for index in indices:
            number, inner = divmod(index, stack.lengths[0])
            groups = zip(stack.path.strip("/").split("/"), stack.tags[number].strip("/").split("/"), strict=True)
            yield "/".join(name for pattern, name in groups if pattern == "%") + "//" + _index_of(stack.leader, inner)
    elif len(stack.lengths) > 1:  # one stack of many data sets, as the master file shows it
        yield from (f"//{index}" for index in indices)
    else:
        yield from (f"//{_index_of(stack.leader, index) or 0}" for index in indices)


def _index_of(part: StackPart, frame: int) -> str:
    """The index along each axis of frames, "" where there is none."""
    image = frame if part.positions is None else int(part.positions[frame])
    lengths = [part.view.shape[axis] for axis in part.view.frames]
    return "/".join(str(int(place)) for place in np.unravel_index(image, lengths)) if lengths else ""
