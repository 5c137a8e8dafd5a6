"""Topaz's tables of particles: image_name, x_coord, y_coord and score, separated by tabs.

Source: topaz/utils/files.py of github.com/tbepler/topaz: names without the image's suffix, rows in the file's order.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from photon_triage.core.common.errors import ExportError
from photon_triage.core.export.content import Content, plain_name, stem_of
from photon_triage.core.export.points import ORIGIN, points_of, require_images
from photon_triage.core.export.text import write_lines

COLUMNS = ("image_name", "x_coord", "y_coord", "score")


def write(content: Content, path: Path) -> dict[str, Any]:
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
    write_lines(path, ["\t".join(COLUMNS), *lines])
    return {"coordinates": ORIGIN}
