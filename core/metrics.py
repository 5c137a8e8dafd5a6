"""How good a selection is against labels: precision, recall, F, IoU and accuracy, each with its interval."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Key = TypeVar("Key", bound=Hashable)
Number = TypeVar("Number", float, npt.NDArray[np.float64])

CONFIDENCE = 0.95
BISECTIONS = 60
"""Halvings of [0, 1] after which a bound stands to the last bit of a double."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval of a proportion, both ends in [0, 1]."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """A proportion with its confidence interval; the value is None where nothing defines it, the interval then 0..1."""

    value: float | None
    low: float
    high: float


UNDEFINED = Estimate(None, 0.0, 1.0)


def wilson(successes: int, n: int, confidence: float = CONFIDENCE) -> Interval:
    """Wilson's score interval of a proportion; 0..1 for n = 0.

    Raises ValueError unless 0 <= successes <= n. Source: E. B. Wilson, J. Am. Stat. Assoc. 22, 209 (1927).
    """
    if not 0 <= successes <= n:
        raise ValueError(f"Expected 0 <= successes <= n. Got {successes} of {n} instead.")
    if n == 0:
        return Interval(0.0, 1.0)
    share = successes / n
    below, above = score_interval(share, float(n), confidence)
    # The bounds at 0 and n are exact; rounding must not push an interval off its own estimate.
    low = 0.0 if successes == 0 else min(below, share)
    high = 1.0 if successes == n else max(above, share)
    return Interval(low, high)


def score_interval(share: Number, n: Number, confidence: float) -> tuple[Number, Number]:
    """(low, high) of Wilson's interval of proportions of n > 0, which need not be whole; numbers, or arrays alike."""
    z2 = _z(confidence) ** 2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = (z2 * (share * (1 - share) / n + z2 / (4 * n * n))) ** 0.5 / (1 + z2 / n)
    return middle - half, middle + half


@dataclass(frozen=True)
class Confusion:
    """Frames counted by selection and truth: selected and true (tp), selected and false (fp), and so on."""

    tp: int
    fp: int
    fn: int
    tn: int

    @property
    def n(self) -> int:
        """All frames counted."""
        return self.tp + self.fp + self.fn + self.tn

    @property
    def accuracy(self) -> Estimate:
        """The share of frames decided as the truth says."""
        return _proportion(self.tp + self.tn, self.n)

    @property
    def precision(self) -> Estimate:
        """The share of true ones among the selected."""
        return _proportion(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> Estimate:
        """The share of selected ones among the true."""
        return _proportion(self.tp, self.tp + self.fn)

    @property
    def iou(self) -> Estimate:
        """Intersection over union of the selected and the true frames."""
        return _proportion(self.tp, self.tp + self.fp + self.fn)

    @property
    def f1(self) -> Estimate:
        """Harmonic mean of precision and recall.

        F1 = 2J/(1 + J) with J the IoU, a proportion, so J's Wilson interval maps exactly onto that of F1.
        """
        iou = self.iou
        if iou.value is None:
            return UNDEFINED
        return Estimate(*(2 * j / (1 + j) for j in (iou.value, iou.low, iou.high)))

    def f_beta(self, beta: float) -> Estimate:
        """F with recall weighed `beta` times as much as precision: (1 + β²)PR / (β²P + R).

        F is the ratio of two sums over the tp, fn and fp frames, N = (1 + β²)tp and D = N + β²fn + fp. The interval
        holds every F0 for which (N - F0·D)² is within z² times its variance at F0, with the errors shared between fn
        and fp as observed. That is Wilson's interval of J for β = 1. Raises ValueError unless beta > 0.
        """
        if not (beta > 0 and math.isfinite(beta)):
            raise ValueError(f"Expected beta > 0. Got {beta} instead.")
        frames = self.tp + self.fn + self.fp
        if frames == 0:
            return UNDEFINED
        square = beta * beta
        weight = 1 + square
        missed = self.fn / (self.fn + self.fp) if self.fn + self.fp else 0.5
        cost, cost_squared = square * missed + 1 - missed, square * square * missed + 1 - missed
        numerator = weight * self.tp
        denominator = numerator + square * self.fn + self.fp
        value = numerator / denominator
        z2 = _z(CONFIDENCE) ** 2

        def outside(f: float) -> bool:
            spread = weight * f * (1 - f) * (cost * weight * (1 - f) + cost_squared * f)
            variance = frames * spread / (weight * (1 - f) + cost * f)
            return (numerator - f * denominator) ** 2 > z2 * variance

        def bound(outer: float) -> float:
            inner = value
            for _ in range(BISECTIONS):
                middle = (inner + outer) / 2
                inner, outer = (inner, middle) if outside(middle) else (middle, outer)
            return outer

        return Estimate(value, 0.0 if self.tp == 0 else bound(0.0), 1.0 if self.tp == frames else bound(1.0))


@dataclass(frozen=True)
class Comparison:
    """A selection held against the truth: the counts, and how many true or false frames nobody has scored."""

    confusion: Confusion
    unmatched: int


def confusion_at(scores: Mapping[Key, float | None], truth: Mapping[Key, bool], threshold: float) -> Comparison:
    """The confusion of "score >= threshold" with the truth.

    A frame whose score is None is not selected. Frames of `truth` that `scores` does not know are left out and counted
    in `unmatched`; frames without a truth do not count.
    """
    counts = {(selected, true): 0 for selected in (True, False) for true in (True, False)}
    unmatched = 0
    for key, true in truth.items():
        if key not in scores:
            unmatched += 1
            continue
        score = scores[key]
        counts[score is not None and score >= threshold, true] += 1
    return Comparison(
        Confusion(counts[True, True], counts[True, False], counts[False, True], counts[False, False]), unmatched
    )


@dataclass(frozen=True)
class Curve:
    """The confusion at every threshold that makes a difference, from the highest to the lowest.

    thresholds: (n,) float64, the distinct scores. tp, fp: (n,) int64, frames with at least that score. positives,
    negatives: frames in all, those without a score included.
    """

    thresholds: npt.NDArray[np.float64]
    tp: npt.NDArray[np.int64]
    fp: npt.NDArray[np.int64]
    positives: int
    negatives: int

    def __len__(self) -> int:
        return len(self.thresholds)

    @cached_property
    def precision(self) -> npt.NDArray[np.float64]:
        """(n,) float64; at every distinct score something is selected, so it is defined."""
        return self.tp / (self.tp + self.fp)

    @cached_property
    def recall(self) -> npt.NDArray[np.float64]:
        """(n,) float64; NaN where nothing is positive."""
        return self.tp / self.positives if self.positives else np.full(len(self), np.nan)

    @cached_property
    def f1(self) -> npt.NDArray[np.float64]:
        """(n,) float64, 2·tp / (selected + positives)."""
        return 2 * self.tp / (self.tp + self.fp + self.positives)

    def confusion(self, place: int) -> Confusion:
        """The confusion at thresholds[place]."""
        tp, fp = int(self.tp[place]), int(self.fp[place])
        return Confusion(tp, fp, self.positives - tp, self.negatives - fp)


def curve(scores: Mapping[Key, float | None], truth: Mapping[Key, bool]) -> Curve:
    """Precision and recall at every distinct score, by one sort; frames without a truth or unknown do not count."""
    known = [(scores[key], true) for key, true in truth.items() if key in scores]
    positives = sum(true for _, true in known)
    scored = [(score, true) for score, true in known if score is not None]
    values = np.array([score for score, _ in scored], dtype=np.float64)
    hits = np.array([true for _, true in scored], dtype=np.int64)
    order = np.argsort(-values, kind="stable")
    values, hits = values[order], np.cumsum(hits[order])
    # The last frame of each run of equal scores stands for the run.
    last = np.flatnonzero(np.append(values[1:] != values[:-1], True)) if len(values) else np.zeros(0, dtype=np.int64)
    tp = hits[last]
    return Curve(values[last], tp, last + 1 - tp, positives, len(known) - positives)


def best_threshold(scores: Mapping[Key, float | None], truth: Mapping[Key, bool]) -> float | None:
    """The threshold of the highest F1, the strictest of several; None where no positive frame has a score."""
    points = curve(scores, truth)
    if len(points) == 0 or points.tp[-1] == 0:
        return None
    return float(points.thresholds[int(np.argmax(points.f1))])


def _z(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise ValueError(f"Expected 0 < confidence < 1. Got {confidence} instead.")
    return NormalDist().inv_cdf((1 + confidence) / 2)


def _proportion(successes: int, n: int) -> Estimate:
    if n == 0:
        return UNDEFINED
    interval = wilson(successes, n)
    return Estimate(successes / n, interval.low, interval.high)
