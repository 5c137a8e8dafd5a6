"""A picture in palette colours, made small enough for a slow line."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

BYTES_A_SECOND = 24_000
"""What pictures may take of a line: the next bitmap waits until it has taken the last, and so do half-blocks where a
list follows the newest; half-blocks after a key never wait."""
BYTES_A_PICTURE = 60_000
"""2.5 s of such a line; what sixels of a frame of 123 x 240 take on a screen of 120 x 40 lies below."""
COARSENESS = (1, 2, 3, 4, 6, 8, 12, 16)
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


def within_budget(encoded: Callable[[int], str], coarsest: int) -> str:
    """What `encoded` gives for the least coarseness at which it takes BYTES_A_PICTURE at most; "" where none does."""
    for coarseness in COARSENESS:
        if coarseness <= coarsest and len(sent := encoded(coarseness)) <= BYTES_A_PICTURE:
            return sent
    return ""
