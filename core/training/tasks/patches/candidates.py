"""Candidates that operators decided on in a session, as images to train on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from photon_triage.core.common.errors import TrainingError
from photon_triage.core.frames import FrameKey
from photon_triage.core.session.decisions.labels import Label
from photon_triage.core.session.session import Session
from photon_triage.core.training.data.images import Image
from photon_triage.core.training.data.objects import objects_at
from photon_triage.core.training.data.preselection import AT_ONCE, How, preselect, statistics_of
from photon_triage.core.training.data.sources import readable_frames, runs_of
from photon_triage.core.training.model.job import GIVE_IMAGES
from photon_triage.core.training.tasks.patches.patch_sampler import Draw, Marked, Patches, Sites

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


LEAST_LABELS = 10

Point = tuple[int, int]


@dataclass(frozen=True, eq=False)
class LabelledCandidates:
    """Candidates with a verdict: the frames they are on, (n,) key, run and site, and whether accepted.

    unreachable: labels whose frame cannot be read any more. background: the same frames with the pixels that are far
    from anything that somebody labelled or a network found.
    """

    images: tuple[Image, ...]
    keys: tuple[FrameKey, ...]
    runs: tuple[str, ...]
    sites: Sites
    accepted: NDArray[np.bool_]
    unreachable: int
    background: tuple[Marked, ...]


def labelled_candidates(session: Session, labels: Iterable[Label], min_distance: float) -> LabelledCandidates:
    """Read the frames of candidates that were labelled in a session; skipped ones are left out.

    Raises TrainingError where there are too few.
    """
    points: dict[FrameKey, list[tuple[Point, bool]]] = defaultdict(list)
    labels = [label for label in labels if label.key.point and label.verdict != "skipped"]
    for label in labels:
        points[label.key.frame].append((_point(label), label.verdict == "accepted"))
    listed = _listed(session, points)
    images: list[Image] = []
    keys, sites, accepted, background = [], [], [], []
    for key, image in readable_frames(sorted(points), session):
        inside = [(point, verdict) for point, verdict in points[key] if _is_on(point, image)]
        keys += [key.at(*point) for point, _ in inside]
        sites += [(len(images), y, x) for (x, y), _ in inside]
        accepted += [verdict for _, verdict in inside]
        known = [point for point, _ in inside] + [point for point in listed[key] if _is_on(point, image)]
        objects = objects_at(known, image.shape, min_distance)
        background.append(Marked(image, objects, image.usable & (objects.numbers == 0)))
        images.append(image)
    if len(sites) < LEAST_LABELS:
        raise TrainingError(
            f"Could not train on {session.path}: of its {len(labels)} labelled candidates {len(sites)} can be read.",
            f"Accept and reject at least {LEAST_LABELS}. {GIVE_IMAGES}",
        )
    unreachable = len(labels) - len(sites)
    return LabelledCandidates(
        tuple(images),
        tuple(keys),
        runs_of(session, keys),
        np.array(sites, np.int64),
        np.array(accepted),
        unreachable,
        tuple(background),
    )


def _listed(session: Session, keys: Iterable[FrameKey]) -> dict[FrameKey, list[Point]]:
    """The candidates that the engine has found on these frames."""
    found: dict[FrameKey, list[Point]] = defaultdict(list)
    if not session.results_path.exists():
        return found
    reader = session.results()
    try:
        for key in keys:
            row = reader.listing("frames").row_of(key)
            if row is not None:
                found[key] = [(each.x, each.y) for each in reader.candidates(row.id)]
    finally:
        reader.close()
    return found


def _point(label: Label) -> Point:
    x, y = label.key.point  # type: ignore[misc]
    return x, y


def _is_on(point: Point, image: Image) -> bool:
    return 0 <= point[0] < image.shape[1] and 0 <= point[1] < image.shape[0]
