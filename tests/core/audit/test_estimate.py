from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from photon_triage.core.audit.design import draw
from photon_triage.core.audit.estimate import Estimates, Quantity, Sample, estimate, labels_needed
from photon_triage.core.audit.intervals import mid_p, ratio, weighted_sum
from photon_triage.core.metrics import Confusion

from .test_design import population

QUANTITIES: tuple[Quantity, ...] = ("hit_rate", "precision", "recall", "f1")


def sample_of(
    seed: int, frames: int, threshold: float, n: int, rate: float = 0.5, rescored: bool = False
) -> tuple[Sample, NDArray[np.bool_], NDArray[np.float64]]:
    """(a sample, the truth, the scores) of frames whose hits have higher scores."""
    scores, passed, numbers = population(seed, frames)
    truth = np.random.default_rng(seed).random(frames) < rate * np.nan_to_num(scores, nan=0.05)
    drawn = draw(scores, passed, numbers, threshold, n)
    now = scores**2 if rescored else scores
    places = drawn.places
    return Sample(drawn.strata, drawn.stratum, truth[places], now[places], threshold, rescored), truth, now


def census(truth: NDArray[np.bool_], scores: NDArray[np.float64], threshold: float) -> Confusion:
    selected = scores >= threshold
    return Confusion(*(int((a & b).sum()) for a, b in (
        (selected, truth), (selected, ~truth), (~selected, truth), (~selected, ~truth)
    )))  # fmt: skip


def one(sample: Sample, threshold: float) -> Estimates:
    (found,) = estimate(sample, [threshold])
    return found


@settings(deadline=None)
@given(st.integers(0, 50), st.integers(1, 200), st.floats(0.05, 0.95), st.integers(0, 20).map(lambda k: k / 20))
def test_when_all_are_drawn_the_estimate_is_the_census(seed: int, frames: int, cut: float, threshold: float) -> None:
    sample, truth, scores = sample_of(seed, frames, cut, frames)
    found, true = one(sample, threshold), census(truth, scores, threshold)
    expected = {"precision": true.precision.value, "recall": true.recall.value, "f1": true.f1.value}
    expected["hit_rate"] = (true.tp + true.fn) / true.n
    if not true.tp + true.fp:
        expected["f1"] = None
    for name, value in expected.items():
        got = getattr(found, name)
        if value is None:
            assert got.value is None and (got.low, got.high) == (0, 1)
        else:
            assert got.value == pytest.approx(value) and (got.low, got.high) == pytest.approx((value, value))


@settings(deadline=None)
@given(st.integers(0, 50), st.integers(1, 300), st.integers(1, 80), st.floats(0, 1), st.booleans())
def test_an_estimate_lies_in_its_interval(seed: int, frames: int, n: int, threshold: float, rescored: bool) -> None:
    found = one(sample_of(seed, frames, 0.5, n, rescored=rescored)[0], threshold)
    for name in QUANTITIES:
        got = getattr(found, name)
        assert 0 <= got.low <= got.high <= 1
        assert got.value is None or got.low <= got.value <= got.high


def test_nothing_audited_says_nothing() -> None:
    sample, *_ = sample_of(1, 100, 0.5, 0)
    found = one(sample, 0.5)
    assert found.n == 0 and found.frames == 100
    assert all(getattr(found, name).value is None for name in QUANTITIES)
    assert labels_needed(sample, 0.5, "recall", 0.05) is None


def test_no_threshold_gives_no_estimate() -> None:
    assert estimate(sample_of(1, 100, 0.5, 10)[0], []) == []


@pytest.mark.parametrize("rescored", [False, True])
@pytest.mark.parametrize("name", QUANTITIES)
def test_the_estimates_are_near_the_truth_of_all_frames(name: Quantity, rescored: bool) -> None:
    sample, truth, scores = sample_of(11, 40_000, 0.7, 4000, rate=0.9, rescored=rescored)
    true = census(truth, scores, 0.6)
    expected = {"precision": true.precision.value, "recall": true.recall.value, "f1": true.f1.value}
    expected["hit_rate"] = truth.mean()
    assert getattr(one(sample, 0.6), name).value == pytest.approx(expected[name], abs=0.04)


def test_no_missed_hit_found_does_not_mean_that_recall_is_certain() -> None:
    sample, *_ = sample_of(2, 50_000, 0.7, 100, rate=0.9)
    below = sample.score >= 0.7
    found = one(Sample(sample.strata, sample.stratum, sample.hit & below, sample.score, 0.7), 0.7)
    assert found.recall.value == 1 and found.recall.low < 0.9


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.5])
def test_the_intervals_hold_the_truth_as_often_as_they_say(rate: float) -> None:
    """100 draws: 95 % of them, give or take four standard deviations; benchmarks/intervals.py measures it closely."""
    random = np.random.default_rng(17)
    frames, held = 8_000, dict.fromkeys(QUANTITIES, 0)
    hit = random.random(frames) < rate
    scores = 1 / (1 + np.exp(-random.normal(np.where(hit, 2.0, -3.0), 1.5)))
    true = census(hit, scores, 0.6)
    expected = {"precision": true.precision.value, "recall": true.recall.value, "f1": true.f1.value}
    expected["hit_rate"] = hit.mean()
    for _ in range(100):
        drawn = draw(scores, np.full(frames, 3), random.random(frames), 0.6, 400)
        found = one(Sample(drawn.strata, drawn.stratum, hit[drawn.places], scores[drawn.places], 0.6), 0.6)
        for name in QUANTITIES:
            value = expected[name]
            assert value is not None
            held[name] += getattr(found, name).low <= value <= getattr(found, name).high
    assert all(share >= 86 for share in held.values()), held


def test_a_wanted_width_needs_labels_until_it_is_reached() -> None:
    sample, *_ = sample_of(4, 30_000, 0.7, 300, rate=0.9)
    wide, narrow = (labels_needed(sample, 0.7, "precision", width) for width in (0.06, 0.02))
    assert wide is not None and narrow is not None and 0 <= wide < narrow
    more, *_ = sample_of(4, 30_000, 0.7, 300 + narrow, rate=0.9)
    reached = one(more, 0.7).precision
    assert (reached.high - reached.low) / 2 == pytest.approx(0.02, rel=0.3)
    assert labels_needed(more, 0.7, "precision", 0.04) == 0


# Of R's exactci::binom.exact(k, n, midp=TRUE)-style equations: the tails counted out with exact fractions.
@pytest.mark.parametrize(("k", "n"), [(1, 10), (3, 7), (50, 400), (399, 400), (2, 5000)])
def test_mid_p_bounds_solve_their_equation(k: int, n: int) -> None:
    from math import comb

    low, high = (float(bound[0]) for bound in mid_p(np.array([k / n]), np.array([float(n)])))

    def tail(x: float, counted: range) -> float:
        return sum(comb(n, i) * x**i * (1 - x) ** (n - i) * (0.5 if i == k else 1) for i in counted)

    assert 1 - tail(low, range(k + 1)) == pytest.approx(0.025, rel=1e-4)
    assert tail(high, range(k + 1)) == pytest.approx(0.025, rel=1e-4)


def test_mid_p_of_nothing_none_and_all() -> None:
    low, high = mid_p(np.array([0.0, 0.0, 1.0, 0.3]), np.array([0.0, 20.0, 20.0, np.inf]))
    assert low.tolist() == pytest.approx([0, 0, 0.05 ** (1 / 20), 0.3])
    assert high.tolist() == pytest.approx([1, 1 - 0.05 ** (1 / 20), 1, 0.3])


def test_a_sum_of_one_and_a_ratio_to_what_is_certain_keep_the_interval() -> None:
    certain = (np.array([2.0]),) * 3
    part = weighted_sum(np.array([[3.0]]), np.array([[0.4]]), np.array([[0.2]]), np.array([[0.7]]))
    assert [float(each[0]) for each in part] == pytest.approx([1.2, 0.6, 2.1])
    assert [float(each[0]) for each in ratio(part, certain)] == pytest.approx([0.6, 0.3, 1.05])
