from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from photon_triage.core.audit.design import Drawing, allocate, draw, permanent_numbers

FILES = [("/data/a.h5", "/entry/data"), ("/data/b.h5", "/entry/data")]


def population(seed: int, frames: int) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
    """(scores, stages passed, permanent numbers)."""
    random = np.random.default_rng(seed)
    scores = np.where(random.random(frames) < 0.3, np.nan, random.beta(0.3, 0.6, frames))
    passed = np.where(np.isnan(scores), random.integers(0, 2, frames), 3)
    return scores, passed, random.random(frames)


def drawn_of(drawing: Drawing, stratum: int) -> set[int]:
    return {int(place) for place in drawing.places[drawing.stratum == stratum]}


@settings(deadline=None)
@given(st.integers(0, 50), st.integers(1, 400), st.floats(0, 1), st.integers(1, 500))
def test_weights_sum_to_the_population(seed: int, frames: int, threshold: float, n: int) -> None:
    drawing = draw(*population(seed, frames), threshold, n)
    drawn = np.bincount(drawing.stratum, minlength=len(drawing.strata))
    assert len(drawing.places) == min(n, frames) == len(set(drawing.places.tolist()))
    assert sum(stratum.frames for stratum in drawing.strata) == frames
    weights = [stratum.frames / count for stratum, count in zip(drawing.strata, drawn, strict=True) if count]
    covered = sum(stratum.frames for stratum, count in zip(drawing.strata, drawn, strict=True) if count)
    assert np.isclose(sum(w * c for w, c in zip(weights, drawn[drawn > 0], strict=True)), covered)


@settings(deadline=None)
@given(st.integers(0, 50), st.integers(60, 400), st.floats(0.1, 0.9), st.integers(1, 60), st.integers(0, 60))
def test_more_frames_of_a_stratum_are_those_of_before_and_others(
    seed: int, frames: int, threshold: float, few: int, more: int
) -> None:
    given_frames = population(seed, frames)
    small, large = draw(*given_frames, threshold, few), draw(*given_frames, threshold, few + more)
    for stratum in range(len(small.strata)):
        before, after = drawn_of(small, stratum), drawn_of(large, stratum)
        assert before <= after or after <= before


def test_every_stratum_is_looked_into() -> None:
    drawing = draw(*population(3, 4000), 0.8, 100)
    assert len(drawing.strata) >= 6
    assert set(drawing.stratum.tolist()) == set(range(len(drawing.strata)))


def test_there_are_more_near_the_threshold_than_there_are_frames() -> None:
    drawing = draw(*population(3, 20000), 0.97, 200)
    share = [len(drawn_of(drawing, place)) / stratum.frames for place, stratum in enumerate(drawing.strata)]
    near = next(place for place, stratum in enumerate(drawing.strata) if stratum.selected) - 1
    assert share[near] > 3 * share[0]


def test_who_stops_early_has_frames_of_all_strata_in_proportion() -> None:
    drawing = draw(*population(5, 5000), 0.8, 200)
    half, whole = (
        np.bincount(part, minlength=len(drawing.strata)) for part in (drawing.stratum[:100], drawing.stratum)
    )
    assert np.abs(half - whole / 2).max() <= 1


def test_strata_count_their_frames_by_score() -> None:
    scores, passed, numbers = population(7, 3000)
    strata = draw(scores, passed, numbers, 0.5, 10).strata
    for threshold in (0.0, 0.29, 0.5, 0.93):
        assert round(sum(stratum.at_least(threshold) for stratum in strata)) == int((scores >= threshold).sum())
    assert sum(stratum.frames for stratum in strata if stratum.selected) == int((scores >= 0.5).sum())


def test_frames_that_no_network_has_scored_are_drawn_too() -> None:
    numbers = np.random.default_rng(0).random(50)
    drawing = draw(np.full(50, np.nan), np.repeat([0, 1], 25), numbers, 0.5, 20)
    assert [stratum.name for stratum in drawing.strata] == ["stopped at stage 1", "stopped at stage 2"]
    assert len(drawing.places) == 20


def test_a_session_without_frames_draws_none() -> None:
    nothing = np.empty(0)
    assert len(draw(nothing, nothing.astype(np.int64), nothing, 0.5, 20).places) == 0


@given(st.lists(st.tuples(st.integers(0, 50), st.floats(0.05, 1)), min_size=1, max_size=8), st.integers(0, 300))
def test_labels_are_given_out_whole_and_never_beyond_a_stratum(strata: list[tuple[int, float]], n: int) -> None:
    frames, shares = np.array([f for f, _ in strata]), np.array([s for _, s in strata])
    given_out = allocate(frames, shares, n)
    assert given_out.sum() == min(n, frames.sum())
    assert (given_out >= 0).all() and (given_out <= frames).all()


def test_a_frames_number_depends_on_its_key_and_the_seed_alone() -> None:
    file, index = np.array([0, 0, 1]), np.array([0, 1, 0])
    numbers = permanent_numbers(1, FILES, file, index)
    assert len(set(numbers.tolist())) == 3
    again = permanent_numbers(1, FILES[::-1], 1 - file[::-1], index[::-1])
    assert np.array_equal(again[::-1], numbers)
    assert not np.isin(permanent_numbers(2, FILES, file, index), numbers).any()


def test_numbers_are_spread_evenly_over_frames_that_follow_each_other() -> None:
    numbers = permanent_numbers(0, FILES, np.zeros(20000, int), np.arange(20000))
    counts, _ = np.histogram(numbers, bins=20, range=(0, 1))
    assert np.abs(counts - 1000).max() < 150
    assert abs(np.corrcoef(numbers[1:], numbers[:-1])[0, 1]) < 0.03


def test_candidates_of_a_frame_have_numbers_of_their_own() -> None:
    nought = np.zeros(3, int)
    numbers = permanent_numbers(0, FILES, nought, nought, np.array([[1, 2], [2, 1], [1, 3]]))
    assert len(set(numbers.tolist())) == 3
