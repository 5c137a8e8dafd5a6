"""How far scores agree with the labels, at one threshold and at those of a table."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Generic, TypeVar

from photon_triage.core.metrics import Confusion
from photon_triage.tui.snapshot.label_follower import LabelArrays

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


TABLE_THRESHOLDS = (0.1, 0.3, 0.5, 0.7, 0.9)


@dataclass(frozen=True, slots=True)
class Measured:
    """Agreement with the labels at one threshold, those apart that the audit counts.

    audit: of files that are labelled completely, while there is no random sample.
    """

    threshold: float
    labelled: Confusion
    audit: Confusion | None


def measure(truth: LabelArrays, census: Collection[tuple[str, str]], threshold: float) -> Measured:
    """The agreement at a threshold; census: path and data set of files that are labelled completely."""
    audited = truth.confusion(threshold, census) if census else None
    audit = audited if audited and audited.n else None
    return Measured(threshold, truth.confusion(threshold), audit)


def measure_table(truth: LabelArrays, census: Collection[tuple[str, str]], threshold: float) -> tuple[Measured, ...]:
    """The agreement at the thresholds of the table and at this one, the lowest first."""
    others = [value for value in TABLE_THRESHOLDS if abs(value - threshold) > 0.005]
    return tuple(measure(truth, census, value) for value in sorted([*others, threshold]))
