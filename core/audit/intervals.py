"""Intervals of proportions that hold with few labels and few hits, and of their weighted sums and ratios."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

CONFIDENCE = 0.95
_MANY = 100.0
"""Variance of the number of hits from which Wilson's interval is the same to 1 % of its width, and quicker to find."""
_NEWTON_STEPS = 60
_FRACTION_STEPS = 2000
_TINY = 1e-300


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
    low[many], high[many] = _score_interval(share[many], n[many], confidence)
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


def _score_interval(share: Values, n: Values, confidence: float) -> tuple[Values, Values]:
    """Wilson's interval; see core.metrics."""
    z2 = NormalDist().inv_cdf((1 + confidence) / 2) ** 2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = np.sqrt(z2) / (1 + z2 / n) * np.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return middle - half, middle + half


def _lower(k: Values, n: Values, tail: float) -> Values:
    """Where P(X > k) + P(X = k)/2 is `tail`, X binomial of n: by Newton's steps that are held inside a bracket."""
    bound = np.zeros_like(k)
    some = k > 1e-9
    k, n = k[some], n[some]
    if not len(k):
        return bound
    b = n - k + 1
    scale = _log_gamma(k + b) - _log_gamma(k) - _log_gamma(b)
    low, high = np.zeros_like(k), k / n
    x = high * tail ** (1 / np.maximum(k, 1))
    for _ in range(_NEWTON_STEPS):
        # Both are multiples of x^k (1-x)^(n-k): the probability of k hits, and the slope of P(X >= k) times x.
        slope = np.exp(scale + (k - 1) * np.log(np.maximum(x, _TINY)) + (b - 1) * np.log1p(-np.minimum(x, 1 - 1e-16)))
        exactly = slope * x / k
        error = _at_least(k, b, x, slope) - exactly / 2 - tail
        high, low = np.where(error > 0, x, high), np.where(error > 0, low, x)
        # d/dx of half the probability of exactly k, beside that of the tail.
        gradient = slope - 0.5 * exactly * (k / np.maximum(x, _TINY) - (n - k) / np.maximum(1 - x, 1e-16))
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            step = x - error / gradient
        inside = (step > low) & (step < high)
        following = np.where(inside, step, (low + high) / 2)
        done = np.abs(following - x) <= 1e-9 * high
        x = following
        if done.all():
            break
    bound[some] = x
    return bound


def _at_least(k: Values, b: Values, x: Values, slope: Values) -> Values:
    """P(X >= k) = I_x(k, b), the regularised incomplete beta function; slope is its derivative.

    By its continued fraction, NIST Digital Library of Mathematical Functions 8.17.22, on the side where that converges.
    """
    turned = x > (k + 1) / (k + b + 2)
    p, q, y = np.where(turned, b, k), np.where(turned, k, b), np.where(turned, 1 - x, x)
    part = slope * x * (1 - x) / p * _fraction(p, q, y)
    return np.where(turned, 1 - part, part)


def _fraction(p: Values, q: Values, y: Values) -> Values:
    """The continued fraction of the incomplete beta function, by Lentz's method."""
    c = np.ones_like(y)
    d = 1 / _off_zero(1 - (p + q) * y / (p + 1))
    found = d.copy()
    for m in range(1, _FRACTION_STEPS):
        even = m * (q - m) * y / ((p + 2 * m - 1) * (p + 2 * m))
        odd = -(p + m) * (p + q + m) * y / ((p + 2 * m) * (p + 2 * m + 1))
        change = np.ones_like(y)
        for term in (even, odd):
            d, c = 1 / _off_zero(1 + term * d), _off_zero(1 + term / c)
            change = c * d
            found *= change
        if np.abs(change - 1).max() < 1e-11:
            break
    return found


def _off_zero(values: Values) -> Values:
    return np.where(np.abs(values) < _TINY, _TINY, values)


def _log_gamma(values: Values) -> Values:
    return np.array([math.lgamma(value) for value in values.ravel()]).reshape(values.shape)
