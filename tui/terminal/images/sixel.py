"""Sixel graphics: bands of six rows, each column of a band one character, each colour of it one pass."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from photon_triage.tui.terminal.images.bitmap import Bitmap

BAND = 6
BITS = (1 << np.arange(BAND)).astype(np.uint8)
SHORTEST_RUN = 4
"""`!4?` is no shorter than `???`, and no longer than `????`."""


def encode_sixel(bitmap: Bitmap, scale: int = 1) -> str:
    """The picture as a sixel string, each of its pixels `scale` by `scale` of the terminal's.

    Source: DEC VT330/VT340 Programmer Reference Manual, volume 2, chapter 14 (EK-VT3XX-GP).
    """
    pixels = bitmap.pixels.repeat(scale, axis=0).repeat(scale, axis=1) if scale > 1 else bitmap.pixels
    height, width = pixels.shape
    used = np.unique(pixels)
    # Colours are in percent. What a picture leaves out stays as it is (1), so that no background is painted.
    colours = (
        f"#{place};2;{';'.join(str(round(int(part) * 100 / 255)) for part in bitmap.palette[shade])}"
        for place, shade in enumerate(used.tolist())
    )
    places = {int(shade): place for place, shade in enumerate(used)}
    parts = [f'\x1bP0;1;0q"1;1;{width};{height}', *colours]
    for top in range(0, height, BAND):
        band = pixels[top : top + BAND]
        parts.append("$".join(f"#{places[int(shade)]}{_row(band, int(shade))}" for shade in np.unique(band)))
        parts.append("-")
    return "".join(parts) + "\x1b\\"


def _row(band: NDArray[np.uint8], shade: int) -> str:
    """One colour of a band, equal neighbours as runs; empty columns at the end are left away."""
    values = BITS[: len(band)] @ (band == shade)
    last = int(np.flatnonzero(values)[-1]) + 1
    values = values[:last]
    starts = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]]))
    lengths = np.diff(np.append(starts, last))
    return "".join(_run(chr(63 + int(values[s])), int(n)) for s, n in zip(starts, lengths, strict=True))


def _run(letter: str, length: int) -> str:
    return f"!{length}{letter}" if length >= SHORTEST_RUN else letter * length
