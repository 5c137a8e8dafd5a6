"""A picture in palette colours, made small enough for a slow line."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

BYTES_A_SECOND = 30_000
"""What pictures may take of a line."""
BYTES_A_PICTURE = 30_000
COARSENESS = (1, 2, 3, 4, 6, 8)
"""A picture that takes more is drawn with so many of the terminal's pixels for one of its own."""


@dataclass(frozen=True, eq=False)
class Bitmap:
    """pixels: (rows, columns) uint8, places in `palette`: (colours, 3) uint8, red, green, blue."""

    pixels: NDArray[np.uint8]
    palette: NDArray[np.uint8]


def png(bitmap: Bitmap) -> bytes:
    """The picture as a PNG with a palette of the colours in it."""
    used, places = np.unique(bitmap.pixels, return_inverse=True)
    picture = Image.fromarray(places.reshape(bitmap.pixels.shape).astype(np.uint8))
    picture.putpalette(bitmap.palette[used].tobytes())
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return file.getvalue()


def within_budget(encoded: Callable[[int], str]) -> str:
    """What `encoded` gives for the least coarseness at which it takes BYTES_A_PICTURE at most; else for the largest."""
    sent = ""
    for coarseness in COARSENESS:
        sent = encoded(coarseness)
        if len(sent) <= BYTES_A_PICTURE:
            break
    return sent
