"""IMOD's models of points, binary and as text.

Source: "IMOD Binary File Format, Version 1, Revision 2" (bio3d.colorado.edu/imod/doc/binspec.html): big-endian chunks
that begin with four letters; coordinates in pixels, x and y from the corner of the image, z from the middle of the
first slice. A point's score is its general value (chunk COST, type 10), as in libimod's istore.h.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from photon_triage.core.common.errors import ExportError
from photon_triage.core.export.list_content import CandidatePoint, ListContent, is_volume, points_of, write_lines
from photon_triage.core.session.store.rows import FileRow

ORIGIN = (
    "pixels as IMOD counts them: x, y from the image's lower left corner, so that the first pixel's middle is "
    "(0.5, 0.5); z from the middle of the first slice; rows of TIFF files count from the last one"
)
Z_FROM_HALF, NOT_BY_3DMOD = 1 << 10, 1 << 11
OPEN, SCATTERED = 1 << 3, 1 << 9
VALUE, IS_FLOAT = 10, 1 << 2
COLOURS = ((0.0, 1.0, 0.0), (1.0, 0.5, 0.0))
SYMBOL_CIRCLE, SYMBOL_SIZE = 0, 8
UNITS_ANGSTROM, UNITS_PIXEL = -10, 0


def write_model(content: ListContent, path: Path) -> dict[str, Any]:
    """A model of scattered points: the object "selected", and "other" for what a list of all holds beside them."""
    file, points = _points(content, "imod")
    groups = [("selected", [point for point in points if point.selected])]
    if others := [point for point in points if not point.selected]:
        groups.append(("other candidates", others))
    note = "simulated data" if content.simulated else ""
    with path.open("xb") as out:
        out.write(_header(file, len(groups), note, points))
        for (name, group), colour in zip(groups, COLOURS, strict=False):
            out.write(_object(f"{name}, {note}" if note else name, group, colour, content.box_size))
        out.write(b"IEOF")
    return {"coordinates": ORIGIN, "objects": [name for name, _ in groups], "score": "general value of each point"}


def write_points(content: ListContent, path: Path) -> dict[str, Any]:
    """`x y z` a line, for point2model."""
    _, points = _points(content, "imod-points")
    write_lines(path, (" ".join(f"{place:.2f}" for place in _place(point)) for point in points))
    return {"coordinates": ORIGIN}


def _points(content: ListContent, list_format: str) -> tuple[FileRow, list[CandidatePoint]]:
    file = content.only_file(list_format)
    if file.frames > 1 and not is_volume(file):
        raise ExportError(
            f"Could not list candidates of {file.path} as {list_format}: it is a stack of {file.frames} images.",
            "Export as relion, which numbers the images of a stack.",
        )
    return file, points_of(content, flip_tiff=True)


def _place(point: CandidatePoint) -> tuple[float, float, float]:
    return point.x + 0.5, point.y + 0.5, float(point.z or 0)


def _header(file: FileRow, objects: int, note: str, points: Sequence[CandidatePoint]) -> bytes:
    """The file's eight letters and the 232 bytes of the model."""
    name = f"photon-triage {note}".strip().encode("ascii").ljust(128, b"\0")
    deepest = max((point.z or 0 for point in points), default=0)
    sizes = (file.width, file.height, max(file.frames, deepest + 1))
    size_m = file.geometry.pixel_size
    pixel, units = (size_m * 1e10, UNITS_ANGSTROM) if size_m else (1.0, UNITS_PIXEL)
    return (
        b"IMODV1.2"
        + name
        + struct.pack(">4iI4i", *sizes, objects, Z_FROM_HALF | NOT_BY_3DMOD, 1, 1, 0, 255)
        + struct.pack(">6f", 0, 0, 0, 1, 1, 1)
        + struct.pack(">5i", 0, 0, 0, 3, 128)
        + struct.pack(">f2i3f", pixel, units, 0, 0, 0, 0)
    )


def _object(name: str, points: Sequence[CandidatePoint], colour: tuple[float, float, float], size: int) -> bytes:
    """An object of one contour that holds all the points, and their scores."""
    head = (
        b"OBJT"
        + name.encode("ascii").ljust(64, b"\0")
        + bytes(64)
        + struct.pack(">iIii", 1, OPEN | SCATTERED, 0, 1)
        + struct.pack(">3f", *colour)
        + struct.pack(">i", max(1, size // 2))
        + bytes((SYMBOL_CIRCLE, SYMBOL_SIZE, 1, 1, 0, 0, 0, 0))
        + struct.pack(">ii", 0, 0)
    )
    contour = b"CONT" + struct.pack(">iIii", len(points), 0, 0, 0)
    places = b"".join(struct.pack(">3f", *_place(point)) for point in points)
    items = b"".join(struct.pack(">hhif", VALUE, IS_FLOAT, number, point.score) for number, point in enumerate(points))
    return head + contour + places + (b"COST" + struct.pack(">i", len(items)) + items if points else b"")
