"""Labelled frames as radial profiles: sums over rings about the beam."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from photon_triage.core.common.errors import SourceError, TrainingError
from photon_triage.core.frames import Batch, FrameKey, as_counts
from photon_triage.core.rings import Rings
from photon_triage.core.session.decisions.labels import Label
from photon_triage.core.session.session import Session
from photon_triage.core.sources import FrameReader
from photon_triage.models.nets.radialnet import RadialNet

LEAST_LABELS = 10
FRAMES_AT_ONCE = 64


@dataclass(frozen=True, eq=False)
class Profiles:
    """Labelled frames as sums over rings: counts and usable pixels, (n, bins) each; keys, runs, accepted (n,)."""

    keys: tuple[FrameKey, ...]
    runs: tuple[str, ...]
    counts: NDArray[np.float32]
    pixels: NDArray[np.float32]
    accepted: NDArray[np.bool_]

    def take(self, where: NDArray[np.bool_]) -> Profiles:
        """Those where `where` ((n,) bool) is true."""
        places = np.flatnonzero(where).tolist()
        keys, runs = tuple(self.keys[place] for place in places), tuple(self.runs[place] for place in places)
        return Profiles(keys, runs, self.counts[where], self.pixels[where], self.accepted[where])


def read_profiles(session: Session, network: RadialNet, labels: Iterable[Label]) -> Profiles:
    """The profiles of labelled frames that the classify stage sees, as the stage takes them.

    Raises TrainingError where there are too few, RecipeError where the geometry is not known.
    """
    recipe = session.recipe()
    with closing(session.results()) as reader:
        passed = {row.key: row.passed for row in reader.all_frames()}
        files = {file.path: file for file in reader.files()}
    wanted: dict[str, list[Label]] = defaultdict(list)
    for label in labels:
        if label.verdict != "skipped" and passed.get(label.key, -1) >= recipe.stages_before_network:
            wanted[label.key.file].append(label)
    rings = Rings(network.bins, network.q_max, recipe.prepare.roi)
    keys: list[FrameKey] = []
    runs, counts, pixels, accepted = [], [], [], []
    with FrameReader(roots=recipe.source.roots) as frames:
        for path, told in sorted(wanted.items()):
            file = files[path]
            told.sort(key=lambda label: label.key.index)
            for start in range(0, len(told), FRAMES_AT_ONCE):
                part = told[start : start + FRAMES_AT_ONCE]
                try:
                    valid = frames.mask(frames.inspect(file.path, file.dataset or None))
                    raw = frames.read_indices(file.path, file.dataset, [label.key.index for label in part])
                except SourceError:
                    continue
                mask = None if valid is None else torch.from_numpy(valid)
                these = tuple(label.key for label in part)
                summed, usable = rings(Batch(these, torch.from_numpy(as_counts(raw, valid)), mask, file.geometry))
                keys += these
                runs += [file.run] * len(part)
                counts.append(summed.numpy())
                pixels.append(usable.expand_as(summed).numpy())
                accepted += [label.verdict == "accepted" for label in part]
    if len(keys) < LEAST_LABELS:
        raise TrainingError(
            f"Could not train on {session.path}: only {len(keys)} labelled frames reach the network.",
            f"Label at least {LEAST_LABELS}, accepted and rejected ones.",
        )
    return Profiles(tuple(keys), tuple(runs), np.concatenate(counts), np.concatenate(pixels), np.array(accepted))
