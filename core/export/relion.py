"""RELION STAR files of particle coordinates: a table of optics where the pixel size is known, and one of particles.

Sources: RELION's "Conventions" and "Particle set" (relion.readthedocs.io, release 4.0): coordinates in pixels of the
micrograph, z and rlnTomoName for tomograms, images of a stack as 000001@name.mrcs, TIFF files read from the last row.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from photon_triage.core.common.errors import ExportError
from photon_triage.core.export.content import SIMULATED, Content, plain_name, stem_of
from photon_triage.core.export.points import ORIGIN, TIFF_FLIPPED, Point, is_volume, pixel_angstrom, points_of
from photon_triage.core.export.text import write_lines

CLASSES = "rlnClassNumber 1: accepted, or at the threshold and not rejected; 2: any other candidate"


def write(content: Content, path: Path) -> dict[str, Any]:
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


def _lines(points: Sequence[Point], volume: bool, simulated: bool) -> Iterable[str]:
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


def _row(point: Point, optics: Sequence[float]) -> list[str]:
    name = plain_name(point.file.path, " \t\"'", "relion")
    if point.z is None and point.file.frames > 1:
        name = f"{point.index + 1:06d}@{name}"
    row = [name, f"{point.x:.3f}", f"{point.y:.3f}"]
    if point.z is not None:
        row += [f"{point.z:.3f}", stem_of(name)]
    row += [f"{point.score:.6f}", "1" if point.selected else "2"]
    size = pixel_angstrom(point.file)
    return [*row, str(optics.index(size) + 1)] if optics and size is not None else row


def star_table(name: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterable[str]:
    """A loop_ of a STAR file: columns with their numbers, then a row a line (Hall, J. Chem. Inf. 31, 326 (1991))."""
    yield from ("", f"data_{name}", "", "loop_")
    yield from (f"_{column} #{number}" for number, column in enumerate(columns, 1))
    yield from (" ".join(row) for row in rows)
    yield ""
