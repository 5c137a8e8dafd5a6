"""EMAN's .box files: `x y width height`, whole pixels, x and y the lower left corner of the box.

Source: blake.bcm.edu/emanwiki/Eman2OtherFiles, ".box files". EMAN's y runs from the bottom of the image, which is the
first row of an MRC or HDF5 file and the last one of a TIFF file.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from photon_triage.core.export.content import Content
from photon_triage.core.export.points import ORIGIN, TIFF_FLIPPED, points_of, require_images
from photon_triage.core.export.text import write_lines


def write(content: Content, path: Path) -> dict[str, Any]:
    """The boxes of one image; raises ExportError for a volume."""
    content.only_file("eman")
    points, size = points_of(content, flip_tiff=True), content.box_size
    require_images(points, "eman", "relion, cryolo or imod")
    # floor(x - size/2 + 1/2): the pixel x is the box's own middle one, x + 1/2 the middle of that pixel.
    corners = [(math.floor(p.x + 0.5 - size / 2), math.floor(p.y + 0.5 - size / 2)) for p in points]
    write_lines(path, (f"{x}\t{y}\t{size}\t{size}" for x, y in corners))
    return {"coordinates": "lower left corner of each box, " + ORIGIN + TIFF_FLIPPED, "box_size": size}
