"""Preselection among the patches of images, of which there is one about every pixel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from photon_triage.core.training.data.preselecting import AT_ONCE, How, preselect, statistics_of
from photon_triage.core.training.tasks.patches.patches import Draw, Patches, Sites

POOL, KEPT = 4096, 1024
"""Patches looked at, and those of them that are learned from."""

POSITIVES = 256


def preselected(negatives: Draw, positives: Draw, patches: Patches, how: How, seed: int) -> Draw:
    """Draws from KEPT negatives that were chosen once, by the statistics of POOL of them; "random" draws from all.

    Raises TrainingError for another `how`.
    """
    if how == "random":
        return negatives
    rng = np.random.default_rng(seed)
    pool = np.unique(negatives(rng, POOL), axis=0)
    of_positives = _statistics(patches, positives(rng, POSITIVES))
    chosen = pool[preselect(how, _statistics(patches, pool), of_positives, KEPT, rng)]
    return lambda rng, count: rng.choice(chosen, count)


def _statistics(patches: Patches, sites: Sites) -> NDArray[np.float64]:
    starts = range(0, len(sites), AT_ONCE)
    return np.concatenate([statistics_of(patches.cut(sites[at : at + AT_ONCE])[:, 0]) for at in starts])
