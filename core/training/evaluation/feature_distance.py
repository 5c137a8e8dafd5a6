"""How far the frames of a beamtime lie from those that a network learned from, in the network's own features."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from photon_triage.core.common.errors import TrainingError
from photon_triage.core.frames import FrameKey
from photon_triage.core.prepare import Preparation
from photon_triage.core.session.decisions.labels import Label
from photon_triage.core.session.session import Session
from photon_triage.core.training.data.examples import gather
from photon_triage.models.darknet.darknet import Darknet
from photon_triage.models.darknet.representation import Features

MOST = 256
"""Frames of either kind, drawn at random."""

AT_ONCE = 32


@dataclass(frozen=True)
class FeatureDistance:
    """Mean distances to the nearest frame learned from, with every feature scaled to the deviation 1.

    beamtime: of frames drawn from those that are not learned from. within: of the frames learned from to each other.
    ratio: the one over the other, near 1 where what is learned from stands for all; None where `within` is 0.
    """

    learned: int
    drawn: int
    beamtime: float
    within: float
    ratio: float | None


def feature_distance(
    session: Session,
    network: Darknet,
    preparation: Preparation,
    learned: NDArray[Any],
    known: Collection[FrameKey],
    device: torch.device,
    seed: int = 0,
) -> FeatureDistance | None:
    """The distance to frames of a session that reach its network; None where there are too few of either.

    learned: (n, rows, columns) counts in the preparation's region. known: their keys.
    """
    rng = np.random.default_rng(seed)
    reached = session.recipe().stages_before_network
    with closing(session.results()) as reader:
        keys = [row.key for row in reader.all_frames() if row.passed >= reached and row.key not in known]
    if len(keys) < 2 or len(learned) < 3:
        return None
    drawn = [keys[place] for place in np.sort(rng.permutation(len(keys))[:MOST]).tolist()]
    try:
        others = gather(session, preparation, [Label(key, "rejected", "", 0.0) for key in drawn]).counts
    except TrainingError:
        return None  # their files are gone; those that were learned from are in memory
    some = np.sort(rng.permutation(len(learned))[:MOST])
    features = [features_of(network, preparation, counts, device) for counts in (learned[some], others)]
    return distance_between(*features)


def distance_between(learned: NDArray[np.float64], beamtime: NDArray[np.float64]) -> FeatureDistance:
    """The distance of features (m, k) to features learned from, (n, k) with n of 2 and more."""
    from sklearn.neighbors import NearestNeighbors

    spread = np.concatenate([learned, beamtime]).std(0)
    scale = np.where(spread > 0, spread, 1.0)
    # By a tree, which subtracts: products of thousands of features leave a distance between equal frames.
    nearest = NearestNeighbors(n_neighbors=1, algorithm="ball_tree").fit(learned / scale)
    within = float(nearest.kneighbors()[0].mean())
    away = float(nearest.kneighbors(beamtime / scale)[0].mean())
    return FeatureDistance(len(learned), len(beamtime), away, within, away / within if within else None)


@torch.inference_mode()
def features_of(
    network: Darknet, preparation: Preparation, counts: NDArray[Any], device: torch.device
) -> NDArray[np.float64]:
    """The features of frames, (n, features): see `models.features`."""
    features = Features(network).fused().to(device)
    preparation.to(device)
    parts = []
    for start in range(0, len(counts), AT_ONCE):
        part = torch.from_numpy(counts[start : start + AT_ONCE]).to(device).float()
        parts.append(features(preparation.fit(part)).double().cpu().numpy())
    return np.concatenate(parts)
