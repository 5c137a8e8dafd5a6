"""Candidates: points worth a look. Peaks of a score map, and how points agree with what was marked by hand."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from photon_triage.core.metrics import Confusion

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A point on a frame and its score in [0, 1]; x along a row, y down the rows, in pixels of the whole frame."""

    x: int
    y: int
    score: float


def distance(one: Sequence[float], other: Sequence[float]) -> float:
    """Pixels between two points (x, y)."""
    return math.dist(one, other)


def peaks(
    scores: NDArray[np.floating], *, least: float, min_distance: float, most: int | None = None
) -> tuple[Candidate, ...]:
    """The highest points of a score map, best first, none closer than `min_distance` to a better one.

    scores: (height, width); NaN where there is no score. Of equal scores the first in reading order wins.
    """
    from scipy.ndimage import maximum_filter

    known = np.nan_to_num(scores, nan=-np.inf)
    highest = maximum_filter(known, 3, mode="constant", cval=-np.inf)
    rows, columns = np.nonzero((known == highest) & (known >= least))
    order = np.argsort(-known[rows, columns], kind="stable")
    rows, columns = rows[order], columns[order]
    kept: list[Candidate] = []
    taken = np.empty((0, 2))
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        if len(taken) and ((taken - (row, column)) ** 2).sum(1).min() < min_distance**2:
            continue
        kept.append(Candidate(column, row, float(known[row, column])))
        taken = np.vstack([taken, (row, column)])
        if most is not None and len(kept) == most:
            break
    return tuple(kept)


def match_points(
    found: Sequence[tuple[float, float]], marked: Sequence[tuple[float, float]], radius: float
) -> list[int | None]:
    """For each found point, best first, the place of the marked point it stands for, or None.

    A marked point is given to the first found point within `radius` whose nearest free one it is; each is given once.
    """
    free = np.array(marked, dtype=float).reshape(-1, 2)
    open_ = np.ones(len(free), bool)
    matches: list[int | None] = []
    for point in found:
        away = np.where(open_, np.hypot(*(free - point).T), np.inf) if len(free) else np.empty(0)
        nearest = int(away.argmin()) if len(away) else -1
        if nearest >= 0 and away[nearest] <= radius:
            open_[nearest] = False
            matches.append(nearest)
        else:
            matches.append(None)
    return matches


def agreement(
    found: Mapping[Key, Sequence[Candidate]],
    marked: Mapping[Key, Sequence[tuple[float, float]]],
    threshold: float,
    radius: float,
) -> Confusion:
    """How the candidates of at least `threshold` agree with the points that somebody marked, frame by frame.

    A candidate within `radius` pixels of a point that no better one has taken is a true positive, any other a false
    one; a point without a candidate is a false negative. There are no true negatives.
    """
    tp = fp = fn = 0
    for frame in found.keys() | marked.keys():
        points = marked.get(frame, ())
        chosen = [each for each in found.get(frame, ()) if each.score >= threshold]
        chosen.sort(key=lambda each: -each.score)
        hits = sum(match is not None for match in match_points([(each.x, each.y) for each in chosen], points, radius))
        tp, fp, fn = tp + hits, fp + len(chosen) - hits, fn + len(points) - hits
    return Confusion(tp, fp, fn, 0)
