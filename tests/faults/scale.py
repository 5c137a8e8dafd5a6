"""How much the faults tests try: little in a test run, much by `make soak`."""

from __future__ import annotations

import os

SOAK = int(os.environ.get("PHOTON_TRIAGE_SOAK", "1"))
"""The counts of a test run are multiplied by this, each up to what it is worth."""


def scaled(count: int, most: int) -> int:
    """How many to try."""
    return min(count * SOAK, most)
