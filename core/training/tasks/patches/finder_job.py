"""Training of a patch finder on images with masks or points of objects."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from photon_triage.core.common.errors import TrainingError
from photon_triage.core.frames import FrameKey
from photon_triage.core.session.decisions.label_files import latest_labels, read_labels
from photon_triage.core.session.models.catalog import ModelEntry
from photon_triage.core.training.data.classes import object_masks
from photon_triage.core.training.data.images import Image, MaskedImage, read_examples
from photon_triage.core.training.data.objects import Objects, objects_at, objects_in, widened
from photon_triage.core.training.data.split import contents_of, split
from photon_triage.core.training.loop.runs import TrainingRun
from photon_triage.core.training.model.job import (
    NetworkJob,
    NetworkTraining,
    batches,
    facts_of_images,
    keep_layers,
    new_network,
    new_normalisation,
)
from photon_triage.core.training.tasks.patches.finder_learner import FindingPlan, score_finder, train_finder
from photon_triage.core.training.tasks.patches.patch_sampler import NOTHING_WRONG, Marked
from photon_triage.models.nets.lenet import LeNetPatch
from photon_triage.models.nets.patch_finder import PatchFinder, load_patch_finder

ITERATIONS, BATCH, RATE = 1200, 64, 1e-3
CONTINUED = 0.3
"""A network that has learned before goes on with this part of the rate and of the iterations."""

MIN_DISTANCE = 25.0
OTHER, OBJECT = "other", "object"

GAP = 8
"""Pixels about an object from which nothing else is learned: the patch there holds most of it."""


def prepare_objects(
    job: NetworkJob, base: ModelEntry | None, run: TrainingRun, device: torch.device
) -> NetworkTraining[PatchFinder]:
    """Continue or begin a finder on images with masks or points of objects.

    Raises TrainingError, SourceError, LabelError, SessionError or ModelError.
    """
    if (not job.masks) == (job.points is None):
        raise TrainingError(
            "Could not train a network that finds objects: it needs either masks or points of them.",
            "Give --masks, or --points with a CSV table with the columns file, index, verdict, x and y.",
        )
    examples = read_examples(job.images, job.masks, job.within, job.only)
    old = None if base is None else load_patch_finder(base.path)
    marked = _from_masks(job, examples) if job.points is None else _from_points(job, examples, job.points)
    groups = split(marked, [each.image.key for each in marked], contents_of(each.image.pixels for each in marked))
    for held in (groups.validation, groups.test):
        if not any(len(each.objects) for each in held):
            raise TrainingError(
                "Could not score what is found: the held-back images have no objects: "
                f"{', '.join(each.image.name for each in held)}.",
                "The last images are held back; take others last, with files one by one or --only.",
            )
    learned = [each.image for each in groups.training]
    finder = new_finder(job, learned) if base is None else load_patch_finder(base.path)
    keep_layers(job, finder.network)
    found = sum(len(each.objects) for each in groups.training)
    plan = finding_plan(job, found, continues=base is not None)
    how = {
        "family": finder.network.architecture["family"],
        "iterations": plan.iterations,
        "batch": plan.batch,
        "rate": plan.rate,
        "rounds": plan.rounds,
        "negatives": plan.negatives,
        "min_distance": plan.min_distance,
        "within": bool(job.within),
        "margin": _margin(job) if job.within else 0,
    }
    return NetworkTraining(
        finder,
        old,
        train_finder(finder, groups.training, groups.validation, plan, device, run.keeper),
        lambda model: score_finder(model, groups.test, groups.validation, plan, device),
        [each.image.key for each in (*groups.training, *groups.validation)],
        lambda: facts_of_images(groups) | {"objects": found},
        how,
    )


def finding_plan(job: NetworkJob, objects: int, *, continues: bool) -> FindingPlan:
    """How to train: what was asked for, else defaults and the recipe's distance between candidates.

    An epoch shows every object once, and as many other places.
    """
    part, batch = CONTINUED if continues else 1.0, job.batch or BATCH
    stage = job.session.recipe().patches
    return FindingPlan(
        iterations=batches(job, 2 * objects, batch, max(1, round(ITERATIONS * part))),
        batch=batch,
        rate=job.rate or RATE * part,
        min_distance=stage.min_distance if stage else MIN_DISTANCE,
        seed=job.seed,
        negatives=job.negatives,
    )


def new_finder(job: NetworkJob, training: Sequence[Image]) -> PatchFinder:
    """A finder with random weights; what it finds has the last of the names asked for."""
    network = new_network(job, in_channels=1, classes=2)
    if not isinstance(network, LeNetPatch):
        raise TrainingError(f"Could not train a {type(network).__name__} on patches.", "Use lenet.")
    classes = (OTHER, job.classes[-1] if job.classes else OBJECT)
    return PatchFinder(network, classes, new_normalisation(job, training))


def _from_masks(job: NetworkJob, examples: Sequence[MaskedImage]) -> list[Marked]:
    """Every connected part of the foreground is an object."""
    found, counted = object_masks(examples, job.classes, job.void)
    return [
        _marked(job, example, objects_in(mask), good)
        for example, mask, good in zip(examples, found, counted, strict=True)
    ]


def _from_points(job: NetworkJob, examples: Sequence[MaskedImage], table: Path) -> list[Marked]:
    """Every accepted point is an object; what was rejected is learned to be none."""
    images = {_place(example.image.key): example.image for example in examples}
    accepted: dict[tuple[str, int], list[tuple[int, int]]] = defaultdict(list)
    rejected: dict[tuple[str, int], list[tuple[int, int]]] = defaultdict(list)
    elsewhere = 0
    for label in latest_labels(read_labels(table)).values():
        if not label.key.point:
            raise TrainingError(
                f"Could not train on the points of {table}: a label of {label.key.file} has no x and y.",
                "Give the columns x and y, in pixels of the image.",
            )
        place, (x, y) = _place(label.key), label.key.point
        image = images.get(place)
        if image is None:
            elsewhere += 1
        elif not (0 <= y < image.shape[0] and 0 <= x < image.shape[1]):
            raise TrainingError(
                f"Could not train on the points of {table}: {x}, {y} lies outside of {image.name}, which has "
                f"{image.shape[1]} x {image.shape[0]} pixels.",
                "x counts along a row, y down the rows, both from 0.",
            )
        elif label.verdict != "skipped":
            (accepted if label.verdict == "accepted" else rejected)[place].append((x, y))
    if not accepted:
        raise TrainingError(
            f"Could not train on the points of {table}: none that was accepted lies on the {len(examples)} images; "
            f"{elsewhere} points are of other files.",
            "The column file names the images; a relative name starts at the table's own folder.",
        )
    radius = finding_plan(job, 0, continues=False).min_distance / 2
    marked = []
    for example in examples:
        place = _place(example.image.key)
        wrong = np.array([(y, x) for x, y in rejected[place]], np.int64).reshape(-1, 2)
        objects = objects_at(accepted[place], example.image.shape, radius)
        marked.append(_marked(job, example, objects, example.image.usable, wrong))
    return marked


def _marked(
    job: NetworkJob,
    example: MaskedImage,
    objects: Objects,
    counted: NDArray[np.bool_],
    wrong: NDArray[np.int64] = NOTHING_WRONG,
) -> Marked:
    within = None if example.within is None else widened(example.within, _margin(job))
    elsewhere = counted & ~widened(objects.numbers > 0, GAP)
    if within is not None:
        elsewhere &= within
    return Marked(example.image, objects, elsewhere, within, wrong)


def _margin(job: NetworkJob) -> int:
    """Pixels by which the masks to search within are widened: what was asked for, else the recipe's."""
    stage = job.session.recipe().patches
    return job.margin if job.margin is not None else stage.margin if stage else 0


def _place(key: FrameKey) -> tuple[str, int]:
    return os.path.realpath(key.file), key.index
