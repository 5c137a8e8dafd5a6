"""Values that cost something to tell, told again when there is a reason and not too often."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

REST_FACTOR = 8.0
"""A query is asked again no sooner than this many times as long as it took, so that a large session stays cheap."""


class Paced(Generic[T]):
    """A value that is computed again when its key changed, but rests in proportion to what it cost."""

    def __init__(self, value: T) -> None:
        self.value = value
        self._key: object = None
        self._next = 0.0

    def get(self, key: object, compute: Callable[[], T], *, now: bool = False) -> T:
        """The value for that key, or the last one while it rests and `now` is not set."""
        begun = time.monotonic()
        if key != self._key and (now or begun >= self._next):
            self.value = compute()
            self._key = key
            ended = time.monotonic()
            self._next = ended + REST_FACTOR * (ended - begun)
        return self.value
