"""Text as a terminal shows it: widths in cells, durations, signs of states."""

from __future__ import annotations

import unicodedata

from photon_triage.core.common.text_safety import safe_text
from photon_triage.core.session.trainings.trainings import Training

__all__ = ["cells", "cut", "duration", "left", "progress", "safe_text", "state_sign"]

SIGNS = {
    "starting": "…", "preparing": "…", "running": "▶", "pausing": "‖", "paused": "‖", "stopping": "■", "scoring": "▶",
    "interrupted": "!", "done": "✓", "failed": "✗",
}  # fmt: skip


def state_sign(state: str) -> str:
    """A sign for a state that needs no colour."""
    return SIGNS.get(state, "?")


def duration(seconds: float) -> str:
    """A time in two units at most."""
    whole = round(seconds)
    if whole < 100:
        return f"{whole} s"
    if whole < 6000:
        return f"{whole / 60:.0f} min"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def left(training: Training) -> str:
    """The time of work that remains."""
    seconds = training.seconds_left
    return "" if seconds is None else duration(seconds)


def progress(training: Training, width: int) -> str:
    """How far a training is, as a bar."""
    full = round(training.share * width)
    return "█" * full + "░" * (width - full)


def cut(s: str, width: int) -> str:
    """The text in at most `width` terminal cells, its middle replaced by … where it is longer."""
    if cells(s) <= width:
        return s
    if width < 2:
        return s[:width] if cells(s[:width]) <= width else ""
    head = _take(s, (width - 1) // 2)
    tail = _take(s[::-1], width - 1 - cells(head))[::-1]
    return f"{head}…{tail}"


def cells(s: str) -> int:
    """How many terminal cells a text takes."""
    return len(s) if s.isascii() else sum(_cell(character) for character in s)


def _cell(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _take(s: str, width: int) -> str:
    used = 0
    for place, character in enumerate(s):
        used += _cell(character)
        if used > width:
            return s[:place]
    return s
