"""Encoders of pictures for terminals: sixel and kitty's protocol, small enough for a slow line."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from photon_triage.tui.terminal.terminal import Multiplexer, passed_through

BYTES_A_SECOND = 24_000
"""What pictures may take of a line: the next bitmap waits until it has taken the last, and so do half-blocks where a
list follows the newest; half-blocks after a key never wait."""
BYTES_A_PICTURE = 60_000
"""2.5 s of such a line; what sixels of a frame of 123 x 240 take on a screen of 120 x 40 lies below."""
COARSENESS = (1, 2, 3, 4, 6, 8, 12, 16)
"""A picture that takes more is drawn with so many of the terminal's pixels for one of its own."""
BAND = 6
BITS = (1 << np.arange(BAND)).astype(np.uint8)
SHORTEST_RUN = 4
"""`!4?` is no shorter than `???`, and no longer than `????`."""
CHUNK = 4096
"""Characters of base64 in one sequence at most."""
LARGEST_ID = 2**24 - 1
"""The id of a picture is the colour of its cells."""
PLACEHOLDER = "\U0010eeee"
_CODES = """
    305 30d 30e 310 312 33d 33e 33f 346 34a 34b 34c 350 351 352 357 35b 363 364 365 366 367 368 369 36a 36b 36c
    36d 36e 36f 483 484 485 486 487 592 593 594 595 597 598 599 59c 59d 59e 59f 5a0 5a1 5a8 5a9 5ab 5ac 5af 5c4
    610 611 612 613 614 615 616 617 657 658 659 65a 65b 65d 65e 6d6 6d7 6d8 6d9 6da 6db 6dc 6df 6e0 6e1 6e2 6e4
    6e7 6e8 6eb 6ec 730 732 733 735 736 73a 73d 73f 740 741 743 745 747 749 74a 7eb 7ec 7ed 7ee 7ef 7f0 7f1 7f3
"""
NUMBERS = tuple(chr(int(code, 16)) for code in _CODES.split())
"""The combining characters that stand for 0, 1, 2, ... beside a placeholder (rowcolumn-diacritics.txt)."""


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


def encode_kitty(bitmap: Bitmap, picture_id: int, columns: int, rows: int, multiplexer: Multiplexer = "") -> str:
    """The sequences that give the terminal a picture for so many cells, to be shown where placeholders name its id."""
    data = base64.b64encode(png(bitmap)).decode("ascii")
    chunks = [data[start : start + CHUNK] for start in range(0, len(data), CHUNK)]
    head = f"a=T,U=1,f=100,i={picture_id},c={columns},r={rows},q=2,"
    sequences = []
    for place, chunk in enumerate(chunks):
        more = int(place + 1 < len(chunks))
        sequences.append(f"\x1b_G{head if place == 0 else 'q=2,'}m={more};{chunk}\x1b\\")
    return "".join(passed_through(sequence, multiplexer) for sequence in sequences)


def delete_kitty(picture_id: int, multiplexer: Multiplexer = "") -> str:
    """The sequence that makes the terminal forget a picture."""
    return passed_through(f"\x1b_Ga=d,d=I,i={picture_id},q=2\x1b\\", multiplexer)


def placeholders(picture_id: int, columns: int, rows: int) -> list[Strip]:
    """The lines of cells that show the picture; none where it has more rows than can be named.

    The first cell of a line names row and column, the others follow from the one on their left.
    """
    if rows > len(NUMBERS):
        return []
    style = Style(color=Color.from_rgb(picture_id >> 16, picture_id >> 8 & 255, picture_id & 255))
    lines = []
    for row in range(rows):
        first = PLACEHOLDER + NUMBERS[row] + NUMBERS[0]
        lines.append(Strip([Segment(first + PLACEHOLDER * (columns - 1), style)], columns))
    return lines
