"""Waiting for conditions: the only way in which tests let time pass."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_S = 180.0
INTERVAL_S = 0.02


def wait_until(condition: Callable[[], object], within: float = PATIENCE_S, what: Callable[[], object] = str) -> None:
    """Wait until a condition holds.

    Fails after `within` seconds, with the text of what `what` returns then.
    """
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, f"No such state within {within:g} s. {what()}"
        time.sleep(INTERVAL_S)
