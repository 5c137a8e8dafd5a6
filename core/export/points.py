"""Candidates as points of an image or a volume, for lists of particles."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from photon_triage.core.common.errors import ExportError
from photon_triage.core.export.list_content import Content
from photon_triage.core.export.table import TableRow
from photon_triage.core.session.store.rows import FileRow

ANGSTROM_M = 1e-10
ORIGIN = (
    "pixels from the middle of the first pixel (0, 0); x along a row, y from row to row as the file has them, z the "
    "slice from 0"
)
TIFF_FLIPPED = "; rows of TIFF files count from the last one, as RELION, EMAN, crYOLO and IMOD read them"
_TIFF = (".tif", ".tiff", ".btf", ".tf8", ".stk", ".lsm")
_STACK = ".mrcs"


@dataclass(frozen=True, slots=True)
class Point:
    """A candidate: x, y in pixels, z the slice of a volume or None on an image, and whether it is selected."""

    file: FileRow
    index: int
    x: float
    y: float
    z: int | None
    score: float
    selected: bool


def is_volume(file: FileRow) -> bool:
    """Whether the frames of a file are slices of one volume: there are several, and it is no stack of images."""
    return file.frames > 1 and not file.path.lower().endswith(_STACK)


def points_of(content: Content, *, flip_tiff: bool) -> list[Point]:
    """The selected candidates, image by image, best first.

    flip_tiff: count the rows of a TIFF file from its last one, as programs do that put y = 0 at the bottom. `selected`
    says of each whether it is accepted, or scores at least the threshold and is not rejected.
    """
    return sorted(
        (_point(content, row, flip_tiff) for row in content.rows if row.frame.key.point),
        key=lambda point: (point.file.path, point.index, -point.score, point.y, point.x),
    )


def require_images(points: Iterable[Point], list_format: str, instead: str) -> None:
    """Raise ExportError where a candidate lies in a volume or on one image of a stack."""
    for point in points:
        if point.z is not None or point.file.frames > 1:
            raise ExportError(
                f"Could not list candidates of {point.file.path} as {list_format}: it holds {point.file.frames} "
                "slices, and the format knows one image a file.",
                f"Export as {instead}, which have a third coordinate.",
            )


def pixel_angstrom(file: FileRow) -> float | None:
    """The pixel's size in ångström, None where it is not known."""
    return file.geometry.pixel_size / ANGSTROM_M if file.geometry.pixel_size else None


def _point(content: Content, row: TableRow, flip_tiff: bool) -> Point:
    frame, file = row.frame, content.files[row.frame.key.file]
    column, line = frame.key.point or (0, 0)
    flipped = flip_tiff and file.path.lower().endswith(_TIFF)
    return Point(
        file,
        frame.key.index,
        float(column),
        float(file.height - 1 - line if flipped else line),
        frame.key.index if is_volume(file) else None,
        frame.score or 0.0,
        content.selection.chooses(frame, row.label),
    )
