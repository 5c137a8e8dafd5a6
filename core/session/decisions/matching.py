"""Which label is of which candidate: by their distance, for another model finds the same object some pixels away."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from photon_triage.core.candidates import Candidate, agreement, distance
from photon_triage.core.frames import FrameKey
from photon_triage.core.metrics import Comparison
from photon_triage.core.session.decisions.labels import Label
from photon_triage.core.session.store.reader import ResultsReader


class LabelMatcher:
    """Finds the label of a frame or candidate among many.

    A candidate has the label of its own point, else the nearest within `radius` pixels on the same frame.
    """

    def __init__(self, labels: Mapping[FrameKey, Label], radius: float) -> None:
        self._labels, self._radius = labels, radius
        self._about: dict[FrameKey, list[FrameKey]] = defaultdict(list)
        for key in labels:
            if key.point:
                self._about[key.frame].append(key)

    def of(self, key: FrameKey) -> Label | None:
        """The label of a frame or candidate, None where it has none."""
        label = self._labels.get(key)
        if label is not None or not key.point:
            return label
        return self._labels.get(_nearest(key, self._about.get(key.frame, []), self._radius))


def labels_of(keys: Iterable[FrameKey], labels: Mapping[FrameKey, Label], radius: float) -> dict[FrameKey, Label]:
    """The label of each of these frames or candidates that has one; see LabelMatcher."""
    matcher = LabelMatcher(labels, radius)
    return {key: label for key in keys if (label := matcher.of(key)) is not None}


def scores_of_points(keys: Iterable[FrameKey], reader: ResultsReader, radius: float) -> dict[FrameKey, float | None]:
    """The score of the candidate nearest to each labelled point within `radius` pixels; None where there is none.

    Points on frames that were not read are left out.
    """
    wanted = list(keys)
    rows = reader.frames("candidates").nearest(wanted, radius)
    read = reader.frames().known({key.frame for key in wanted if key not in rows})
    return {key: None if key not in rows else rows[key].score for key in wanted if key in rows or key.frame in read}


def points_against(
    truth: Mapping[FrameKey, bool], reader: ResultsReader, threshold: float, radius: float
) -> Comparison:
    """The candidates of all frames that were read, held against the points that are true.

    `unmatched` counts points on frames that were not read.
    """
    found: dict[FrameKey, list[Candidate]] = defaultdict(list)
    for row in reader.frames("candidates").select():
        x, y = row.key.point or (0, 0)
        found[row.key.frame].append(Candidate(x, y, row.score or 0.0))
    read = reader.frames().known({key.frame for key in truth})
    marked: dict[FrameKey, list[tuple[float, float]]] = defaultdict(list)
    for key, true in truth.items():
        if true and key.point and key.frame in read:
            marked[key.frame].append(key.point)
    unmatched = sum(true and key.frame not in read for key, true in truth.items())
    return Comparison(agreement(found, marked, threshold, radius), unmatched)


def _nearest(key: FrameKey, others: list[FrameKey], radius: float) -> FrameKey:
    """The other one closest to the key's point, the key itself where none is within the radius."""
    best = min(others, key=lambda other: distance(key.point, other.point), default=key)
    return best if distance(key.point, best.point) <= radius else key
