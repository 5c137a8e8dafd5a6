"""A hybrid logical clock: the time of this host, moved on past every stamp that was read."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

AHEAD_S = 600.0
"""A stamp further ahead of its file's own time comes from a clock that is wrong, and moves no other clock."""
STEP_S = 1e-6


class HybridClock:
    """Gives stamps that are later than every stamp it has adopted, and near the host's time where that allows it.

    clock: the host's, in Unix time; time.time if None.
    """

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        self._clock = clock
        self._latest = -math.inf

    def adopt(self, stamp: float, written: float) -> None:
        """Move on past a stamp that was read from a file last written at `written`, by the clock of its file system."""
        if stamp <= written + AHEAD_S:
            self._latest = max(self._latest, stamp)

    def tick(self) -> tuple[float, float]:
        """The host's time, and a stamp later than all that were adopted."""
        now = time.time() if self._clock is None else self._clock()
        return now, max(now, self._latest + STEP_S)
