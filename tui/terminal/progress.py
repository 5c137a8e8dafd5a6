"""How far a training is, in words for commands and screens."""

from __future__ import annotations

from photon_triage.core.session.trainings.trainings import Training

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
