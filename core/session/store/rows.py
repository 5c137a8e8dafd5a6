"""What stands in results.db: files, frames, candidates, boxes and masks."""

from __future__ import annotations

from dataclasses import dataclass, field
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from photon_triage.core.candidates import Candidate
from photon_triage.core.common.errors import SessionError
from photon_triage.core.frames import Box, FrameKey, Geometry
from photon_triage.core.session.state import FileStatus

HISTORY_BIN_S = 10
"""Seconds whose frames and hits are counted together in the history."""
LARGEST_PIXELS = 2**26
"""Of a mask: a frame of 8192 x 8192."""
LEVEL = 3
"""Of zlib: a mask of few classes gains nothing from more."""


def mask_bytes(values: NDArray[np.uint8]) -> bytes:
    """A PNG, 8 bit grey, of a mask (height, width)."""
    buffer = BytesIO()
    Image.fromarray(values).save(buffer, "PNG", compress_level=LEVEL)
    return buffer.getvalue()


def mask_from_bytes(png: bytes) -> NDArray[np.uint8]:
    """The mask (height, width) of a PNG that mask_bytes made; raises SessionError for anything else."""
    try:
        # PNG alone: for other formats, such as EPS, Pillow runs other programs.
        with Image.open(BytesIO(png), formats=("PNG",)) as image:
            if image.mode != "L" or image.width * image.height > LARGEST_PIXELS:
                raise ValueError(f"it has {image.width} x {image.height} pixels of the kind {image.mode}")
            return np.asarray(image, np.uint8)
    except (OSError, SyntaxError, ValueError, TypeError, Image.DecompressionBombError) as error:
        raise SessionError(f"Could not read a mask in results.db: {error}.", "Score the frame again.") from error


@dataclass(frozen=True, slots=True)
class FileRow:
    """A file of the ledger.

    frames: as long as the data set is said to be. done: how many of them are recorded. status: waiting, reading,
    complete, missing or unreadable; reason: what is waited for, what is missing, why it cannot be read. notes: on how
    its frames were made of what is in it, and on what was left out.
    """

    id: int
    path: str
    dataset: str
    run: str
    layout: str
    height: int
    width: int
    dtype: str
    geometry: Geometry
    simulated: bool
    frames: int
    done: int
    status: FileStatus
    reason: str
    size: int
    mtime_ns: int
    updated: float
    device: int = 0
    inode: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Detection:
    """A box of a class with its score, in pixels of the whole frame."""

    category: str
    score: float
    box: Box


@dataclass(frozen=True, slots=True, eq=False)
class ClassMap:
    """The class of every pixel of a frame.

    values: (height, width) uint8, places among `classes`. top, left: where the map begins in the whole frame.
    background: the class that is no object.
    """

    values: NDArray[np.uint8]
    classes: tuple[str, ...]
    top: int = 0
    left: int = 0
    background: int = 0


@dataclass(frozen=True, slots=True)
class FrameRow:
    """What is known of a frame, or of a candidate on one: then the key has a point and the score is the candidate's."""

    id: int
    key: FrameKey
    run: str
    seen: float
    passed: int
    hit: bool
    score: float | None
    digest: str | None
    measures: dict[str, float]
    frame_id: int = 0
    """The frame itself; the same as `id` unless this is a candidate."""


@dataclass(frozen=True, slots=True)
class FrameResult:
    """What the engine records of a frame."""

    index: int
    passed: int
    hit: bool
    score: float | None = None
    model: str | None = None
    digest: str | None = None
    measures: dict[str, float] = field(default_factory=dict)
    detections: tuple[Detection, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    mask: ClassMap | None = None


@dataclass(frozen=True, slots=True)
class Counts:
    """How many files and frames stand in the ledger."""

    files: int = 0
    unreadable: int = 0
    waiting: int = 0
    frames: int = 0
    """Frames scored."""
    pending: int = 0
    """Frames known and not scored yet."""
    dropped: int = 0
    """Frames known that cannot be read: missing, damaged, or of a file that became unreadable."""
    hits: int = 0
    simulated: bool = False
    candidates: int = 0
    missing: int = 0
    """Files that name something that is not there."""
    noted: int = 0
    """Files with notes."""
