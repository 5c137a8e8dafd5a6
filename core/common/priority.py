"""The priority of long work beside an engine and screens."""

from __future__ import annotations

import os
from contextlib import suppress

LOW_PRIORITY = 10


def lower_priority() -> None:
    """Let the engine and the screens go first on this machine's cores."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, max(os.getpriority(os.PRIO_PROCESS, 0), LOW_PRIORITY))
