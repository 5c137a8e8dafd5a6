"""Reading in this process: for the worker, for scripts and tests; an engine reads through `FrameReader`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from photon_triage.core.common.errors import SourceError
from photon_triage.core.frames import Window
from photon_triage.core.sources.common.file_probe import FileState, look, require_count, require_size
from photon_triage.core.sources.common.info import SourceInfo, StackLayout


class OpenFrames(Protocol):
    """The frames of a file, open until closed."""

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width)."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """The frames' dtype, native byte order."""

    def read(self, start: int, stop: int, out: np.ndarray) -> None:
        """Frames start .. stop-1 into `out`, (n, height, width)."""

    def present(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Of the frames start .. stop-1 those that are in the file, as ranges."""

    def close(self) -> None:
        """Let go of the file."""


@runtime_checkable
class WindowedFrames(OpenFrames, Protocol):
    """Frames of which a part can be read."""

    @property
    def cuts(self) -> bool:
        """Whether reading a window of these frames saves the work for the rest."""

    def read_window(self, start: int, stop: int, out: np.ndarray, window: Window) -> None:
        """A window of the frames start .. stop-1 into `out`, (n, *window.shape); for frames that it cuts."""


def inspect(
    path: str | os.PathLike[str],
    dataset: str | None = None,
    *,
    explain: bool = False,
    around: bool = False,
    any_image: bool = False,
    roots: Sequence[str] = (),
) -> SourceInfo:
    """What a file holds; `dataset` names one where the file has several.

    explain: look for what else could be taken for frames, which reads the names of everything in the file. around:
    tell in which files its frames lie. any_image: take a mask or a dark too, where the file holds nothing else. roots:
    folders, beside its own, to which its links may lead.
    Raises NotYetError where the file is worth another look, SourceError where it is not.
    """
    info, frames = probe(look(path, roots), dataset, explain=explain, around=around, any_image=any_image)
    if frames is not None:
        frames.close()
    return info


def probe(
    state: FileState,
    dataset: str | None = None,
    *,
    explain: bool = False,
    around: bool = False,
    any_image: bool = False,
) -> tuple[SourceInfo, OpenFrames | None]:
    """What a file holds, see `inspect`, and its frames where they are open already; the caller closes them."""
    info, frames = _probe(state, dataset, explain=explain, around=around, any_image=any_image)
    try:
        require_count(info.frames, info.path)
    except SourceError:
        if frames is not None:
            frames.close()
        raise
    return info, frames


def _probe(
    state: FileState, dataset: str | None, *, explain: bool, around: bool, any_image: bool
) -> tuple[SourceInfo, OpenFrames | None]:
    match state.format:
        case "HDF5":
            from photon_triage.core.sources.hdf5.source import probe_hdf5

            name = f"/{dataset.strip('/')}" if dataset else None
            return probe_hdf5(state, name, explain=explain, any_image=any_image, around=around)
        case "TIFF":
            from photon_triage.core.sources.tiff.source import probe_tiff

            return probe_tiff(state, explain=explain, any_image=any_image)
        case "MRC":
            from photon_triage.core.sources.mrc import inspect_mrc

            return inspect_mrc(state, any_image=any_image), None
        case _:
            from photon_triage.core.sources.cbf import inspect_image

            return inspect_image(state, any_image=any_image), None


def open_frames(state: FileState, dataset: str, layout: StackLayout | None = None) -> OpenFrames:
    """The frames of a file, open until closed.

    layout: where those of an HDF5 file were found before; reading raises StaleLayoutError where they are there no more.
    """
    match state.format:
        case "HDF5":
            from photon_triage.core.sources.hdf5.source import OpenStack

            return OpenStack.at(state, dataset, layout)
        case "TIFF":
            from photon_triage.core.sources.tiff.source import open_tiff

            return open_tiff(state)
        case "MRC":
            from photon_triage.core.sources.mrc import OpenSections

            return OpenSections(state)
        case _:
            from photon_triage.core.sources.cbf import OpenImages

            return OpenImages(state)


def require_range(start: int, stop: int, path: str) -> None:
    """SourceError where start .. stop-1 names no frames."""
    if not 0 <= start < stop:
        raise SourceError(f"Reading {path}: expected a range of frames, got {start} to {stop}.")


def read_frames(
    path: str | os.PathLike[str], dataset: str, start: int, stop: int, *, roots: Sequence[str] = ()
) -> np.ndarray:
    """Frames start .. stop-1, (n, height, width) in the file's dtype, native byte order.

    Raises NotYetError where one of them is not written yet, SourceError where one cannot be read.
    """
    state = look(path, roots)
    require_range(start, stop, state.path)
    frames = open_frames(state, dataset)
    try:
        shape = (stop - start, *frames.shape)
        require_size("the frames asked for", shape, frames.dtype.itemsize, state.path)
        out = np.empty(shape, frames.dtype)
        frames.read(start, stop, out)
        return out
    finally:
        frames.close()


def read_mask(info: SourceInfo, *, roots: Sequence[str] = ()) -> np.ndarray | None:
    """The mask of a file, (height, width) bool, True where a pixel is valid; None where the file has none."""
    if info.mask is None:
        return None
    from photon_triage.core.sources.hdf5.masks import read_hdf5_mask

    return read_hdf5_mask(look(info.path, roots), info.mask, info.dataset, info.shape, info.mask_bits)
