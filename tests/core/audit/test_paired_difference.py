from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from photon_triage.core.audit.paired_difference import McNemar, f1_difference, frames_needed, mcnemar

Bools = NDArray[np.bool_]


@pytest.mark.parametrize(
    ("only_old", "only_new", "p"),
    [
        (0, 0, 1.0),
        (3, 3, 1.0),
        (0, 5, 2 / 32),
        (1, 8, 2 * (1 + 9) / 512),
        (8, 1, 2 * (1 + 9) / 512),
        (2, 10, 2 * (1 + 12 + 66) / 4096),
    ],
)
def test_mcnemar_is_the_exact_binomial_test(only_old: int, only_new: int, p: float) -> None:
    assert McNemar(only_old, only_new).p == pytest.approx(p, rel=1e-12)


def test_mcnemar_of_very_many_frames_is_a_number() -> None:
    assert 0 <= McNemar(2000, 2600).p < 1e-12


def test_mcnemar_counts_frames_on_which_one_alone_is_right() -> None:
    truth = np.array([1, 1, 1, 0, 0, 0], bool)
    old = np.array([1, 0, 0, 0, 1, 1], bool)
    new = np.array([1, 1, 0, 1, 0, 0], bool)
    assert mcnemar(truth, old, new) == McNemar(1, 3)


def models(found_old: int, found_new: int, n: int = 60) -> tuple[Bools, Bools, Bools]:
    """Truth and two models without a false one: half of the frames are true, of which each finds so many."""
    place = np.arange(n)
    return place < n // 2, place < found_old, place < found_new


def test_the_difference_is_that_of_the_two_f1() -> None:
    found = f1_difference(*models(10, 30))
    assert found is not None and found.value == pytest.approx(1 - 2 * 10 / (10 + 30))
    assert found.low <= found.value <= found.high and found.chance < 0.01


def test_a_difference_turned_round_has_the_other_sign() -> None:
    truth, old, new = models(10, 30)
    there, back = f1_difference(truth, old, new), f1_difference(truth, new, old)
    assert there is not None and back is not None
    assert back.value == pytest.approx(-there.value) and back.chance > 0.99


def test_few_frames_on_which_models_differ_are_never_sure() -> None:
    found = f1_difference(*models(29, 30))
    assert found is not None and found.value > 0 and found.chance >= 0.5


def test_so_many_frames_are_needed_that_models_differ_on_enough_and_chance_becomes_small() -> None:
    truth, old, new = models(29, 30)
    few = f1_difference(truth, old, new)
    assert few is not None and frames_needed(few, mcnemar(truth, old, new), 60, 0.1) == 3 * 60, (
        "½ to the 4 is below 0.1"
    )
    old, new = (np.arange(60) < 20, (np.arange(60) >= 8) & truth)
    mixed = f1_difference(truth, old, new)
    assert mixed is not None and mixed.value > 0 and mixed.chance > 0.1
    needed = frames_needed(mixed, mcnemar(truth, old, new), 60, 0.1)
    assert needed is not None
    times = math.ceil((60 + needed) / 60)
    again = f1_difference(np.tile(truth, times), np.tile(old, times), np.tile(new, times))
    assert again is not None and again.chance <= 0.1 < mixed.chance


def test_strata_count_by_what_they_stand_for() -> None:
    truth, old, new = (np.array(values, bool) for values in ([1] * 20, [1] * 10 + [0] * 10, [0] * 10 + [1] * 10))
    stratum = np.repeat([0, 1], 10)
    even = f1_difference(truth, old, new, stratum, np.array([100.0, 100.0]))
    mostly_second = f1_difference(truth, old, new, stratum, np.array([100.0, 900.0]))
    assert even is not None and even.value == pytest.approx(0)
    assert mostly_second is not None and mostly_second.value == pytest.approx(2 * 0.9 / 1.9 - 2 * 0.1 / 1.1)


def test_a_stratum_without_a_judged_frame_counts_to_its_neighbour() -> None:
    truth, old, new = models(10, 30)
    stratum = np.zeros(60, np.int64)
    alone = f1_difference(truth, old, new, stratum, np.array([60.0]))
    joined = f1_difference(truth, old, new, stratum, np.array([60.0, 500.0]))
    assert alone is not None and joined is not None and joined.value == pytest.approx(alone.value)


def test_the_interval_of_equal_models_holds_zero_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    held = 0
    for _ in range(100):
        truth = rng.random(200) < 0.3
        old, new = (truth ^ (rng.random(200) < 0.1) for _ in range(2))
        found = f1_difference(truth, old, new)
        held += found is not None and found.low <= 0 <= found.high
    assert held >= 88, "95 of 100 are expected; fewer than 88 come once in 500 times"


def test_without_frames_or_true_ones_nothing_is_said() -> None:
    nothing = np.zeros(0, bool)
    assert f1_difference(nothing, nothing, nothing) is None
    assert f1_difference(*(np.zeros(9, bool),) * 3) is None
