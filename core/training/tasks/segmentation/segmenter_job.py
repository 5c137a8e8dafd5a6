"""Training of a segmenter, from images with masks or accepted masks to a registered model with its scores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch

from photon_triage.core.common.errors import TrainingError
from photon_triage.core.frames import FrameKey
from photon_triage.core.session.decisions.labels import Label
from photon_triage.core.session.models.catalog import ModelEntry
from photon_triage.core.session.session import Session
from photon_triage.core.session.store.rows import ClassMap
from photon_triage.core.training.data.classes import VOID, class_maps
from photon_triage.core.training.data.images import Image, read_examples
from photon_triage.core.training.data.sources import chosen_labels, readable_frames, runs_of
from photon_triage.core.training.data.split import Split, as_originals, contents_of, copies_in, split, split_by_run
from photon_triage.core.training.evaluation.scoring import held_out_masks
from photon_triage.core.training.loop.runs import TrainingRun
from photon_triage.core.training.model.job import (
    GIVE_IMAGES,
    NetworkJob,
    NetworkTraining,
    batches,
    facts_of_images,
    keep_layers,
    new_network,
    new_normalisation,
    note_sources,
)
from photon_triage.core.training.tasks.segmentation.segmentation import (
    Mapped,
    SegmentationPlan,
    score_segmenter,
    train_segmenter,
)
from photon_triage.models.common.classes import named_classes
from photon_triage.models.msd import MSDNet
from photon_triage.models.nets.segmenter import Segmenter, load_segmenter
from photon_triage.models.nets.unet import LOST, UNet

CROP = 256
ITERATIONS = {"msd": 600, "unet": 600}
RATE = {"msd": 3e-3, "unet": 3e-4}
"""Of Adam. Pelt & Sethian (2018) stay at 1e-3 for days; where it falls, three times that is better after minutes."""
BATCH = 1
"""As both networks were published with."""
CONTINUED = 0.3
"""A network that has learned before goes on with this part of the rate and of the iterations."""


def accepted_masks(session: Session, labels: Iterable[Label]) -> tuple[list[Mapped], tuple[str, ...]]:
    """The frames whose segmentation was accepted, with it, and the names of its classes.

    Raises TrainingError where there are fewer than two, or where their classes differ.
    """
    accepted = [label.key for label in labels if label.verdict == "accepted" and not label.key.point]
    masks = _stored_masks(session, accepted)
    classes = {mask.classes for mask in masks.values()}
    if len(masks) < 2:
        raise TrainingError(
            f"Could not train on {session.path}: of its {len(accepted)} accepted frames {len(masks)} have a mask.",
            f"Accept at least two frames whose mask is right. {GIVE_IMAGES}",
        )
    if len(classes) > 1:
        raise TrainingError(
            f"Could not train on {session.path}: its accepted masks are of different classes.",
            f"Scan the frames with one model, and accept their masks again. {GIVE_IMAGES}",
        )
    mapped = []
    for key, image in readable_frames(sorted(masks), session):
        mask = masks[key]
        height, width = mask.values.shape
        window = (slice(mask.top, mask.top + height), slice(mask.left, mask.left + width))
        inner = Image(key, image.pixels[window], image.usable[window], image.simulated)
        mapped.append(Mapped(inner, np.where(inner.usable, mask.values, VOID).astype(np.uint8)))
    return mapped, classes.pop()


def _stored_masks(session: Session, keys: Iterable[FrameKey]) -> dict[FrameKey, ClassMap]:
    found = {}
    reader = session.results()
    try:
        for key in keys:
            row = reader.frames().rows([key]).get(key)
            mask = None if row is None else reader.mask(row.id)
            if mask is not None:
                found[key] = mask
    finally:
        reader.close()
    return found


def prepare_masks(
    job: NetworkJob, base: ModelEntry | None, run: TrainingRun, device: torch.device
) -> NetworkTraining[Segmenter]:
    """Continue or begin a segmenter on images with masks; raises TrainingError, SourceError or ModelError."""
    if not job.masks:
        raise TrainingError(
            "Could not train a segmenter: there are no masks.", "Give --masks with a mask for every image."
        )
    examples = read_examples(job.images, job.masks, only=job.only)
    names = job.classes or (named_classes(base.metadata) if base else ())
    maps, classes = class_maps(examples, names, job.void)
    mapped = [Mapped(example.image, found) for example, found in zip(examples, maps, strict=True)]
    groups = split(mapped, [each.image.key for each in mapped], contents_of(each.image.pixels for each in mapped))
    return _prepared(job, base, run, device, groups, classes, facts_of_images(groups))


def prepare_accepted_masks(
    job: NetworkJob, base: ModelEntry | None, run: TrainingRun, device: torch.device
) -> NetworkTraining[Segmenter]:
    """Continue or begin a segmenter on the frames whose mask was accepted; raises TrainingError or SessionError."""
    chosen = chosen_labels(job.session, run, job.sources)
    mapped, classes = accepted_masks(job.session, chosen.labels)
    keys = [each.image.key for each in mapped]
    note_sources(job, chosen, keys)
    pixels = contents_of(each.image.pixels for each in mapped)
    groups = split_by_run(mapped, as_originals(keys, copies_in(job.session)), runs_of(job.session, keys), pixels)
    facts = facts_of_images(groups) | {"evaluated_on": held_out_masks(len(groups.test), chose=groups.same)}
    return _prepared(job, base, run, device, groups, classes, facts)


def _prepared(
    job: NetworkJob,
    base: ModelEntry | None,
    run: TrainingRun,
    device: torch.device,
    groups: Split[Mapped],
    classes: tuple[str, ...],
    facts: Mapping[str, Any],
) -> NetworkTraining[Segmenter]:
    old = None if base is None else load_segmenter(base.path)
    segmenter = new_segmenter(job, groups, classes) if base is None else load_segmenter(base.path)
    if base is not None and segmenter.classes != classes:
        raise TrainingError(
            f"Could not continue {base.name}: its classes are {', '.join(segmenter.classes)}, "
            f"not {', '.join(classes)}.",
            "Leave --classes out, or begin a new network.",
        )
    keep_layers(job, segmenter.network)
    plan = segmentation_plan(job, segmenter, groups, continues=base is not None)
    return NetworkTraining(
        segmenter,
        old,
        train_segmenter(segmenter, groups.training, groups.validation, plan, device, run.keeper),
        lambda model: score_segmenter(model, groups.test, device),
        [each.image.key for each in (*groups.training, *groups.validation)],
        lambda: facts,
        settings_used(segmenter, plan),
    )


def settings_used(segmenter: Segmenter, plan: SegmentationPlan) -> dict[str, Any]:
    """The settings of a training as they are recorded with its model."""
    return {
        "family": segmenter.network.architecture["family"],
        "iterations": plan.iterations,
        "batch": plan.batch,
        "rate": plan.rate,
        "crop": plan.crop,
        "loss": plan.loss,
        "class_weights": "balanced" if plan.weighted else "none",
    }


def new_segmenter(job: NetworkJob, groups: Split[Mapped], classes: tuple[str, ...]) -> Segmenter:
    """A segmenter with a new network of the job's family, normalised as the training images are."""
    network = new_network(job, in_channels=1, out_channels=len(classes))
    if not isinstance(network, MSDNet | UNet):
        raise TrainingError(f"Could not train a {type(network).__name__} to segment.", "Use msd or unet.")
    return Segmenter(network, classes, new_normalisation(job, [each.image for each in groups.training]))


def segmentation_plan(
    job: NetworkJob, segmenter: Segmenter, groups: Split[Mapped], *, continues: bool
) -> SegmentationPlan:
    """How a job's segmenter is trained; one that continues goes on with a part of rate and iterations."""
    family = segmenter.network.architecture["family"]
    part, batch = CONTINUED if continues else 1.0, job.batch or BATCH
    return SegmentationPlan(
        iterations=batches(job, len(groups.training), batch, max(1, round(ITERATIONS[family] * part))),
        batch=batch,
        rate=job.rate or RATE[family] * part,
        crop=_crop(job, segmenter, groups),
        seed=job.seed,
        loss=job.loss,
        weighted=job.weighted,
    )


def _crop(job: NetworkJob, segmenter: Segmenter, groups: Split[Mapped]) -> int:
    """The side of a crop: what was asked for, else CROP or what the smallest image has room for."""
    smallest = min(groups.training, key=lambda each: min(each.image.shape)).image
    room, network = min(smallest.shape), segmenter.network
    crop = job.crop
    if crop is None:
        crop = min(CROP, room)
        if isinstance(network, UNet):
            lost = LOST if network.padding == "valid" else 0
            crop = (crop + lost) // network.multiple * network.multiple - lost
    if not 0 < crop <= room:
        raise TrainingError(
            f"Could not cut crops of {max(crop, 1)} x {max(crop, 1)} pixels from {smallest.name}: it has "
            f"{smallest.shape[0]} x {smallest.shape[1]}.",
            "Use a smaller --crop, a network of less depth, or larger images.",
        )
    return crop
