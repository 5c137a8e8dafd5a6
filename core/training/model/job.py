"""Training a network that segments frames or searches them, from images with masks or points or from labels."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import nn

from photon_triage.core.common.errors import TrainingError
from photon_triage.core.frames import FrameKey
from photon_triage.core.session.models.catalog import ModelEntry, find_model
from photon_triage.core.session.session import Session
from photon_triage.core.session.store.filters import AUDIT
from photon_triage.core.training.data.images import Image, normalisation_from
from photon_triage.core.training.data.preselection import How
from photon_triage.core.training.data.sources import CHANGED, DEFAULT_SOURCES, TrainingLabels
from photon_triage.core.training.data.split import Split
from photon_triage.core.training.evaluation.pixel_losses import LossName
from photon_triage.core.training.evaluation.representativeness import represent
from photon_triage.core.training.evaluation.scoring import held_out_images, held_out_labels
from photon_triage.core.training.loop.checkpoints import KEPT, Trained, checked_name, free_name, register
from photon_triage.core.training.loop.progress import Note, Progress
from photon_triage.core.training.loop.runs import TrainingRun
from photon_triage.core.training.model.initial_weights import freeze, initialise
from photon_triage.models.common.classes import EACH_FRAME, Normalisation
from photon_triage.models.common.errors import ModelError
from photon_triage.models.common.registry import available, create
from photon_triage.models.inference.precision import best_device
from photon_triage.models.nets.patch_finder import PatchFinder
from photon_triage.models.nets.radial_net import ProfileClassifier
from photon_triage.models.nets.segmenter import Segmenter

SEGMENTERS, FINDERS, PROFILERS = ("msd", "unet"), ("lenet",), ("radial",)
STAGE_OF = {"msd": "segment", "unet": "segment", "lenet": "patches", "radial": "classify"}
Model = TypeVar("Model", Segmenter, PatchFinder, ProfileClassifier)
GIVE_IMAGES = "Or train from files: --images with --masks or --points."


@dataclass(frozen=True)
class NetworkJob:
    """What `train` is asked for; see the command's help.

    network: a family to begin a new network of, with `options` for its builder and the tensors of `init` as far as they
    fit; None continues `base`, or the model in use. only: the slice of the sorted pairs. normalise: "training" or
    "frame".
    """

    session: Session
    network: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    images: tuple[Path, ...] = ()
    masks: tuple[Path, ...] = ()
    points: Path | None = None
    within: tuple[Path, ...] = ()
    margin: int | None = None
    only: slice = field(default_factory=lambda: slice(None))
    classes: tuple[str, ...] = ()
    void: int | None = None
    normalise: str = "training"
    name: str | None = None
    base: str | None = None
    init: str | None = None
    freeze: str | None = None
    sources: tuple[str, ...] = DEFAULT_SOURCES
    epochs: float | None = None
    iterations: int | None = None
    rate: float | None = None
    batch: int | None = None
    crop: int | None = None
    loss: LossName = "cross-entropy"
    weighted: bool = True
    negatives: How = "random"
    seed: int = 0
    device: str | None = None
    command: str = ""
    note: str = ""
    anew: bool = False
    checkpoint_every: int | None = None
    checkpoints_kept: int = KEPT
    remarks: dict[str, Any] = field(default_factory=dict, compare=False)
    """What a training notes of itself as it goes, to be kept with the model."""


@dataclass(frozen=True)
class NetworkTraining(Generic[Model]):
    """A training that is ready to begin, and what is its own in it.

    model: the network with its classes, that `steps` train in place. old: the model that is continued, as it was.
    score: the scores of a model on what was held out. trained_on: the frames that are learned from or choose a
    checkpoint. data: the facts of what is learned from, asked for when it has ended. how: the settings that were used.
    """

    model: Model
    old: Model | None
    steps: Iterator[Progress]
    score: Callable[[Model], dict[str, Any]]
    trained_on: Iterable[FrameKey]
    data: Callable[[], Mapping[str, Any]]
    how: Mapping[str, Any]


Prepare = Callable[["NetworkJob", ModelEntry | None, TrainingRun, torch.device], NetworkTraining[Any]]
"""Reads what a job learns from, holds out what scores it, and builds the network or loads the one that is continued."""


def train_network(prepare: Prepare, job: NetworkJob, base: ModelEntry | None, run: TrainingRun, note: Note) -> Trained:
    """Prepare a training, run it, score the model beside the one that it continues, and register it.

    Raises TrainingError, SourceError, LabelError, SessionError, RecipeError or ModelError.
    """
    began, device = time.time(), best_device(job.device)
    training = prepare(job, base, run, device)
    run.train(training.steps, note)
    scores = {base.name: training.score(training.old)} if base is not None and training.old is not None else {}
    scores[name_for(job, base)] = training.score(training.model)
    run.record_trained_on(training.trained_on)
    how = {**training.how, "seconds": time.time() - began, "device": str(device)}
    return registered(job, base, training.model, scores, training.data(), how)


def checked(job: NetworkJob, families: tuple[str, ...]) -> ModelEntry | None:
    """The model to continue, None where a new network begins; its family is one of `families`.

    Raises TrainingError for what does not go together, SessionError where there is no such model.
    """
    if job.name is not None:
        checked_name(job.name)
    if job.network is not None and job.network not in families:
        _refuse(f"a {job.network} network", families)
    if job.network is not None and job.base is None:
        return None
    entry = find_model(job.base or _in_use(job, families), job.session.models_path)
    family = family_of(entry)
    if family not in ((job.network,) if job.network else families):
        _refuse(f"{entry.name}, a {family or 'unknown'} network,", (job.network,) if job.network else families)
    if job.options:
        raise TrainingError(
            f"Could not build {entry.name} with other options: it is a trained network.",
            "Leave --option out, or name the network with --model to begin a new one.",
        )
    return entry


def family_of(entry: ModelEntry) -> str:
    """The registry's name of a model's architecture, "" where its metadata tell none."""
    architecture = entry.metadata.get("architecture")
    return str(architecture.get("family", "")) if isinstance(architecture, Mapping) else ""


def new_network(job: NetworkJob, **given: Any) -> nn.Module:
    """A new network of the family that was asked for; `given` are options that follow from the data.

    Raises TrainingError for options that cannot be.
    """
    if fixed := sorted(set(given) & set(job.options)):
        raise TrainingError(
            f"Could not build {job.network} with {fixed[0]}: it follows from the data.", "Leave it out."
        )
    torch.manual_seed(job.seed)
    try:
        network = create(str(job.network), **given, **job.options)
    except ModelError as error:
        raise TrainingError(error.message, error.hint) from error
    except (TypeError, ValueError, RuntimeError) as error:
        told = ", ".join(f"{key}={value}" for key, value in job.options.items())
        raise TrainingError(f"Could not build {job.network} with {told}: {error}.", "Check each --option.") from error
    if job.init is not None:
        job.remarks["init"] = initialise(network, job.init, job.session.models_path)
    return network


def keep_layers(job: NetworkJob, network: nn.Module) -> None:
    """Freeze the layers that the job asks for."""
    if job.freeze:
        job.remarks.update(freeze=job.freeze, frozen_numbers=freeze(network, job.freeze))


def batches(job: NetworkJob, examples: int, batch: int, usual: int) -> int:
    """How many batches to train: as asked for, by themselves or as epochs over so many examples, else as usual."""
    if job.epochs:
        return max(1, math.ceil(job.epochs * examples / batch))
    return job.iterations or usual


def new_normalisation(job: NetworkJob, training: Sequence[Image]) -> Normalisation:
    """That of the training set, or each frame's own where that was asked for."""
    if job.normalise == "frame":
        return EACH_FRAME
    if job.normalise != "training":
        raise TrainingError(f"Could not normalise by {job.normalise!r}.", "Use --normalise training or frame.")
    return normalisation_from(training)


def name_for(job: NetworkJob, base: ModelEntry | None) -> str:
    """The name that was asked for, else the base's with the next free number, or the family's."""
    return job.name or free_name(base.name if base else str(job.network), job.session.models_path)


def facts_of_images(groups: Split[Any]) -> dict[str, Any]:
    """Which images were learned from, which chose and which scored; the groups' items have an `image`."""
    parts = {part: [each.image for each in getattr(groups, part)] for part in ("training", "validation", "test")}
    return {
        "unit": "images",
        "trained_on": len(parts["training"]),
        "validated_on": len(parts["validation"]),
        "held_back": len(parts["test"]),
        "evaluated_on": held_out_images(len(parts["test"]), chose=groups.same),
        "chosen_by_held_back": groups.same,
        "images": {part: [image.name for image in images] for part, images in parts.items()},
        "simulated": any(image.simulated for images in parts.values() for image in images),
    }


def facts_of_labels(
    job: NetworkJob,
    chosen: TrainingLabels,
    learned: Mapping[FrameKey, bool],
    held_out: Sequence[FrameKey],
    *,
    unreachable: int,
    simulated: bool,
) -> dict[str, Any]:
    """Numbers of training and held-out labels, their sources, and how well they represent the beamtime.

    learned: whether each was accepted. unreachable: labels whose frame the network never sees, or that cannot be read.
    """
    accepted = sum(learned.values())
    return {
        "unit": "labels",
        "trained_on": len(learned),
        "accepted": accepted,
        "rejected": len(learned) - accepted,
        "held_back": len(held_out),
        "evaluated_on": held_out_labels(chosen.counts(held_out)),
        "unreachable": unreachable,
        "simulated": simulated,
        "representation": represent(job.session, learned).as_json(),
    }


def note_sources(job: NetworkJob, chosen: TrainingLabels, learned: Iterable[FrameKey]) -> None:
    """Record with the model the sources of its training labels, and how many labels were left out."""
    job.remarks.update({"sources": chosen.counts(learned), "from": list(job.sources)})
    job.remarks["changed_left_out"] = chosen.left_out.get(CHANGED, 0)


def registered(
    job: NetworkJob,
    base: ModelEntry | None,
    model: Segmenter | PatchFinder | ProfileClassifier,
    scores: dict[str, dict[str, Any]],
    data: Mapping[str, Any],
    how: Mapping[str, Any],
) -> Trained:
    """Register the model under the last name in `scores`, with what it learned from and how it was trained."""
    name = list(scores)[-1]
    facts = {
        "name": name,
        "parent": base.name if base else None,
        "classes": list(model.classes),
        "input": None if isinstance(model, ProfileClassifier) else model.input.as_json(),
        "seed": job.seed,
        "training": {**how, **job.remarks},
        "audit_in_training": bool(job.remarks.get("sources", {}).get(AUDIT)),
        **how,
        **data,
        "scores": scores,
    }
    metadata = {
        "architecture": model.network.architecture,
        **{key: facts[key] for key in ("classes", "input", "parent", "seed", "iterations")},
        **{key: facts[key] for key in ("training", "audit_in_training")},
        "command": job.command,
        "note": job.note,
        "data": {"recipe": job.session.recipe().name, **data},
        "scores": scores[name],
    }
    return Trained(register(job.session.models_path, name, model.network, metadata), facts)


def require_known(network: str) -> None:
    """Raise TrainingError unless networks of this family can be trained from images."""
    if network not in STAGE_OF:
        hint = "Darknet networks learn from labels: --model CFG begins one." if network in available() else ""
        _refuse(f"a {network} network", tuple(STAGE_OF), hint)


def _in_use(job: NetworkJob, families: tuple[str, ...]) -> str:
    """The name of the model that the engine uses for what these families do, else the recipe's."""
    kind = STAGE_OF[families[0]]
    in_use = job.session.engine_state().models.get(kind)
    table = next((stage for stage in job.session.recipe().networks if stage.kind == kind), None)
    if in_use is None and table is None:
        raise TrainingError(
            f"Could not continue a model in {job.session.path}: its recipe has no {kind} stage.",
            f"Begin a new one with --model {families[0]}, or name one with --init.",
        )
    return str(in_use or (table.model if table else ""))


def _refuse(what: str, families: tuple[str, ...], hint: str = "") -> None:
    raise TrainingError(
        f"Could not train {what} on this.", " ".join(filter(None, (f"Here {' or '.join(families)} can learn.", hint)))
    )
