"""Two models on the same frames: whether the difference between them may be chance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from photon_triage.core.metrics import CONFIDENCE

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]

RESAMPLES, SEED = 4000, 20210
"""Of the bootstrap: with a fixed seed the same labels always give the same verdict."""


@dataclass(frozen=True, slots=True)
class McNemar:
    """Frames on which one of two models alone was right: the old one (b), the new one (c)."""

    only_old: int
    only_new: int

    @property
    def differ(self) -> int:
        """The frames on which the models differ in whether they are right."""
        return self.only_old + self.only_new

    @property
    def p(self) -> float:
        """The two-sided p of the exact test that both are right as often: min(1, 2 P(X <= min(b, c))), X ~ Bin(b+c, ½).

        Source: Q. McNemar, Psychometrika 12, 153 (1947); the exact conditional form as in M. W. Fagerland, S. Lydersen
        and P. Laake, BMC Med. Res. Methodol. 13, 91 (2013), eq. 6.
        """
        n, fewer = self.differ, min(self.only_old, self.only_new)
        tail = sum(math.comb(n, k) for k in range(fewer + 1))
        return min(1.0, float(2 * tail / 2**n))


@dataclass(frozen=True, slots=True)
class F1Difference:
    """The new model's F1 less the old one's, with its 95 % interval.

    chance: how often it is not above 0 when the same number of frames is drawn again from those that were judged.
    deviation: the standard deviation of it under such draws.
    """

    value: float
    low: float
    high: float
    chance: float
    deviation: float


def mcnemar(truth: Bools, old: Bools, new: Bools) -> McNemar:
    """The two counts of frames that tell the models apart; truth, old, new: (n,) bool."""
    right_old, right_new = old == truth, new == truth
    return McNemar(int((right_old & ~right_new).sum()), int((right_new & ~right_old).sum()))


def f1_difference(
    truth: Bools, old: Bools, new: Bools, stratum: NDArray[np.int64] | None = None, frames: Floats | None = None
) -> F1Difference | None:
    """The difference in F1 by a paired bootstrap within strata; None where F1 of either is not defined.

    truth, old, new: (n,) bool, what is so and what each selects. stratum: (n,) places among `frames`, (strata,), how
    many frames each stratum stands for; without them every frame counts once. Frames of a stratum of which none was
    judged count to the nearest one of which some were.

    Where the models differ on few frames only, drawing again cannot show what those might have been: `chance` is never
    less than that all frames on which they differ speak for the new one by accident, ½ to the power of their number.

    Source: B. Efron and R. J. Tibshirani, An Introduction to the Bootstrap (Chapman & Hall, 1993), ch. 8 and 13.
    """
    if not len(truth):
        return None
    if stratum is None or frames is None:
        stratum, frames = np.zeros(len(truth), np.int64), np.array([float(len(truth))])
    kinds = 4 * truth.astype(np.int64) + 2 * old.astype(np.int64) + new.astype(np.int64)
    counts = np.zeros((len(frames), 8))
    np.add.at(counts, (stratum, kinds), 1)
    judged = counts.sum(1)
    known = np.flatnonzero(judged)
    weight = np.zeros(len(frames))
    for place, size in enumerate(frames.tolist()):
        weight[known[np.argmin(np.abs(known - place))]] += size
    value = float(_f1_gain((counts[known] * (weight / np.maximum(judged, 1))[known, None]).sum(0)))
    if math.isnan(value):
        return None
    rng = np.random.default_rng(SEED)
    drawn = np.zeros((RESAMPLES, 8))
    for place in known.tolist():
        again = rng.multinomial(int(judged[place]), counts[place] / judged[place], size=RESAMPLES)
        drawn += again * (weight[place] / judged[place])
    gains = _f1_gain(drawn)
    gains = np.where(np.isnan(gains), 0.0, gains)
    tail = (1 - CONFIDENCE) / 2
    low, high = (float(bound) for bound in np.quantile(gains, (tail, 1 - tail)))
    least = 0.5 ** mcnemar(truth, old, new).differ
    chance = max((float((gains <= 1e-12).sum()) + 1) / (RESAMPLES + 1), least)
    return F1Difference(value, min(low, value), max(high, value), chance, float(gains.std()))


def frames_needed(difference: F1Difference, told: McNemar, judged: int, level: float) -> int | None:
    """How many more frames to judge until a difference as large would be chance in `level` of cases at most.

    Its deviation falls with the root of the number, and the frames on which the models differ become more with it, of
    which ½ to the power of their number is the least chance. None where there is no difference to go by.
    """
    if difference.value <= 0 or difference.deviation <= 0 or not told.differ:
        return None
    by_deviation = (NormalDist().inv_cdf(1 - level) * difference.deviation / difference.value) ** 2
    by_number = math.ceil(-math.log2(level)) / told.differ
    return max(math.ceil(judged * max(by_deviation, by_number)) - judged, 1)


def _f1_gain(cells: Floats) -> Floats:
    """F1 of the new less that of the old from the (weighted) numbers of frames by kind, (..., 8)."""
    true = cells[..., 4:].sum(-1)
    selected_old, selected_new = cells[..., [2, 3, 6, 7]].sum(-1), cells[..., [1, 3, 5, 7]].sum(-1)
    hit_old, hit_new = cells[..., [6, 7]].sum(-1), cells[..., [5, 7]].sum(-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Floats = 2 * hit_new / (selected_new + true) - 2 * hit_old / (selected_old + true)
    return found
