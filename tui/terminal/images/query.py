"""Asks the terminal what it can draw: the answers come over the same line, within a moment or not at all."""

from __future__ import annotations

import os
import re
import select
import time
from dataclasses import dataclass, replace

PATIENCE_S = 1.0
"""How long an answer may take, over a slow line too."""
KITTY_QUERY = "\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\"
"""One pixel that is not to be kept (kitty graphics protocol, "Querying support")."""
CELL_QUERY = "\x1b[16t"
"""The size of a character cell in pixels (xterm control sequences, XTWINOPS)."""
ATTRIBUTES_QUERY = "\x1b[c"
"""Primary device attributes; every terminal answers these, so they end the wait. Attribute 4 is sixel graphics."""

_ATTRIBUTES = re.compile(rb"\x1b\[\?([0-9;]*)c")
_CELL = re.compile(rb"\x1b\[6;(\d+);(\d+)t")
_KITTY = re.compile(rb"\x1b_Gi=31;OK\x1b\\")
_SIXEL = b"4"


@dataclass(frozen=True, slots=True)
class Graphics:
    """What a terminal says of itself. cell: (height, width) of a character cell in pixels, None where it is silent."""

    answered: bool = False
    sixel: bool = False
    kitty: bool = False
    cell: tuple[int, int] | None = None


def ask_terminal(descriptor: int | None = None, patience_s: float = PATIENCE_S) -> Graphics:
    """Ask the controlling terminal, or the one with this descriptor; nothing is known where there is none."""
    import termios
    import tty

    opened = None
    try:
        if descriptor is None:
            descriptor = opened = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
        before = termios.tcgetattr(descriptor)
    except (OSError, termios.error):
        return Graphics()
    try:
        tty.setraw(descriptor, termios.TCSANOW)
        os.write(descriptor, (KITTY_QUERY + CELL_QUERY + ATTRIBUTES_QUERY).encode("ascii"))
        found = read_answer(_collected(descriptor, patience_s))
        return found if found.cell else replace(found, cell=_cell_by_system(descriptor))
    except OSError:
        return Graphics()
    finally:
        # What came too late must not be taken for keys.
        termios.tcsetattr(descriptor, termios.TCSAFLUSH, before)
        if opened is not None:
            os.close(opened)


def read_answer(answer: bytes) -> Graphics:
    """What the bytes that came back say."""
    attributes = _ATTRIBUTES.search(answer)
    cell = _CELL.search(answer)
    size = (int(cell[1]), int(cell[2])) if cell else None
    return Graphics(
        attributes is not None,
        attributes is not None and _SIXEL in attributes[1].split(b";")[1:],
        _KITTY.search(answer) is not None,
        size if size and all(0 < side <= 256 for side in size) else None,
    )


def _cell_by_system(descriptor: int) -> tuple[int, int] | None:
    """The size of a cell as the pseudo-terminal knows it; many do not."""
    import fcntl
    import struct
    import termios

    answer = fcntl.ioctl(descriptor, termios.TIOCGWINSZ, b"\0" * 8)
    rows, columns, width, height = struct.unpack("HHHH", answer)
    return (height // rows, width // columns) if rows and columns and width >= columns and height >= rows else None


def _collected(descriptor: int, patience_s: float) -> bytes:
    deadline, answer = time.monotonic() + patience_s, b""
    while _ATTRIBUTES.search(answer) is None and (left := deadline - time.monotonic()) > 0:
        ready, _, _ = select.select([descriptor], [], [], left)
        if not ready:
            break
        answer += os.read(descriptor, 4096)
    return answer
