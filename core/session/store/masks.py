"""Masks as PNG: a class a pixel, small enough for results.db."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from photon_triage.core.common.errors import SessionError

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
