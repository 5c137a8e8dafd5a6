"""Labels by frame and as arrays, the agreement of scores with them, and values that rest between computations."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from photon_triage.core.frames import FrameKey
from photon_triage.core.metrics import Confusion
from photon_triage.core.session.decisions.labels import Label, LabelBook
from photon_triage.core.session.store.frames import Known

NOWHERE = -1
"""In place of an id, where a label is of something that is not in the results."""
T = TypeVar("T")
REST_FACTOR = 8.0
"""A query is asked again no sooner than this many times as long as it took, so that a large session stays cheap."""
TABLE_THRESHOLDS = (0.1, 0.3, 0.5, 0.7, 0.9)


@dataclass(frozen=True, slots=True)
class ById:
    """Labels of frames that stand in results.db, by id; `decided_hits`: how many hits are among them."""

    labels: Mapping[int, Label] = field(default_factory=dict)
    flagged: frozenset[int] = frozenset()
    conflicts: frozenset[int] = frozenset()
    decided_hits: int = 0
    accepted_in_run: Mapping[str, int] = field(default_factory=dict)
    changed: Mapping[int, Label] = field(default_factory=dict)
    """Labels of frames that have changed since."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelArrays:
    """Accepted and rejected frames as arrays of (n,): accepted, score (NaN where none); places: file and data set."""

    accepted: NDArray[np.bool_]
    score: NDArray[np.float64]
    places: tuple[tuple[str, str], ...] = ()

    def confusion(self, threshold: float, within: Collection[tuple[str, str]] | None = None) -> Confusion:
        """Agreement of a threshold with the labels, or with those in some files only."""
        accepted, selected = self.accepted, self.score >= threshold
        if within is not None:
            inside = np.fromiter((place in within for place in self.places), dtype=np.bool_, count=len(self.places))
            accepted, selected = accepted[inside], selected[inside]
        return Confusion(
            int(np.sum(selected & accepted)),
            int(np.sum(selected & ~accepted)),
            int(np.sum(~selected & accepted)),
            int(np.sum(~selected & ~accepted)),
        )


NO_TRUTH = LabelArrays(np.zeros(0, np.bool_), np.zeros(0))


def labels_by_id(
    book: LabelBook, known: Mapping[FrameKey, Known], audited: Collection[FrameKey] = ()
) -> tuple[ById, LabelArrays]:
    """What the labels say, in one pass over them; the truth leaves out those that the audit counts."""
    labels: dict[int, Label] = {}
    accepted_in_run: dict[str, int] = {}
    hits: set[int] = set()
    accepted: list[bool] = []
    scores: list[float] = []
    places: list[tuple[str, str]] = []
    for key, label in book.labels.items():
        if (of := known.get(key)) is None:
            continue
        # Two labels may be of one candidate that lies near to both of their points.
        if of.id not in labels or labels[of.id].order < label.order:
            labels[of.id] = label
        if of.hit:
            hits.add(of.id)
        if label.verdict == "accepted":
            accepted_in_run[of.run] = accepted_in_run.get(of.run, 0) + 1
        if label.verdict != "skipped" and key not in audited:
            accepted.append(label.verdict == "accepted")
            scores.append(np.nan if of.score is None else of.score)
            places.append((key.file, key.dataset))
    labels.pop(NOWHERE, None)
    changed = {known[key].id: label for key, label in book.changed.items() if key in known}
    changed.pop(NOWHERE, None)
    by_id = ById(labels, _ids(book.flagged, known), _ids(book.conflicts, known), len(hits), accepted_in_run, changed)
    return by_id, LabelArrays(np.array(accepted, np.bool_), np.array(scores, np.float64), tuple(places))


def _ids(keys: Collection[FrameKey], known: Mapping[FrameKey, Known]) -> frozenset[int]:
    return frozenset(known[key].id for key in keys if key in known) - {NOWHERE}


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
