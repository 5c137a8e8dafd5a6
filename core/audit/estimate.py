"""Hit rate, precision, recall and F1 of all frames, estimated from audited ones, with intervals that cover."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from photon_triage.core.audit.design import Stratum
from photon_triage.core.audit.intervals import mid_p, ratio, weighted_sum
from photon_triage.core.metrics import UNDEFINED, Estimate

Floats = NDArray[np.float64]
Quantity = Literal["hit_rate", "precision", "recall", "f1"]
BISECTIONS = 12


@dataclass(frozen=True, eq=False)
class Sample:
    """Audited frames with their truth.

    stratum: (n,) int64, places among `strata`. hit: (n,) bool. score: (n,) float64 as it is now, NaN for none.
    threshold: that of the draw. rescored: whether another model has scored since the draw, so that what a stratum's
    `counts` say of the scores is over.
    """

    strata: tuple[Stratum, ...]
    stratum: NDArray[np.int64]
    hit: NDArray[np.bool_]
    score: Floats
    threshold: float
    rescored: bool = False

    def __len__(self) -> int:
        return len(self.hit)

    @property
    def frames(self) -> int:
        """All frames that it stands for."""
        return sum(stratum.frames for stratum in self.strata)


@dataclass(frozen=True, slots=True)
class Estimates:
    """What n audited frames say of all `frames` at a threshold; selected: how many of all reach it."""

    threshold: float
    n: int
    frames: int
    selected: float
    hit_rate: Estimate
    precision: Estimate
    recall: Estimate
    f1: Estimate


@dataclass(frozen=True, eq=False)
class _Cells:
    """Parts of strata on either side of thresholds: all arrays are (thresholds, parts), selected ones first.

    frames: in all. n, hits: audited, and true among them. sides: parts on either side.
    """

    frames: Floats
    n: Floats
    hits: Floats
    sides: int

    @property
    def share(self) -> Floats:
        """Of hits, one half where nothing is known."""
        return np.divide(self.hits, self.n, out=np.full_like(self.n, 0.5), where=self.n > 0)


def estimate(sample: Sample, thresholds: Sequence[float]) -> list[Estimates]:
    """The estimates at each threshold.

    Strata are cut by the threshold; a part without an audited frame is taken together with its neighbour on the same
    side. Each part's share of hits is a proportion with a mid-P interval, narrowed as the part runs out of frames, and
    sums and ratios of parts have the intervals that follow from theirs.
    """
    if not thresholds:
        return []
    cells = _cells(sample, thresholds)
    found = _quantities(cells, cells.share)
    selected = cells.frames[:, : cells.sides].sum(1)
    return [
        Estimates(
            threshold,
            len(sample),
            sample.frames,
            float(selected[place]),
            *(
                Estimate(None if np.isnan(value[place]) else float(value[place]), float(low[place]), float(high[place]))
                for value, low, high in (found[name] for name in ("hit_rate", "precision", "recall", "f1"))
            ),
        )
        for place, threshold in enumerate(thresholds)
    ]


def labels_needed(sample: Sample, threshold: float, quantity: Quantity, half_width: float) -> int | None:
    """How many more frames to audit until the interval of a quantity is no wider than 2 * half_width.

    Reckoned as if each stratum got its part of them as before and went on as it did, with half a hit and half a miss
    more in each so that none is taken for certain. None where nothing is known yet.
    """
    if not len(sample):
        return None
    cells = _cells(sample, [threshold])
    if np.isnan(_quantities(cells, cells.share)[quantity][0][0]):
        return None
    share = (cells.hits + 0.5) / (cells.n + 1)

    def width(factor: float) -> float:
        n = np.minimum(cells.n * factor, cells.frames)
        _, low, high = _quantities(_Cells(cells.frames, n, share * n, cells.sides), share)[quantity]
        return float(high[0] - low[0]) / 2

    def more(factor: float) -> int:
        return round(float(np.minimum(cells.n * factor, cells.frames).sum())) - len(sample)

    _, low, high = _quantities(cells, cells.share)[quantity]
    if float(high[0] - low[0]) / 2 <= half_width:
        return 0
    known = cells.n > 0
    small, large = 1.0, float((cells.frames[known] / cells.n[known]).max())
    for _ in range(BISECTIONS):
        middle = float(np.sqrt(small * large))
        small, large = (small, middle) if width(middle) <= half_width else (middle, large)
    return max(more(large), 1)


def _cells(sample: Sample, thresholds: Sequence[float]) -> _Cells:
    kinds = len(sample.strata)
    shape = (len(thresholds), 2, kinds)
    frames, n, hits = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    size = np.array([stratum.frames for stratum in sample.strata], dtype=np.float64)
    audited = np.bincount(sample.stratum, minlength=kinds).astype(np.float64)
    for place, threshold in enumerate(thresholds):
        reaches = sample.score >= threshold
        for side, mine in enumerate((reaches, ~reaches)):
            n[place, side] = np.bincount(sample.stratum[mine], minlength=kinds)
            hits[place, side] = np.bincount(sample.stratum[mine & sample.hit], minlength=kinds)
        if sample.rescored:
            part = np.divide(n[place, 0], audited, out=np.zeros(kinds), where=audited > 0)
            frames[place, 0] = size * part
        elif abs(threshold - sample.threshold) < 1e-9:
            frames[place, 0] = [stratum.frames * stratum.selected for stratum in sample.strata]
        else:
            frames[place, 0] = [stratum.at_least(threshold) for stratum in sample.strata]
        frames[place, 0] = np.clip(frames[place, 0], n[place, 0], size - n[place, 1])
        frames[place, 1] = size - frames[place, 0]
        for side in (0, 1):
            _join_empty(frames[place, side], n[place, side])
    flat = (len(thresholds), 2 * kinds)
    return _Cells(frames.reshape(flat), n.reshape(flat), hits.reshape(flat), kinds)


def _join_empty(frames: Floats, n: Floats) -> None:
    """Count frames of parts without an audited one to the nearest part that has some."""
    known = np.flatnonzero(n > 0)
    if len(known):
        for place in np.flatnonzero((n == 0) & (frames > 0)):
            frames[known[np.argmin(np.abs(known - place))]] += frames[place]
            frames[place] = 0.0


def _quantities(cells: _Cells, share: Floats) -> dict[Quantity, tuple[Floats, Floats, Floats]]:
    """(value, low, high) of each quantity, (thresholds,); the value is NaN where nothing defines it."""
    frames, n = cells.frames, cells.n
    left = frames - n
    # Of a finite number of frames each one drawn tells more: the variance shrinks by left / (frames - 1).
    effective = np.divide(n * (frames - 1), left, out=np.full_like(n, np.inf), where=left > 1e-9)
    low, high = mid_p(share, np.where(n > 0, effective, 0.0))
    upper, lower = slice(None, cells.sides), slice(cells.sides, None)
    parts = [weighted_sum(frames[:, s], share[:, s], low[:, s], high[:, s]) for s in (slice(None), upper, lower)]
    whole, taken, missed = parts
    selected = frames[:, upper].sum(1)
    unknown = [((n[:, s] == 0) & (frames[:, s] > 0)).any(1) for s in (upper, lower)]
    everything = frames.sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        hit_rate = _told([each / everything for each in whole], unknown[0] | unknown[1])
        precision = _told([each / selected for each in taken], unknown[0] | (selected == 0))
        value, least, most = ratio(missed, taken)
        recall = _told([1 / (1 + value), 1 / (1 + most), 1 / (1 + least)], unknown[0] | unknown[1])
        beside = (selected + missed[0], selected + missed[1], selected + missed[2])
        value, least, most = ratio(beside, taken)
        f1 = _told([2 / (1 + value), 2 / (1 + most), 2 / (1 + least)], unknown[0] | unknown[1] | (selected == 0))
    return {"hit_rate": hit_rate, "precision": precision, "recall": recall, "f1": f1}


def _told(bounds: list[Floats], undefined: NDArray[np.bool_]) -> tuple[Floats, Floats, Floats]:
    value, low, high = bounds
    nothing = undefined | np.isnan(value)
    value = np.where(nothing, np.nan, np.clip(value, 0, 1))
    low = np.where(np.isnan(low) | nothing, UNDEFINED.low, np.clip(low, 0, 1))
    high = np.where(np.isnan(high) | nothing, UNDEFINED.high, np.clip(high, 0, 1))
    return value, np.fmin(low, value), np.fmax(high, value)
