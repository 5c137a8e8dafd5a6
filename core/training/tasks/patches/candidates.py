"""Training of a patch finder on candidates that operators decided on in a session."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from photon_triage.core.common.errors import TrainingError
from photon_triage.core.frames import FrameKey
from photon_triage.core.metrics import Confusion
from photon_triage.core.session.decisions.labels import Label
from photon_triage.core.session.models.catalog import ModelEntry
from photon_triage.core.session.session import Session
from photon_triage.core.training.data.images import Image
from photon_triage.core.training.data.objects import objects_at
from photon_triage.core.training.data.sources import chosen_labels, readable_frames, runs_of
from photon_triage.core.training.data.split import as_originals, contents_of, copies_in, hold_back
from photon_triage.core.training.evaluation.scoring import confusion_scores
from photon_triage.core.training.loop.loop import learn
from photon_triage.core.training.loop.runs import TrainingRun
from photon_triage.core.training.model.job import (
    GIVE_IMAGES,
    NetworkJob,
    NetworkTraining,
    facts_of_labels,
    keep_layers,
    note_sources,
)
from photon_triage.core.training.tasks.patches.finder_job import finding_plan, new_finder
from photon_triage.core.training.tasks.patches.finder_learner import preselected
from photon_triage.core.training.tasks.patches.patch_sampler import (
    Draw,
    Marked,
    PatchLearner,
    PatchSampler,
    Sites,
    elsewhere_drawn,
    score_patches,
)
from photon_triage.models.nets.patch_finder import PatchFinder, load_patch_finder

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
            row = reader.frames().rows([key]).get(key)
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


def prepare_candidates(
    job: NetworkJob, base: ModelEntry | None, run: TrainingRun, device: torch.device
) -> NetworkTraining[PatchFinder]:
    """Continue or begin a patch finder on accepted and rejected candidates; some of them are held out and score it.

    Raises TrainingError, SessionError or ModelError.
    """
    chosen = chosen_labels(job.session, run, job.sources)
    accepted_count = sum(label.verdict == "accepted" for label in chosen.labels)
    plan = finding_plan(job, accepted_count, continues=base is not None)
    labelled = labelled_candidates(job.session, chosen.labels, plan.min_distance)
    pixels = contents_of(image.pixels for image in labelled.images)
    keys = as_originals(labelled.keys, copies_in(job.session))
    on = labelled.sites[:, 0].tolist()
    held = hold_back(keys, labelled.accepted, job.seed, [pixels[place] for place in on], labelled.runs)
    old = None if base is None else load_patch_finder(base.path)
    learned_from = set(labelled.sites[held.training, 0].tolist())
    images = [labelled.images[place] for place in sorted(learned_from)]
    finder = new_finder(job, images) if base is None else load_patch_finder(base.path)
    keep_layers(job, finder.network)
    threshold = job.session.recipe().default_threshold
    cut = math.log(threshold / (1 - threshold)) if 0 < threshold < 1 else math.copysign(math.inf, threshold - 0.5)

    def score(model: PatchFinder) -> dict[str, Any]:
        patches = PatchSampler(labelled.images, model)
        said = score_patches(model, patches, labelled.sites[held.test], device) >= cut
        return confusion_scores(_confusion(said, labelled.accepted[held.test])) | {"threshold": threshold}

    learned = {labelled.keys[place]: bool(labelled.accepted[place]) for place in np.flatnonzero(held.training)}
    held_out = [labelled.keys[place] for place in np.flatnonzero(held.test)]
    note_sources(job, chosen, learned)
    learner = PatchLearner(finder, *_patches(job, labelled, held.training, learned_from, finder), plan, device)
    how = {
        "family": finder.network.architecture["family"],
        "iterations": plan.iterations,
        "batch": plan.batch,
        "rate": plan.rate,
        "negatives": job.negatives,
        "threshold": threshold,
    }
    return NetworkTraining(
        finder,
        old,
        learn(learner, plan.iterations, run.keeper),
        score,
        [labelled.images[place].key for place in learned_from],
        lambda: facts_of_labels(
            job,
            chosen,
            learned,
            held_out,
            unreachable=labelled.unreachable,
            simulated=any(image.simulated for image in labelled.images),
        ),
        how,
    )


def _patches(
    job: NetworkJob, labelled: LabelledCandidates, training: NDArray[np.bool_], images: set[int], finder: PatchFinder
) -> tuple[PatchSampler, Draw, Draw]:
    """The patches of all images, and draws of accepted ones and of others, half of which were rejected.

    training: (n,) which candidates are learned from. images: those that they are on: the others stay unseen.
    """
    patches = PatchSampler(labelled.images, finder)
    rejected = _drawn(labelled.sites[training & ~labelled.accepted])
    accepted = _drawn(labelled.sites[training & labelled.accepted])
    elsewhere = elsewhere_drawn(
        [
            each if place in images else replace(each, elsewhere=np.zeros_like(each.elsewhere))
            for place, each in enumerate(labelled.background)
        ]
    )
    background = preselected(elsewhere, accepted, patches, job.negatives, job.seed)

    def others(rng: np.random.Generator, count: int) -> Sites:
        return np.concatenate([rejected(rng, count - count // 2), background(rng, count // 2)])

    return patches, accepted, others


def _drawn(sites: Sites) -> Draw:
    return lambda rng, count: rng.choice(sites, count)


def _confusion(said: NDArray[np.bool_], true: NDArray[np.bool_]) -> Confusion:
    return Confusion(
        int((said & true).sum()), int((said & ~true).sum()), int((~said & true).sum()), int((~said & ~true).sum())
    )
