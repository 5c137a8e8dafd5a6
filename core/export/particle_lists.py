"""Lists of particle coordinates for cryo-EM programs: RELION, Topaz, EMAN and crYOLO.

RELION's STAR files hold a table of optics where the pixel size is known, and one of particles. Sources: RELION's
"Conventions" and "Particle set" (relion.readthedocs.io, release 4.0): coordinates in pixels of the micrograph, z and
rlnTomoName for tomograms, images of a stack as 000001@name.mrcs, TIFF files read from the last row.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from photon_triage.core.common.errors import ExportError
from photon_triage.core.export.list_content import (
    ORIGIN,
    SIMULATED,
    TIFF_FLIPPED,
    CandidatePoint,
    ListContent,
    is_volume,
    pixel_angstrom,
    plain_name,
    points_of,
    require_images,
    stem_of,
    write_lines,
)

TOPAZ_COLUMNS = ("image_name", "x_coord", "y_coord", "score")

CLASSES = "rlnClassNumber 1: accepted, or at the threshold and not rejected; 2: any other candidate"

VERSION = "1.0"
UNKNOWN = "<NA>"
CRYOLO_COLUMNS = (
    *("CoordinateX", "CoordinateY", "CoordinateZ", "Width", "Height", "Depth"),
    *("EstWidth", "EstHeight", "Confidence", "NumBoxes", "Angle"),
)


def write_topaz(content: ListContent, path: Path) -> dict[str, Any]:
    """One table of all candidates; raises ExportError for a volume, and where two images have the same name."""
    points = points_of(content, flip_tiff=False)
    require_images(points, "topaz", "relion, cryolo or imod")
    names = {file: plain_name(stem_of(file), "\t", "topaz") for file in {point.file.path for point in points}}
    if len(set(names.values())) < len(names):
        raise ExportError(
            "Could not list candidates as topaz: images in several folders have the same name, and the table tells "
            "them apart by that.",
            "Export as relion, which lists whole paths.",
        )
    lines = ("\t".join([names[p.file.path], f"{p.x:.0f}", f"{p.y:.0f}", f"{p.score:.6f}"]) for p in points)
    write_lines(path, ["\t".join(TOPAZ_COLUMNS), *lines])
    return {"coordinates": ORIGIN}


def write_eman(content: ListContent, path: Path) -> dict[str, Any]:
    """The boxes of one image; raises ExportError for a volume."""
    content.only_file("eman")
    points, size = points_of(content, flip_tiff=True), content.box_size
    require_images(points, "eman", "relion, cryolo or imod")
    # floor(x - size/2 + 1/2): the pixel x is the box's own middle one, x + 1/2 the middle of that pixel.
    corners = [(math.floor(p.x + 0.5 - size / 2), math.floor(p.y + 0.5 - size / 2)) for p in points]
    write_lines(path, (f"{x}\t{y}\t{size}\t{size}" for x, y in corners))
    return {"coordinates": "lower left corner of each box, " + ORIGIN + TIFF_FLIPPED, "box_size": size}


def write_relion(content: ListContent, path: Path) -> dict[str, Any]:
    """One table of all candidates, with their scores as rlnAutopickFigureOfMerit.

    Raises ExportError where images and volumes would stand in one table, and for a name with a space.
    """
    points = points_of(content, flip_tiff=True)
    volumes = {is_volume(point.file) for point in points}
    if len(volumes) > 1:
        raise ExportError(
            "Could not list candidates of images and of volumes in one STAR file.",
            "Make a session for each kind; or export as cryolo or imod, a list for each file.",
        )
    write_lines(path, _lines(points, volumes == {True}, content.simulated))
    return {"coordinates": ORIGIN + TIFF_FLIPPED, "classes": CLASSES}


def star_table(name: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterable[str]:
    """A loop_ of a STAR file: columns with their numbers, then a row a line (Hall, J. Chem. Inf. 31, 326 (1991))."""
    yield from ("", f"data_{name}", "", "loop_")
    yield from (f"_{column} #{number}" for number, column in enumerate(columns, 1))
    yield from (" ".join(row) for row in rows)
    yield ""


def write_cryolo(content: ListContent, path: Path) -> dict[str, Any]:
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
            *star_table("cryolo", CRYOLO_COLUMNS, (_cryolo_row(point, size) for point in points)),
            *star_table("cryolo_include", ("slice_index",), ([str(number)] for number in slices)),
        ],
    )
    return {"coordinates": "lower left corner of each box, " + ORIGIN + TIFF_FLIPPED, "box_size": size}


def _lines(points: Sequence[CandidatePoint], volume: bool, simulated: bool) -> Iterable[str]:
    sizes = [pixel_angstrom(point.file) for point in points]
    optics = list(dict.fromkeys(size for size in sizes if size is not None)) if None not in sizes else []
    yield "# version 30001"
    if simulated:
        yield f"# {SIMULATED}"
    yield f"# {CLASSES}"
    if optics:
        size_name = "rlnTomoTiltSeriesPixelSize" if volume else "rlnMicrographPixelSize"
        rows = [(f"opticsGroup{n}", str(n), f"{size:.6f}") for n, size in enumerate(optics, 1)]
        yield from star_table("optics", ("rlnOpticsGroupName", "rlnOpticsGroup", size_name), rows)
    columns = ["rlnMicrographName", "rlnCoordinateX", "rlnCoordinateY"]
    columns += ["rlnCoordinateZ", "rlnTomoName"] if volume else []
    columns += ["rlnAutopickFigureOfMerit", "rlnClassNumber"] + (["rlnOpticsGroup"] if optics else [])
    yield from star_table("particles", columns, (_row(point, optics) for point in points))


def _row(point: CandidatePoint, optics: Sequence[float]) -> list[str]:
    name = plain_name(point.file.path, " \t\"'", "relion")
    if point.z is None and point.file.frames > 1:
        name = f"{point.index + 1:06d}@{name}"
    row = [name, f"{point.x:.3f}", f"{point.y:.3f}"]
    if point.z is not None:
        row += [f"{point.z:.3f}", stem_of(name)]
    row += [f"{point.score:.6f}", "1" if point.selected else "2"]
    size = pixel_angstrom(point.file)
    return [*row, str(optics.index(size) + 1)] if optics and size is not None else row


def _cryolo_row(point: CandidatePoint, size: int) -> list[str]:
    z, depth = (UNKNOWN, UNKNOWN) if point.z is None else (f"{point.z:.1f}", "1")
    corner = [f"{place + 0.5 - size / 2:.1f}" for place in (point.x, point.y)]
    return [*corner, z, str(size), str(size), depth, str(size), str(size), f"{point.score:.6f}", UNKNOWN, UNKNOWN]
