"""Masks as PNG: a class a pixel, small enough for results.db."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

LEVEL = 3
"""Of zlib: a mask of few classes gains nothing from more."""


def mask_bytes(values: NDArray[np.uint8]) -> bytes:
    """A PNG, 8 bit grey, of a mask (height, width)."""
    buffer = BytesIO()
    Image.fromarray(values).save(buffer, "PNG", compress_level=LEVEL)
    return buffer.getvalue()


def mask_from_bytes(png: bytes) -> NDArray[np.uint8]:
    """The mask (height, width) of a PNG that mask_bytes made."""
    with Image.open(BytesIO(png)) as image:
        return np.asarray(image, np.uint8)
