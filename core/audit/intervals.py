"""Intervals of proportions that hold with few labels and few hits, and of their weighted sums and ratios."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from photon_triage.core.metrics import CONFIDENCE, score_interval

Values = NDArray[np.float64]

_MANY = 100.0
"""Variance of the number of hits from which Wilson's interval is the same to 1 % of its width, and quicker to find."""
_NONE = 1e-9
"""Hits, or others, below which there are none: counts are shares times n, and rounded."""


def mid_p(share: Values, n: Values, confidence: float = CONFIDENCE) -> tuple[Values, Values]:
    """The mid-P interval of proportions of n; 0 to 1 where n is 0, the proportion itself where n is infinite.

    share, n: of one shape; n need not be whole. Returns (low, high) of that shape. Both tails of the binomial
    distribution count the observed number by half, so the interval covers what it says on the average and is not too
    wide where hits are rare. Source: G. Berry and P. Armitage, The Statistician 44, 417 (1995).
    """
    share, n = np.asarray(share, dtype=np.float64), np.asarray(n, dtype=np.float64)
    low, high = np.where(n > 0, share, 0.0), np.where(n > 0, share, 1.0)
    finite = (n > 0) & np.isfinite(n)
    many = np.where(finite, n, 0) * share * (1 - share) > _MANY
    low[many], high[many] = score_interval(share[many], n[many], confidence)
    some = finite & ~many
    if some.any():
        # The same counts come again and again, at every threshold of a curve.
        pairs, back = np.unique(np.stack([share[some], n[some]]), axis=1, return_inverse=True)
        p, m = pairs
        tail = (1 - confidence) / 2
        low[some] = np.minimum(_lower(p * m, m, tail), p)[back]
        high[some] = np.maximum(1 - _lower(m - p * m, m, tail), p)[back]
    return low, high


def weighted_sum(weights: Values, value: Values, low: Values, high: Values) -> tuple[Values, Values, Values]:
    """(value, low, high) of a sum of independent estimates with intervals, over the last axis.

    The variance of each at either end is recovered from its own interval: G. Y. Zou and A. Donner, Stat. Med. 27,
    1693 (2008), "MOVER".
    """
    total = (weights * value).sum(-1)
    down = np.sqrt(((weights * (value - low)) ** 2).sum(-1))
    up = np.sqrt(((weights * (high - value)) ** 2).sum(-1))
    return total, total - down, total + up


def ratio(above: tuple[Values, Values, Values], below: tuple[Values, Values, Values]) -> tuple[Values, Values, Values]:
    """(value, low, high) of the ratio of two independent estimates of what is not negative; high may be infinite.

    Source: A. Donner and G. Y. Zou, Stat. Methods Med. Res. 21, 347 (2012), "MOVER-R". NaN where both are 0.
    """
    a, a_low, a_high = above
    b, b_low, b_high = below
    product = a * b
    at_low, at_high = a_low * (2 * a - a_low), a_high * (2 * a - a_high)
    with np.errstate(divide="ignore", invalid="ignore"):
        root = np.sqrt(np.maximum(product**2 - at_low * b_high * (2 * b - b_high), 0))
        low = np.where(at_low > 0, at_low / (product + root), 0.0)
        under = b_low * (2 * b - b_low)
        root = np.sqrt(np.maximum(product**2 - at_high * under, 0))
        high = np.where(under > 0, (product + root) / under, np.inf)
        value = a / b
    return value, low, high


def _lower(k: Values, n: Values, tail: float) -> Values:
    """The x where P(X > k) + P(X = k)/2 is `tail`, X binomial of n and x; 0 where k is.

    P(X >= k) and P(X > k) are regularised incomplete beta functions of x, and the mean of both is sought; where either
    alone is `tail`, there are the ends of a bracket.
    """
    from scipy.optimize.elementwise import find_root
    from scipy.special import betainc, betaincinv

    bound = np.zeros_like(k)
    some = k > _NONE
    k, others = k[some], np.maximum(n[some] - k[some], _NONE)

    def error(x: Values, k: Values, others: Values) -> Values:
        missed: Values = (betainc(k, others + 1, x) + betainc(k + 1, others, x)) / 2 - tail
        return missed

    ends = betaincinv(k, others + 1, tail), np.where(others > _NONE, betaincinv(k + 1, others, tail), 1.0)
    bound[some] = find_root(error, ends, args=(k, others)).x
    return bound
