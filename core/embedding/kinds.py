"""Kinds and outliers among embedded frames: k-means clusters, and distances to the nearest others."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SAMPLE = 8192
"""Frames of which clusters are made and to which distances are taken, so that memory and time stay bounded."""
KINDS, NEAREST = 32, 10
STARTS, ROUNDS = 5, 50
SAME = 1e-3
"""Distance below which rows are equal but for rounding."""

Vectors = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Scale:
    """Mean and deviation of features: none is to count for more than another."""

    mean: Vectors
    deviation: Vectors

    @classmethod
    def of(cls, vectors: NDArray[np.floating]) -> Scale:
        """The scale of a sample, (n, features)."""
        wide = vectors.astype(np.float64)
        deviation = wide.std(0)
        return cls(
            wide.mean(0).astype(np.float32), np.where(deviation > 1e-6, deviation, np.inf).astype(np.float32)
        )  # fmt: skip

    def __call__(self, vectors: NDArray[np.floating]) -> Vectors:
        """Features (n, features) of mean 0 and deviation 1; one that never changes becomes 0."""
        scaled: Vectors = (vectors.astype(np.float32) - self.mean) / self.deviation
        return scaled


def sample(parts: Iterable[NDArray[np.floating]], count: int, rng: np.random.Generator) -> Vectors:
    """`count` rows at random from parts read one after the other, each row as likely; all where there are fewer.

    Source: reservoir sampling by random keys (Efraimidis & Spirakis 2006).
    """
    rows, keys = np.empty((0, 0), np.float32), np.empty(0)
    for part in parts:
        drawn = np.concatenate([keys, rng.random(len(part))])
        wide = part.astype(np.float32)
        both = np.concatenate([rows, wide]) if len(rows) else wide
        kept = np.sort(np.argsort(drawn)[:count])
        rows, keys = both[kept], drawn[kept]
    return rows


def cluster(vectors: Vectors, count: int, rng: np.random.Generator) -> Vectors:
    """Centres (count, features) of k-means, the best of STARTS; fewer where there are fewer different rows."""
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    count = min(count, len(np.unique(vectors, axis=0)))
    k_means = KMeans(count, n_init=STARTS, max_iter=ROUNDS, random_state=int(rng.integers(2**31)))
    # In one thread: several add up their parts in the order in which they end, and the same seed gives other centres.
    with threadpool_limits(1):
        centres: Vectors = k_means.fit(vectors).cluster_centers_
    return centres


def nearest_centres(vectors: Vectors, centres: Vectors) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """For each row the nearest centre and the distance to it, (n,) each."""
    from sklearn.metrics import pairwise_distances_argmin_min

    kind, away = pairwise_distances_argmin_min(vectors, centres)
    return kind.astype(np.int64), away.astype(np.float64)


def loneliness(vectors: Vectors, others: Vectors, nearest: int = NEAREST) -> NDArray[np.float64]:
    """The mean distance of each row to its `nearest` neighbours among others that are not its equals, (n,).

    Equal others count once. Source: outliers by the distance to the k nearest neighbours (Ramaswamy, Rastogi & Shim
    2000; mean of all k as in Angiulli & Pizzuti 2002).
    """
    from sklearn.neighbors import NearestNeighbors

    different = np.unique(others, axis=0).astype(np.float64)
    # One more than is asked for: a row may be among the others itself.
    search = NearestNeighbors(n_neighbors=min(nearest + 1, len(different)), algorithm="brute").fit(different)
    away, _ = search.kneighbors(vectors.astype(np.float64))
    equal = away[:, 0] < SAME
    away[equal] = np.roll(away[equal], -1, axis=1)
    counted = np.arange(away.shape[1]) < np.minimum(away.shape[1] - equal, nearest)[:, None]
    means: NDArray[np.float64] = (away * counted).sum(1) / np.maximum(counted.sum(1), 1)
    return means


def one_of_each(kind: NDArray[np.int64], away: NDArray[np.float64]) -> NDArray[np.int64]:
    """An order of frames in rounds of one of each kind, the largest kinds first, (n,) places.

    kind: (n,) cluster numbers. away: (n,) distances to the cluster's centre. The first of a kind is its most typical;
    the next halve, quarter, ... the way to its least typical (van der Corput's sequence): a few show its breadth.
    """
    by_kind = np.lexsort((away, kind))
    sizes = np.bincount(kind)
    rank = np.zeros(len(kind), np.int64)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    for start, size in zip(starts.tolist(), sizes.tolist(), strict=True):
        rank[by_kind[start : start + size]] = _turns(size)
    return np.lexsort((kind, -sizes[kind], rank))


def _turns(size: int) -> NDArray[np.int64]:
    """When each of `size` members is taken, (size,): the first first, then those that halve what lies between."""
    if not size:
        return np.empty(0, np.int64)
    bits = max(1, int(np.ceil(np.log2(size))))
    numbers = np.arange(2**bits)
    spread = np.zeros(2**bits)
    for bit in range(bits):
        spread += ((numbers >> bit) & 1) / 2.0 ** (bit + 1)
    places = (spread * 2**bits).astype(np.int64)
    order = places[places < size]
    turns = np.empty(size, np.int64)
    turns[order] = np.arange(size)
    return turns
