"""Which of the frames at a stack's end are written, where the file does not tell: those that hold something."""

from __future__ import annotations

from collections.abc import Callable


def without_blank_end(count: int, is_blank: Callable[[int], bool]) -> int:
    """`count` without the frames at the end that are blank, found by bisection.

    Frames are written in order: before a frame that holds something, all are written.
    """
    low, high, probe = 0, count, count - 1
    while low < high:
        low, high = (low, probe) if is_blank(probe) else (probe + 1, high)
        probe = (low + high) // 2
    return low
