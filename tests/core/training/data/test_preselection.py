"""Negatives that stand for all of them, hard ones, and runs that do not outweigh the others."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from photon_triage.core.common.errors import TrainingError
from photon_triage.core.training.data.preselection import (
    SELDOM,
    STATISTICS,
    mined,
    preselect,
    preselection,
    run_weights,
    statistics_of,
)


def test_the_statistics_are_those_of_the_textbook() -> None:
    rng = np.random.default_rng(0)
    patches = rng.gamma(1.5, 3.0, (300, 6, 5)) * (rng.random((300, 6, 5)) < 0.7)
    found = dict(zip(STATISTICS, statistics_of(patches).T, strict=True))
    for place in (0, 150, 299):
        pixels = sorted(patches[place].ravel().tolist())
        mean = sum(pixels) / 30
        deviation = math.sqrt(sum((each - mean) ** 2 for each in pixels) / 30)
        expected = {
            "mean": mean,
            "median": (pixels[14] + pixels[15]) / 2,
            "min": pixels[0],
            "max": pixels[-1],
            "deviation": deviation,
            "skewness": sum(((each - mean) / deviation) ** 3 for each in pixels) / 30,
            "kurtosis": sum(((each - mean) / deviation) ** 4 for each in pixels) / 30 - 3,
            "lit": sum(each > 0 for each in pixels) / 30,
        }
        for name, value in expected.items():
            assert found[name][place] == pytest.approx(value), name
    steps = [np.abs(np.diff(patches[7], axis=axis)).ravel() for axis in (0, 1)]
    assert found["gradient"][7] == pytest.approx(np.concatenate(steps).mean())
    assert found["percentile-90"][7] == pytest.approx(np.quantile(patches[7], 0.9))


def test_patches_in_which_nothing_varies_have_no_moments() -> None:
    found = dict(zip(STATISTICS, statistics_of(np.full((2, 4, 4), 0.1, np.float32))[0], strict=True))
    assert found["skewness"] == found["kurtosis"] == found["gradient"] == 0 and np.isfinite(list(found.values())).all()
    assert statistics_of(np.zeros((0, 4, 4))).shape == (0, len(STATISTICS))


@given(
    st.integers(1, 60), st.integers(1, 70), st.sampled_from(["random", "representative", "hard"]), st.integers(0, 99),
    st.integers(1, 5),
)  # fmt: skip
def test_as_many_negatives_are_chosen_as_were_asked_for(
    size: int, count: int, how: str, seed: int, values: int
) -> None:
    rng = np.random.default_rng(seed)
    negatives, positives = rng.integers(values, size=(size, 3)) * 1.0, rng.random((4, 3))
    chosen = preselect(how, negatives, positives, count, rng)  # type: ignore[arg-type]
    assert len(chosen) == min(size, count) and len(set(chosen.tolist())) == len(chosen)


def test_representative_negatives_cover_what_random_ones_miss() -> None:
    rng = np.random.default_rng(0)
    common, rare = rng.normal(0, 1, (950, 2)), rng.normal(30, 1, (50, 2))
    negatives = np.concatenate([common, rare])
    shares = []
    for seed in range(30):
        chosen = preselect("representative", negatives, common[:0], 40, np.random.default_rng(seed))
        shares.append((chosen >= 950).sum())
    assert set(shares) <= {1, 2, 3}, "2 of 40 are their share, and no draw is without"
    by_chance = [(np.random.default_rng(seed).choice(1000, 40, False) >= 950).sum() for seed in range(30)]
    assert np.var(shares) < np.var(by_chance) / 2


def test_hard_negatives_are_those_most_like_the_positives_and_some_of_all_others() -> None:
    values = np.arange(100.0)[:, None]
    chosen = preselect("hard", values, np.array([[70.2]]), 20, np.random.default_rng(0))
    assert set(range(66, 75)) <= set(chosen.tolist())
    assert (chosen < 50).sum() >= 4
    with pytest.raises(TrainingError, match="Allowed: random, representative, hard"):
        preselect("best", values, values, 3, np.random.default_rng(0))  # type: ignore[arg-type]


def test_every_positive_is_kept_and_the_choice_is_told() -> None:
    rng = np.random.default_rng(0)
    frames, positive = rng.poisson(2.0, (700, 5, 5)), np.arange(700) < 80
    kept = preselection("hard", frames, positive, 1)
    assert kept.kept[:80].all() and kept.kept.sum() == 80 + 240
    assert (kept.facts["negatives_of"], kept.facts["negatives_chosen"]) == (620, 240)
    assert preselection("random", frames, positive, 1).kept.all()


@given(st.lists(st.integers(1, 400), min_size=1, max_size=8))
def test_no_run_has_more_than_twice_its_share(sizes: list[int]) -> None:
    runs = np.repeat([f"r{run}" for run in range(len(sizes))], sizes)
    weights = run_weights(runs, np.zeros(len(runs), bool))
    chances = np.ones(len(runs)) if weights is None else weights
    drawn = np.array([chances[runs == run].sum() for run in np.unique(runs)])
    assert drawn.max() / drawn.sum() <= min(1, 2 / len(sizes)) + 1e-6 or chances.min() == 1 / SELDOM
    assert chances.max() == 1 and chances.min() >= 1 / SELDOM
    if max(sizes) / sum(sizes) <= 2 / len(sizes):
        assert weights is None


def test_the_worst_false_positives_come_back_more_often() -> None:
    scores, positive = np.linspace(1, 0, 40), np.arange(40) < 10
    weights = mined(scores, positive)
    assert weights[10:13].tolist() == [3, 3, 3] and weights.sum() == 40 + 6
