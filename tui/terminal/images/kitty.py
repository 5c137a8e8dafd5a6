"""The kitty graphics protocol with placeholders: the picture stands in cells of text, so that text moves and hides it.

Source: https://sw.kovidgoyal.net/kitty/graphics-protocol, "Unicode placeholders". kitty and Ghostty know them.
"""

from __future__ import annotations

import base64

from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from photon_triage.tui.terminal.images.bitmap import Bitmap, png
from photon_triage.tui.terminal.passthrough import passed_through
from photon_triage.tui.terminal.terminal import Multiplexer

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
