"""What is known of a detector file, and its frames, open for reading."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from photon_triage.core.common.errors import SourceError
from photon_triage.core.frames import GEOMETRY_FIELDS, Geometry, Window

Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Member:
    """A data set of a stack. file: real path. dataset: path in that file. length: along the axis that counts frames."""

    file: str
    dataset: str
    length: int


@dataclass(frozen=True, slots=True)
class StackLayout:
    """The data sets of a stack, and the axes that they have in common.

    signature: that of the named file when it was looked into (see FileState). shape, dtype: those of the first member,
    dtype as NumPy's string with byte order. frames, tiles, fixed, rows, columns: see View. images: which images of the
    only member are frames, as ranges, None for all. cuts: whether reading a window of a frame saves work.
    """

    signature: tuple[int, int, int, int]
    shape: tuple[int, ...]
    dtype: str
    frames: tuple[int, ...]
    tiles: tuple[int, ...]
    fixed: tuple[Range, ...]
    rows: int
    columns: int
    members: tuple[Member, ...]
    images: tuple[Range, ...] | None
    cuts: bool

    def to_json(self) -> dict[str, Any]:
        """The layout as what JSON can carry."""
        facts = {name: getattr(self, name) for name in self.__slots__}
        return facts | {"members": [(one.file, one.dataset, one.length) for one in self.members]}

    @staticmethod
    def from_json(facts: dict[str, Any]) -> StackLayout:
        """The inverse of `to_json`."""
        first, second, third, fourth = facts["signature"]
        pairs = facts["images"]
        return StackLayout(
            signature=(first, second, third, fourth),
            shape=tuple(facts["shape"]),
            dtype=facts["dtype"],
            frames=tuple(facts["frames"]),
            tiles=tuple(facts["tiles"]),
            fixed=tuple((axis, index) for axis, index in facts["fixed"]),
            rows=facts["rows"],
            columns=facts["columns"],
            members=tuple(Member(*member) for member in facts["members"]),
            images=None if pairs is None else tuple((low, high) for low, high in pairs),
            cuts=facts["cuts"],
        )


@dataclass(frozen=True, slots=True)
class Alternative:
    """Something in a file that could be taken for frames. refused: why it was not; "" where it may be named instead."""

    path: str
    shape: tuple[int, ...]
    dtype: str
    refused: str = ""


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What one look into a file told.

    path: absolute real path. format: "HDF5", "TIFF", "MRC", "CBF", "EDF" or "SMV". layout: the convention that was
    recognised. dataset: "" for all but HDF5; a group where its members data_000001, data_000002 ... are one stack; a
    path with "%" in the place of a group's name where each such group holds a frame. frames: the length of the stack.
    available: frames 0 .. available-1 hold what the detector wrote. complete: nothing more is expected; where then
    available < frames, the frames beyond are partly missing, and reading a missing one raises NotYetError.
    shape: (height, width). dtype: numpy name, native byte order. mask: path of the mask's data set. missing: what the
    file links to and is not there. proven: the file itself says of each available frame that it is written; where it
    does not, the last one may be written just now. reason: why these frames were taken. notes: how they were made of
    what is in the file. mask_bits: the values in the mask that make a pixel bad, in words. frame_axes: the lengths of
    the axes that the frames' index counts in C order, () where it counts one. shows: the real paths of the
    files that its frames lie in; shows_whole: frames there are frames here, not parts of them. shown_by: a file beside
    it that shows all its frames as its own; shown_with: what that one shows, where it shows them whole. alternatives:
    what else was there. These are told where they were asked for. stack: where the frames of an HDF5 file lie, for the
    reader that reads them.
    """

    path: str
    format: str
    layout: str
    dataset: str
    frames: int
    available: int
    complete: bool
    shape: tuple[int, int]
    dtype: str
    compression: str
    mask: str | None
    geometry: Geometry
    simulated: bool
    run: str
    missing: tuple[str, ...] = ()
    proven: bool = False
    reason: str = ""
    notes: tuple[str, ...] = ()
    mask_bits: tuple[str, ...] = ()
    frame_axes: tuple[int, ...] = ()
    shows: tuple[str, ...] = ()
    shows_whole: bool = False
    shown_by: str = ""
    shown_with: tuple[str, ...] = ()
    alternatives: tuple[Alternative, ...] = ()
    stack: StackLayout | None = None

    def to_json(self) -> dict[str, Any]:
        """These facts as what JSON can carry."""
        facts = {name: getattr(self, name) for name in self.__slots__}
        return facts | {
            "geometry": {name: getattr(self.geometry, name) for name in GEOMETRY_FIELDS},
            "alternatives": [asdict(other) for other in self.alternatives],
            "stack": None if self.stack is None else self.stack.to_json(),
        }

    @staticmethod
    def from_json(facts: dict[str, Any]) -> SourceInfo:
        """The inverse of `to_json`."""
        height, width = facts["shape"]
        told = {
            name: tuple(facts[name]) for name in ("missing", "notes", "mask_bits", "frame_axes", "shows", "shown_with")
        }
        others = tuple(Alternative(**{**other, "shape": tuple(other["shape"])}) for other in facts["alternatives"])
        stack = None if facts["stack"] is None else StackLayout.from_json(facts["stack"])
        kept = {
            "shape": (height, width),
            "geometry": Geometry(**facts["geometry"]),
            "alternatives": others,
            "stack": stack,
        }
        return SourceInfo(**{**facts, **told, **kept})


@dataclass(frozen=True, slots=True, eq=False)
class Survey:
    """Result of one file's survey: either `info` or `error`.

    frames: all frames of the file, (n, height, width) as `FrameReader.read` gives them, None where they are to be read
    later. valid: the mask that goes with them, (height, width) bool, True where a pixel is valid; None where the file
    has none, or where `frames` is None.
    """

    info: SourceInfo | None
    error: SourceError | None = None
    frames: NDArray[Any] | None = None
    valid: NDArray[np.bool_] | None = None


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


@dataclass(frozen=True, slots=True)
class ProbeOptions:
    """What to find out about a file.

    dataset: the data set that is read where a file has several, None for the one that its layout tells. explain: look
    for what else could be taken for frames, which reads the names of everything in the file. around: tell in which
    files its frames lie. any_image: take a mask or a dark too, where the file holds nothing else.
    """

    dataset: str | None = None
    explain: bool = False
    around: bool = False
    any_image: bool = False
