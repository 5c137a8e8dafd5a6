"""What a frame is: its key, the geometry it was taken with, and a batch of them on the way through the stages."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

PLANCK_EV_M = 1.239841984e-6
"""Planck's constant times the speed of light, in eV m (CODATA 2018)."""
HIGHEST_INDEX = 10**9
"""The highest index of a frame that is believed: no file holds as many."""
LATEST_TIME = 253402300799.0
"""The end of the year 9999, the last time that can be written as a date."""


@dataclass(frozen=True, slots=True, order=True)
class FrameKey:
    """The name of a frame everywhere: absolute path, data set ("" for TIFF), 0-based index.

    With a point, (x, y) in pixels of the whole frame, it names a candidate on that frame.
    """

    file: str
    dataset: str
    index: int
    point: tuple[int, int] | tuple[()] = ()

    @property
    def frame(self) -> FrameKey:
        """The frame itself, without a point."""
        return FrameKey(self.file, self.dataset, self.index) if self.point else self

    def at(self, x: int, y: int) -> FrameKey:
        """The candidate at a pixel of this frame."""
        return FrameKey(self.file, self.dataset, self.index, (x, y))


@dataclass(frozen=True, slots=True)
class Geometry:
    """Where the detector stood; what is unknown is None.

    Energies in eV, lengths in m, the beam centre in pixels of the whole frame (x along a row, y down the rows).
    """

    photon_energy_ev: float | None = None
    detector_distance: float | None = None
    pixel_size: float | None = None
    beam_center_x: float | None = None
    beam_center_y: float | None = None

    @property
    def wavelength(self) -> float | None:
        """Wavelength in m."""
        return None if not self.photon_energy_ev else PLANCK_EV_M / self.photon_energy_ev

    def over(self, other: Geometry) -> Geometry:
        """This geometry, with what it leaves open taken from `other`."""
        return Geometry(
            *(
                mine if mine is not None else theirs
                for mine, theirs in zip(
                    (getattr(self, f) for f in GEOMETRY_FIELDS),
                    (getattr(other, f) for f in GEOMETRY_FIELDS),
                    strict=True,
                )
            )
        )


GEOMETRY_FIELDS = ("photon_energy_ev", "detector_distance", "pixel_size", "beam_center_x", "beam_center_y")


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle on a frame, in pixels of the whole frame: left, top, width, height."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Window:
    """A rectangle of pixels of the whole frame: first row, first column, height, width."""

    top: int
    left: int
    height: int
    width: int

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width)."""
        return self.height, self.width

    @property
    def rows(self) -> slice:
        """Its rows in the frame."""
        return slice(self.top, self.top + self.height)

    @property
    def columns(self) -> slice:
        """Its columns in the frame."""
        return slice(self.left, self.left + self.width)

    def is_part_of(self, shape: tuple[int, int]) -> bool:
        """Whether it lies within frames of (height, width), and is not all of them."""
        inside = self.top + self.height <= shape[0] and self.left + self.width <= shape[1]
        return inside and self.shape != shape and min(self.top, self.left, self.height - 1, self.width - 1) >= 0


def as_counts(raw: np.ndarray, valid: NDArray[np.bool_] | None = None) -> np.ndarray:
    """Frames as signed counts in which gaps are negative.

    raw: any numeric dtype. valid: the file's mask, None where it tells none; see `marks_gaps`.
    Returns what torch can hold: int16, int32 and float32 as they are, others as float32.
    """
    if marks_gaps(raw.dtype, masked=valid is not None):
        return np.where(raw == np.iinfo(raw.dtype).max, np.float32(-1), raw.astype(np.float32))
    if raw.dtype in (np.int16, np.int32, np.float32, np.uint8):
        return raw
    return raw.astype(np.float32)


def marks_gaps(dtype: np.dtype[Any], *, masked: bool) -> bool:
    """Whether the largest value of a dtype stands for a gap, as DECTRIS's detectors write it.

    Of 32 and 64 bits it always does: no detector counts so far. Of 16 bits it does where the file has no mask; where a
    mask tells the gaps, such a pixel outside it is saturated, and counts. Of 8 bits it is a count.
    """
    return dtype.kind == "u" and dtype.itemsize > (2 if masked else 1)


@dataclass(frozen=True)
class Batch:
    """Frames of one data set on their way through the stages.

    keys: one per frame. frames: (batch, height, width) as they were stored, or (batch, *window.shape) where only that
    part of them was read. valid: (height, width) bool of the whole frame, or None where the file tells no mask.
    geometry: that of the file, completed from the recipe. classes: (batch, height, width) uint8, each pixel's place
    among `class_names`, once a stage has segmented the frames. whole: (height, width) of the whole frame, for a window.
    """

    keys: tuple[FrameKey, ...]
    frames: torch.Tensor
    valid: torch.Tensor | None
    geometry: Geometry
    classes: torch.Tensor | None = None
    class_names: tuple[str, ...] = ()
    window: Window | None = None
    whole: tuple[int, int] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of the whole frame."""
        return self.whole or (self.frames.shape[-2], self.frames.shape[-1])

    def cut(self, rows: slice, columns: slice) -> torch.Tensor:
        """These rows and columns of the whole frame, (batch, rows, columns); they must have been read."""
        if self.window is None:
            return self.frames[:, rows, columns]
        top, left = self.window.top, self.window.left
        inside = min(rows.start - top, columns.start - left) >= 0
        if not inside or rows.stop - top > self.window.height or columns.stop - left > self.window.width:
            raise ValueError(f"Expected rows and columns inside {self.window}. Got {rows} and {columns} instead.")
        return self.frames[:, rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]

    def __len__(self) -> int:
        return len(self.keys)

    def select(self, keep: torch.Tensor) -> Batch:
        """The frames where `keep` ((batch,) bool) is true."""
        chosen = tuple(key for key, kept in zip(self.keys, keep.tolist(), strict=True) if kept)
        classes = None if self.classes is None else self.classes[keep]
        return replace(self, keys=chosen, frames=chosen_frames(self.frames, keep), classes=classes)


def chosen_frames(frames: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
    """The frames (batch, ...) of any type where `keep` ((batch,) bool) is true.

    torch 2.8 cannot index unsigned integers of more than 8 bits: their bits are taken as signed ones meanwhile.
    """
    signed = signed_type(frames.dtype)
    return frames[keep] if signed is None else frames.view(signed)[keep].view(frames.dtype)


def signed_type(dtype: torch.dtype) -> torch.dtype | None:
    """The signed type of the size of an unsigned one of more than 8 bits, in which torch computes little."""
    import torch  # here alone: whoever reads keys and geometries does without it

    return {torch.uint16: torch.int16, torch.uint32: torch.int32, torch.uint64: torch.int64}.get(dtype)
