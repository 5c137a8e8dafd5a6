from __future__ import annotations

import math
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

FOLDER = Path(__file__).parents[2] / "benchmarks"
if not FOLDER.is_dir():
    pytest.skip("the benchmarks are not part of this distribution", allow_module_level=True)
sys.path.insert(0, str(FOLDER))
try:
    partitions = import_module("partitions")
finally:
    sys.path.remove(str(FOLDER))
best_partition_scores, partition_score = partitions.best_partition_scores, partitions.partition_score
regions_of = partitions.regions_of

HALVES = np.repeat([[1, 1, 2, 2]], 4, axis=0)
"""Two regions of eight pixels."""


def test_the_true_partition_has_one() -> None:
    other_numbers = np.where(HALVES == 1, 7, 3)
    score = partition_score(HALVES, other_numbers)
    assert (score.rand, score.information) == pytest.approx((1, 1))


def test_all_merged_has_the_share_of_pairs_and_no_information() -> None:
    score = partition_score(HALVES, np.ones_like(HALVES))
    # Pairs in one region on both sides: 1/2; of the merged partition 1, of the true one 1/2: 1/2 / (3/4).
    assert (score.rand, score.information) == pytest.approx((2 / 3, 0))


def test_all_split_has_few_pairs_and_half_the_information() -> None:
    single = np.arange(1, 17).reshape(4, 4)
    score = partition_score(HALVES, single)
    assert score.rand == pytest.approx((1 / 16) / ((1 / 16 + 1 / 2) / 2))
    assert score.information == pytest.approx(2 * math.log(2) / (math.log(16) + math.log(2)))
    assert partition_score(HALVES, np.zeros_like(HALVES)) == score


def test_only_pixels_of_true_regions_count() -> None:
    truth = np.array([[1, 0, 2, 2], [1, 0, 2, 2]])
    said = np.array([[5, 5, 6, 6], [5, 6, 6, 6]])
    assert partition_score(truth, said).rand == pytest.approx(1)
    with pytest.raises(ValueError):
        partition_score(np.zeros((2, 2), int), np.ones((2, 2), int))


def test_scores_are_those_of_counted_pairs() -> None:
    rng = np.random.default_rng(1)
    truth, said = rng.integers(1, 4, (6, 7)), rng.integers(1, 5, (6, 7))
    same_truth, same_said = (np.equal.outer(each.ravel(), each.ravel()) for each in (truth, said))
    together = float((same_truth & same_said).sum())
    split, merged = together / same_truth.sum(), together / same_said.sum()
    assert partition_score(truth, said).rand == pytest.approx(2 * split * merged / (split + merged))


def test_regions_meet_where_borders_are_thinned() -> None:
    borders = np.zeros((5, 7), bool)
    borders[:, 2:5] = True
    assert np.unique(regions_of(borders)).tolist() == [0, 1, 2]
    thin = regions_of(borders, thinned=True)
    assert set(thin.ravel().tolist()) == {1, 2} and (thin[:, :3] == 1).all() and (thin[:, 4:] == 2).all()
    assert not regions_of(np.ones((3, 3), bool), thinned=True).any()


def test_regions_that_touch_at_a_corner_are_two() -> None:
    checks: NDArray[np.bool_] = np.eye(2, dtype=bool)
    assert regions_of(checks).max() == 2


def test_the_best_threshold_is_found() -> None:
    border = np.zeros((8, 9), bool)
    border[:, 4] = True
    likely = np.where(border, 0.6, 0.3)
    likely[4, 4] = 0.4
    (rand, at), (information, _) = best_partition_scores([border], [likely], (0.2, 0.35, 0.5))
    assert at == 0.35 and (rand, information) == pytest.approx((1, 1))
