from __future__ import annotations

import numpy as np
import pytest

from photon_triage.core.candidates import Candidate
from photon_triage.core.common.errors import TrainingError
from photon_triage.core.frames import FrameKey
from photon_triage.core.training.data.objects import objects_in
from photon_triage.core.training.data.split import split
from photon_triage.core.training.evaluation.scoring import (
    ScoredCandidate,
    best_cut,
    candidate_scores,
    judged,
    pixel_scores,
)


def test_pixel_scores_of_two_classes_are_those_of_the_foreground() -> None:
    scores = pixel_scores(np.array([[50, 10], [5, 35]]), ("background", "membrane"), 0)
    assert (scores["n"], scores["accuracy"]) == (100, 0.85)
    measures = [scores[name] for name in ("precision", "recall", "f1", "iou")]
    assert measures == pytest.approx([35 / 45, 35 / 40, 70 / 85, 35 / 50])
    assert scores["classes"]["background"]["recall"] == pytest.approx(50 / 60)


def test_pixel_scores_of_more_classes_are_means_over_those_that_are_there() -> None:
    table = np.array([[50, 0, 0, 0], [5, 5, 0, 0], [0, 0, 8, 0], [0, 0, 0, 0]])
    scores = pixel_scores(table, ("background", "a", "b", "absent"), 0)
    assert scores["recall"] == pytest.approx((0.5 + 1) / 2) and scores["classes"]["absent"]["f1"] is None


def test_candidates_are_right_on_any_object_and_an_object_is_found_once() -> None:
    mask = np.zeros((20, 20), bool)
    mask[2:6, 2:9] = mask[12:15, 12:15] = True
    found = [Candidate(3, 3, 2.0), Candidate(8, 4, 1.0), Candidate(18, 18, 0.5), Candidate(13, 13, -1.0)]
    held = judged([found], [objects_in(mask)])
    assert [each.number for each in held] == [1, 1, 0, 2]
    scores = candidate_scores(held, 2, 0.0)
    assert {key: scores[key] for key in ("n", "candidates", "tp", "fp", "found", "missed")} == {
        "n": 2, "candidates": 3, "tp": 2, "fp": 1, "found": 1, "missed": 1
    }  # fmt: skip
    assert (scores["precision"], scores["recall"]) == (2 / 3, 1 / 2)
    assert scores["f1"] == pytest.approx(2 * (2 / 3) * 0.5 / (2 / 3 + 0.5))


def test_nothing_found_has_no_precision() -> None:
    scores = candidate_scores([], 3, 0.0)
    assert (scores["precision"], scores["recall"], scores["f1"]) == (None, 0.0, 0.0)
    assert best_cut([ScoredCandidate(1.0, 0, 0)], 3) == (None, 0.0)


def test_the_best_cut_lies_between_two_scores() -> None:
    ordered = [
        ScoredCandidate(4.0, 0, 1),
        ScoredCandidate(3.0, 1, 1),
        ScoredCandidate(2.0, 0, 0),
        ScoredCandidate(1.0, 0, 2),
    ]
    cut, f1 = best_cut(ordered, 3)
    # All four: precision 3/4, recall 3/3. The first two: 2/2, 2/3.
    assert f1 == pytest.approx(6 / 7) and cut == 1.0
    cut, f1 = best_cut(ordered[:3], 3)
    assert f1 == pytest.approx(4 / 5) and cut == 2.5
    assert candidate_scores(ordered[:3], 3, 2.5)["f1"] == f1


def runs_of_two(count: int) -> list[FrameKey]:
    return [FrameKey(f"run_{place // 2}.h5", "", place % 2) for place in range(count)]


@pytest.mark.parametrize(("count", "sizes"), [(2, (1, 1, 1)), (5, (4, 1, 1)), (6, (4, 1, 1)), (14, (10, 2, 2))])
def test_the_last_images_are_held_back(count: int, sizes: tuple[int, int, int]) -> None:
    groups = split(range(count), runs_of_two(count))
    assert (len(groups.training), len(groups.validation), len(groups.test)) == sizes
    assert groups.same == (count < 6) and groups.test[-1] == count - 1
    held = set(groups.validation) | set(groups.test)
    assert set(groups.training) | held == set(range(count)) and not set(groups.training) & held


def test_one_image_cannot_be_split() -> None:
    with pytest.raises(TrainingError, match="there is 1"):
        split([1], runs_of_two(1))
