"""How well a boundary map parts an image: foreground-restricted Rand and information scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label

THRESHOLDS = tuple(number / 20 for number in range(1, 20))


@dataclass(frozen=True, slots=True)
class PartitionScore:
    """Rand and information score of a partition, 1 for the true one; V_rand and V_info at alpha 1/2."""

    rand: float
    information: float


def partition_score(truth: NDArray[np.integer], segments: NDArray[np.integer]) -> PartitionScore:
    """V_rand and V_info of a partition, on the pixels that are in a true region.

    truth, segments: (height, width), the number of the region that a pixel is in, 0 on borders. A pixel that only
    `segments` calls border is a region of its own. Arganda-Carreras et al., Frontiers in Neuroanatomy 9:142 (2015),
    equation 3 and its like for information with alpha 1/2: harmonic means of the split and the merger score. Raises
    ValueError where no pixel is in a true region.
    """
    inside = truth > 0
    count = int(inside.sum())
    if not count:
        raise ValueError("Expected a true region. Got borders only.")
    true, said = truth[inside].astype(np.int64), segments[inside].astype(np.int64)
    alone = said == 0
    said[alone] = said.max() + 1 + np.arange(int(alone.sum()))
    _, true = np.unique(true, return_inverse=True)
    _, said = np.unique(said, return_inverse=True)
    joint = np.unique(true * (int(said.max()) + 1) + said, return_counts=True)[1] / count
    shares = [np.bincount(numbers) / count for numbers in (said, true)]
    pairs = sum(float((share**2).sum()) for share in shares) / 2
    entropies = [_entropy(share) for share in shares]
    mutual = sum(entropies) - _entropy(joint)
    # One region on both sides: nothing could be told, and nothing was told wrongly.
    information = 2 * mutual / sum(entropies) if sum(entropies) else 1.0
    return PartitionScore(float((joint**2).sum()) / pairs, information)


def regions_of(borders: NDArray[np.bool_], *, thinned: bool = False) -> NDArray[np.int64]:
    """The regions that borders (height, width) part, numbered from 1 on, 0 on the borders.

    Pixels that share an edge are in one region. thinned: the regions then grow, a pixel at a time, until they meet, so
    that the width of a border does not count.
    """
    numbers = np.zeros(borders.shape, np.int64)
    inside = ~borders
    label(inside, output=numbers)
    if not thinned or not inside.any():
        return numbers
    padded = np.pad(numbers, 1)
    core = padded[1:-1, 1:-1]
    while (border := core == 0).any():
        around = np.maximum.reduce([padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]])
        core[border] = around[border]
    return core.copy()


def best_partition_scores(
    truth: Sequence[NDArray[np.bool_]],
    borders: Sequence[NDArray[np.floating]],
    thresholds: Sequence[float] = THRESHOLDS,
) -> tuple[tuple[float, float], tuple[float, float]]:
    """The best V_rand and V_info over the thresholds, after thinning: (value, threshold) of each.

    truth: where the borders are, (height, width) bool an image. borders: how likely each pixel is one, in [0, 1]. The
    values are means over the images, the threshold the same for all, as in the ISBI 2012 challenge.
    """
    regions = [regions_of(each) for each in truth]
    found = []
    for threshold in thresholds:
        scores = [
            partition_score(true, regions_of(said >= threshold, thinned=True))
            for true, said in zip(regions, borders, strict=True)
        ]
        means = [float(np.mean([getattr(score, name) for score in scores])) for name in ("rand", "information")]
        found.append((means[0], means[1], threshold))
    rand, information = (max(found, key=lambda each: each[place]) for place in (0, 1))
    return (rand[0], rand[2]), (information[1], information[2])


def _entropy(shares: NDArray[np.float64]) -> float:
    return float(-(shares * np.log(shares)).sum())
