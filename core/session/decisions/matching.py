"""Which label is of which candidate: by their distance, for another model finds the same object some pixels away."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from photon_triage.core.candidates import Candidate, agreement, distance
from photon_triage.core.frames import FrameKey
from photon_triage.core.metrics import Comparison
from photon_triage.core.session.decisions.labels import Label
from photon_triage.core.session.store.reader import ResultsReader


def labels_of(keys: Iterable[FrameKey], labels: Mapping[FrameKey, Label], radius: float) -> dict[FrameKey, Label]:
    """The label of each of these frames or candidates that has one.

    A candidate has the label of its own point, else the nearest within `radius` pixels on the same frame.
    """
    about: dict[FrameKey, list[FrameKey]] = defaultdict(list)
    for key in labels:
        if key.point:
            about[key.frame].append(key)
    found = {}
    for key in keys:
        near = key if key in labels or not key.point else _nearest(key, about.get(key.frame, []), radius)
        if near in labels:
            found[key] = labels[near]
    return found


def scores_of_points(keys: Iterable[FrameKey], reader: ResultsReader, radius: float) -> dict[FrameKey, float | None]:
    """The score of the candidate nearest to each labelled point within `radius` pixels; None where there is none.

    Points on frames that were not read are left out.
    """
    frames, candidates = reader.listing("frames"), reader.listing("candidates")
    scores: dict[FrameKey, float | None] = {}
    for key in keys:
        row = candidates.row_of(key, radius)
        if row is not None or frames.row_of(key.frame) is not None:
            scores[key] = None if row is None else row.score
    return scores


def points_against(
    truth: Mapping[FrameKey, bool], reader: ResultsReader, threshold: float, radius: float
) -> Comparison:
    """The candidates of all frames that were read, held against the points that are true.

    `unmatched` counts points on frames that were not read.
    """
    read = {row.key for row in reader.all_frames()}
    found: dict[FrameKey, list[Candidate]] = {frame: [] for frame in read}
    for row in reader.listing("candidates").all():
        x, y = row.key.point or (0, 0)
        found[row.key.frame].append(Candidate(x, y, row.score or 0.0))
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
