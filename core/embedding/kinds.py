"""Kinds and outliers among embedded frames: k-means clusters, and distances to the nearest others."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SAMPLE = 8192
"""Frames of which clusters are made and to which distances are taken, so that memory and time stay bounded."""
KINDS, NEAREST = 32, 10
STARTS, ROUNDS, BLOCK = 5, 50, 4096

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
    found = [_k_means(vectors, _seeds(vectors, count, rng)) for _ in range(STARTS)]
    return min(found, key=lambda each: each[1])[0]


def _seeds(vectors: Vectors, count: int, rng: np.random.Generator) -> Vectors:
    """Rows far from each other, at random (k-means++: Arthur & Vassilvitskii 2007)."""
    centres = vectors[[int(rng.integers(len(vectors)))]]
    away = squared_distances(vectors, centres)[:, 0]
    while len(centres) < min(count, len(vectors)) and away.sum() > 0:
        chosen = int(rng.choice(len(vectors), p=away / away.sum()))
        centres = np.concatenate([centres, vectors[[chosen]]])
        away = np.minimum(away, squared_distances(vectors, centres[-1:])[:, 0])
    return centres


def _k_means(vectors: Vectors, centres: Vectors) -> tuple[Vectors, float]:
    """Centres moved until no row changes sides (Lloyd 1982), and the sum of squared distances to them."""
    before = None
    for _ in range(ROUNDS):
        squares = squared_distances(vectors, centres)
        nearest = squares.argmin(1)
        if before is not None and np.array_equal(nearest, before):
            break
        before = nearest
        members = np.zeros((len(centres), len(vectors)), np.float32)
        members[nearest, np.arange(len(vectors))] = 1
        counts = members.sum(1, keepdims=True)
        centres = np.where(counts > 0, members @ vectors / counts.clip(1), centres)
    return centres, float(squared_distances(vectors, centres).min(1).sum())


def squared_distances(vectors: Vectors, others: Vectors) -> NDArray[np.float64]:
    """Squared Euclidean distances, (n, m)."""
    one, two = vectors.astype(np.float64), others.astype(np.float64)
    squares = (one**2).sum(1)[:, None] + (two**2).sum(1)[None] - 2 * one @ two.T
    clipped: NDArray[np.float64] = squares.clip(0.0)
    return clipped


def nearest_centres(vectors: Vectors, centres: Vectors) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """For each row the nearest centre and the distance to it, (n,) each."""
    squares = squared_distances(vectors, centres)
    kind = squares.argmin(1)
    return kind, np.sqrt(squares[np.arange(len(kind)), kind])


def loneliness(vectors: Vectors, others: Vectors, nearest: int = NEAREST) -> NDArray[np.float64]:
    """The mean distance of each row to its `nearest` neighbours among others that are not its equals, (n,).

    Source: outliers by the distance to the k nearest neighbours (Ramaswamy, Rastogi & Shim 2000; mean of all k as in
    Angiulli & Pizzuti 2002).
    """
    found = np.zeros(len(vectors))
    for start in range(0, len(vectors), BLOCK):
        squares = squared_distances(vectors[start : start + BLOCK], others)
        squares[squares < 1e-6] = np.inf  # itself, and copies of it
        count = min(nearest, len(others))
        closest = np.sort(np.partition(squares, count - 1, axis=1)[:, :count], axis=1)
        finite = np.isfinite(closest)
        roots = np.sqrt(np.where(finite, closest, 0.0))
        found[start : start + BLOCK] = roots.sum(1) / np.maximum(finite.sum(1), 1)
    return found


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
