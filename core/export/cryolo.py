"""crYOLO's .cbox files since 1.8: a STAR file with the boxes of one image or volume and their confidence.

Source: the tables that crYOLO writes and reads (cryolo/CoordsIO.py, write_cbox_file): `global` with the format's
version, `cryolo` with the boxes by their lower left corner, `cryolo_include` with the slices that hold boxes;
<NA> stands for what is not known.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from photon_triage.core.common.errors import ExportError
from photon_triage.core.export.content import SIMULATED, Content
from photon_triage.core.export.points import ORIGIN, TIFF_FLIPPED, Point, is_volume, points_of
from photon_triage.core.export.relion import star_table
from photon_triage.core.export.text import write_lines

VERSION = "1.0"
UNKNOWN = "<NA>"
COLUMNS = (
    *("CoordinateX", "CoordinateY", "CoordinateZ", "Width", "Height", "Depth"),
    *("EstWidth", "EstHeight", "Confidence", "NumBoxes", "Angle"),
)


def write(content: Content, path: Path) -> dict[str, Any]:
    """The boxes of one image or volume; raises ExportError for a stack of images."""
    file = content.only_file("cryolo")
    if file.frames > 1 and not is_volume(file):
        raise ExportError(
            f"Could not list candidates of {file.path} as cryolo: it is a stack of {file.frames} images.",
            "Export as relion, which numbers the images of a stack.",
        )
    points, size = points_of(content, flip_tiff=True), content.box_size
    head = [f"# {SIMULATED}"] if content.simulated else []
    slices = sorted({point.z for point in points if point.z is not None})
    write_lines(
        path,
        [
            *head,
            *("", "data_global", "", f"_cbox_format_version {VERSION}"),
            *star_table("cryolo", COLUMNS, (_row(point, size) for point in points)),
            *star_table("cryolo_include", ("slice_index",), ([str(number)] for number in slices)),
        ],
    )
    return {"coordinates": "lower left corner of each box, " + ORIGIN + TIFF_FLIPPED, "box_size": size}


def _row(point: Point, size: int) -> list[str]:
    z, depth = (UNKNOWN, UNKNOWN) if point.z is None else (f"{point.z:.1f}", "1")
    corner = [f"{place + 0.5 - size / 2:.1f}" for place in (point.x, point.y)]
    return [*corner, z, str(size), str(size), depth, str(size), str(size), f"{point.score:.6f}", UNKNOWN, UNKNOWN]
