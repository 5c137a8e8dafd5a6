"""Augmentation: what an experiment could have measured just as well."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

LEAST_KEPT = 0.3
"""Thinning keeps at least this part of the photons."""


def augment(
    counts: NDArray[Any], boxes: NDArray[np.float32], rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mirror half of the frames, and thin the photons of half of them; returns new counts and boxes.

    counts: (batch, rows, columns). boxes: (batch, 4), centre x first, as parts of the width. Thinning a Poisson count
    binomially gives the Poisson count of a weaker pulse, so it stays exact; counts that are not whole are scaled.
    """
    kept = np.where(rng.random(len(counts)) < 0.5, rng.uniform(LEAST_KEPT, 1.0, len(counts)), 1.0)
    if counts.dtype.kind == "i":
        lit = np.nonzero(counts)
        thinned = np.zeros(counts.shape, np.float32)
        thinned[lit] = rng.binomial(counts[lit], kept[lit[0]])
    else:
        thinned = (counts * kept[:, None, None]).astype(np.float32)
    mirrored = rng.random(len(counts)) < 0.5
    thinned[mirrored] = thinned[mirrored][:, :, ::-1]
    turned = boxes.copy()
    turned[mirrored, 0] = 1 - turned[mirrored, 0]
    return thinned, turned
