from __future__ import annotations

from collections.abc import Callable

import pytest

from .scale import SOAK


@pytest.fixture
def figure(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Says what was measured; the end of the test run prints it."""

    def say(text: str) -> None:
        record_property("figure", f"{text}{' (soak)' if SOAK > 1 else ''}")

    return say
