from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from photon_triage.core.candidates import Candidate, agreement, match_points, peaks


def test_peaks_are_listed_best_first_at_their_pixels() -> None:
    scores = np.zeros((20, 30))
    scores[4, 7], scores[15, 22], scores[10, 2] = 0.5, 0.9, 0.2
    assert peaks(scores, least=0.3, min_distance=3) == (Candidate(22, 15, 0.9), Candidate(7, 4, 0.5))


def test_a_peak_near_a_better_one_does_not_count_and_one_at_the_distance_does() -> None:
    scores = np.zeros((20, 30))
    scores[5, 5], scores[5, 8], scores[5, 10] = 0.9, 0.8, 0.7
    assert [(peak.x, peak.y) for peak in peaks(scores, least=0.1, min_distance=5)] == [(5, 5), (10, 5)]


def test_where_there_is_no_score_there_is_no_peak() -> None:
    scores = np.full((8, 8), np.nan)
    assert peaks(scores, least=-10, min_distance=1) == ()
    scores[3, 3] = -2.0
    assert peaks(scores, least=-10, min_distance=1) == (Candidate(3, 3, -2.0),)


def test_no_more_peaks_than_asked_for() -> None:
    scores = np.zeros((40, 40))
    scores[::8, ::8] = np.linspace(0.2, 1, 25).reshape(5, 5)
    assert [peak.score for peak in peaks(scores, least=0.1, min_distance=4, most=2)] == [1.0, scores[32, 24]]


@given(
    arrays.arrays(np.float64, (12, 12), elements=st.floats(0, 1)),
    st.floats(1, 8),
)
def test_peaks_keep_their_distance_and_every_higher_pixel_is_near_one(scores: np.ndarray, min_distance: float) -> None:
    found = peaks(scores, least=0.5, min_distance=min_distance)
    points = np.array([(peak.x, peak.y) for peak in found], float).reshape(-1, 2)
    for place, point in enumerate(points):
        others = np.delete(points, place, 0)
        assert not len(others) or np.hypot(*(others - point).T).min() >= min_distance
    if scores.max() >= 0.5:
        assert found[0].score == scores.max()


def test_each_marked_point_is_matched_once_and_by_the_better_candidate() -> None:
    assert match_points([(10, 10), (11, 10), (50, 50)], [(10, 12), (90, 90)], 5) == [0, None, None]


def test_a_candidate_takes_the_nearest_free_point() -> None:
    assert match_points([(0, 0), (0, 1)], [(0, 3), (0, 1)], 10) == [1, 0]


def test_agreement_counts_hits_false_ones_and_misses_over_frames() -> None:
    found = {"a": [Candidate(10, 10, 0.9), Candidate(40, 40, 0.4)], "b": [Candidate(5, 5, 0.8)]}
    marked = {"a": [(12.0, 10.0), (40.0, 40.0)], "c": [(1.0, 1.0)]}
    confusion = agreement(found, marked, 0.5, 5)
    assert (confusion.tp, confusion.fp, confusion.fn, confusion.tn) == (1, 1, 2, 0)
