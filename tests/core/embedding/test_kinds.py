"""Clusters, loneliness and the order of kinds, on points of known make-up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from photon_triage.core.embedding.kinds import (
    Scale,
    cluster,
    loneliness,
    nearest_centres,
    one_of_each,
    sample,
)


def blobs(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Four groups of 200, 60, 20 and 5 points in eight dimensions, and which is which."""
    rng = np.random.default_rng(seed)
    kinds = np.repeat(np.arange(4), [200, 60, 20, 5])
    centres = 10 * np.eye(4, 8)
    return (centres[kinds] + rng.normal(0, 0.5, (len(kinds), 8))).astype(np.float32), kinds


@pytest.mark.parametrize("seed", range(5))
def test_clusters_find_the_groups_however_small(seed: int) -> None:
    points, truth = blobs(seed)
    kind, _ = nearest_centres(points, cluster(points, 4, np.random.default_rng(seed)))
    assert len({*zip(kind.tolist(), truth.tolist(), strict=True)}) == 4


def test_the_first_round_has_one_of_each_kind_and_the_most_typical() -> None:
    points, truth = blobs()
    away = np.sqrt(((points - np.stack([points[truth == kind].mean(0) for kind in range(4)])[truth]) ** 2).sum(1))
    order = one_of_each(truth, away)
    assert truth[order[:4]].tolist() == [0, 1, 2, 3], "the largest kind first"
    assert [away[place] == away[truth == truth[place]].min() for place in order[:4]] == [True] * 4
    assert sorted(order.tolist()) == list(range(len(points)))
    largest = away[order[truth[order] == 0]]
    assert np.sort(away[truth == 0]).searchsorted(largest[:3]).tolist() == [0, 128, 64]


def test_a_point_on_its_own_is_the_loneliest_and_copies_do_not_keep_each_other_company() -> None:
    points, _ = blobs()
    odd = np.full((2, 8), 40, np.float32)  # the same frame twice
    lonely = loneliness(np.concatenate([points, odd]), np.concatenate([points, odd]), 5)
    assert {*np.argsort(-lonely)[:2].tolist()} == {len(points), len(points) + 1}


@given(st.lists(st.integers(1, 30), min_size=1, max_size=5), st.integers(1, 60))
def test_a_sample_is_of_so_many_different_rows(sizes: list[int], count: int) -> None:
    rows = np.arange(sum(sizes), dtype=np.float32)[:, None]
    parts = np.split(rows, np.cumsum(sizes)[:-1])
    drawn = sample(iter(parts), count, np.random.default_rng(0))
    assert len(np.unique(drawn)) == len(drawn) == min(count, len(rows))


def test_every_row_is_as_likely_in_a_sample() -> None:
    rng = np.random.default_rng(0)
    parts = [np.arange(start, start + 10, dtype=np.float32)[:, None] for start in range(0, 100, 10)]
    counts = np.bincount(
        np.concatenate([sample(iter(parts), 20, rng).ravel() for _ in range(500)]).astype(int), minlength=100
    )  # fmt: skip
    assert np.abs(counts - 100).max() < 5 * np.sqrt(80)


def test_a_feature_that_never_changes_counts_for_nothing() -> None:
    points = np.concatenate([blobs()[0], np.full((285, 1), 7, np.float32)], 1)
    scaled = Scale.of(points)(points)
    assert np.all(scaled[:, -1] == 0) and np.allclose(scaled[:, :4].std(0), 1, atol=1e-3)


def test_loneliness_is_the_mean_distance_to_the_nearest_others() -> None:
    points = np.array([[0, 0], [3, 4], [0, 1], [0, 1]], np.float32)
    beside = (1 + 18**0.5) / 2  # of two equal points, which are one another's company in nothing
    assert loneliness(points, points, 2) == pytest.approx([3, (5 + 18**0.5) / 2, beside, beside])
    assert loneliness(points[:1], points[:1]).tolist() == [0]


def test_the_same_seed_gives_the_same_clusters_and_no_more_than_there_are_different_rows() -> None:
    points, _ = blobs()
    one, again = (cluster(points, 8, np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(one, again)
    assert len(cluster(np.repeat(points[:3], 4, axis=0), 8, np.random.default_rng(0))) == 3
