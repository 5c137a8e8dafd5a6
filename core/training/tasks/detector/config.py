"""Configuration of a detector training: the request, its network and initial weights, and its schedule."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch

from photon_triage.core.common.errors import TrainingError
from photon_triage.core.session.models.catalog import ModelEntry, find_model
from photon_triage.core.session.session import Session
from photon_triage.core.training.data.augment import DEFAULT_AUGMENTATIONS
from photon_triage.core.training.data.preselection import How
from photon_triage.core.training.data.simulated_examples import FRAMES
from photon_triage.core.training.data.sources import DEFAULT_SOURCES
from photon_triage.core.training.loop.checkpoints import KEPT
from photon_triage.core.training.model.initial_weights import initialise
from photon_triage.core.training.tasks.detector.batch_sampler import Balance
from photon_triage.core.training.tasks.detector.learner import OTHER, WANTED, TrainingPlan
from photon_triage.models.darknet.darknet import Darknet, shipped_cfg, shipped_cfgs
from photon_triage.models.darknet.detector import Detector, load_detector

CONTINUE_ITERATIONS, CONTINUE_RATE, CONTINUE_BATCH = 150, 3e-4, 32
DEFAULT_ITERATIONS = 1000
LEARNING_LAYERS, MANY_LABELS = 4, 2000
"""With fewer labels than that, only so many of the last convolutions of a trained network learn."""
ALL_LEARN = "none"
CONTINUE_PART = 0.5
"""So far such a network goes from its old weights to the new ones."""
FAR_LEARNING_LAYERS, FAR_PART = 7, 0.7
"""The same on a beamtime unlike the one it learned from, where the old weights are worth less."""
CLASSES = (WANTED, "multiple", "water", "streak", OTHER)
"""What a new model with as many classes is taught to tell apart, by the names in the labels."""


@dataclass(frozen=True)
class TrainingJob:
    """What `train` is asked for; see the command's help.

    cfg: of a new network, which begins with `init` as far as that fits, else at random. base: a model to continue; with
    neither the one in use is. simulated: frames to simulate where `sources` has "simulated".
    """

    session: Session
    name: str | None = None
    base: str | None = None
    cfg: str | None = None
    iterations: int | None = None
    rate: float | None = None
    validation: Session | None = None
    test: Session | None = None
    seed: int = 0
    device: str | None = None
    command: str = ""
    note: str = ""
    anew: bool = False
    init: str | None = None
    epochs: float | None = None
    sources: tuple[str, ...] = DEFAULT_SOURCES
    simulated: int = FRAMES
    augment: tuple[str, ...] = DEFAULT_AUGMENTATIONS
    balance: Balance = field(default_factory=Balance)
    negatives: How = "random"
    freeze: str | None = None
    batch: int | None = None
    checkpoint_every: int | None = None
    checkpoints_kept: int = KEPT


def kept_layers(job: TrainingJob, model: Darknet, examples: int, *, continues: bool, far: bool) -> str | None:
    """What is frozen: what was asked for; else, where a trained network goes on with few labels, its first layers.

    far: on a beamtime unlike its own, of which it has to learn more.
    """
    if job.freeze is not None or not continues or examples >= MANY_LABELS:
        return None if job.freeze == ALL_LEARN else job.freeze
    convolutions = [index for index, _ in model.convolutions()]
    learning = FAR_LEARNING_LAYERS if far else LEARNING_LAYERS
    return str(convolutions[-learning]) if len(convolutions) > learning else None


def planned(
    job: TrainingJob, model: Darknet, examples: int, threshold: float, *, continues: bool, far: bool
) -> TrainingPlan:
    """The cfg's own schedule for a new network; for one that has learned before, few batches, of decisions alone."""
    batch = job.batch or (CONTINUE_BATCH if continues else model.net.batch)
    iterations = job.iterations or (job.epochs and max(1, math.ceil(job.epochs * examples / batch)))
    if not iterations:
        iterations = CONTINUE_ITERATIONS if continues else model.net.max_batches or DEFAULT_ITERATIONS
    return TrainingPlan(
        iterations,
        batch,
        job.rate or (CONTINUE_RATE if continues else None),
        frozen_norm=continues,
        seed=job.seed,
        augment=job.augment,
        balance=job.balance,
        negatives=job.negatives,
        at_once=max(1, model.net.batch // model.net.subdivisions),
        decide=threshold if continues and 0 < threshold < 1 else None,
        part=(FAR_PART if far else CONTINUE_PART) if continues and examples < MANY_LABELS else 1.0,
    )


@dataclass(frozen=True)
class Beginning:
    """A detector as training begins; what it is compared with, and what was copied into it."""

    detector: Detector
    old: Detector | None = None
    parent: str | None = None
    init: dict[str, Any] | None = None

    @property
    def continues(self) -> bool:
        """Whether all of it has learned before."""
        return self.old is not None


def continued(base: ModelEntry) -> Beginning:
    """A model that goes on."""
    return Beginning(load_detector(base.path), load_detector(base.path), base.name)


def new_detector(job: TrainingJob) -> Beginning:
    """A detector of the cfg that was asked for, with random weights or those of `init`.

    Raises ModelError, or TrainingError when nobody knows names for its classes.
    """
    torch.manual_seed(job.seed)
    cfg = shipped_cfg(job.cfg) if job.cfg in shipped_cfgs() else str(job.cfg)
    model = Darknet.from_cfg(cfg, norm_form="cuda")
    init = None if job.init is None else initialise(model, job.init, job.session.models_path)
    count = model.heads[0].classes if model.heads else 0
    learned = tuple((init or {}).get("classes", ())) if init and init["whole"] else ()
    if len(learned) == count and WANTED in learned:
        old = load_detector(find_model(str(job.init), job.session.models_path).path)
        return Beginning(Detector(model, learned), old, str(init and init["from"]), init)
    names = (WANTED,) if count == 1 else CLASSES
    if count > 1 and count != len(CLASSES):
        raise TrainingError(
            f"Could not train {job.cfg}: its head has {count} classes.",
            f"Use a cfg with 1 class, or with {len(CLASSES)}: {', '.join(CLASSES)}.",
        )
    return Beginning(Detector(model, names), init=init)


def base_of(job: TrainingJob) -> ModelEntry:
    """The model to continue: the one asked for, the one in use, or the recipe's."""
    classify = job.session.recipe().classify
    in_use = job.session.engine_state().models.get("classify")
    name = job.base or in_use or (classify.model if classify else None)
    if name is None:
        raise TrainingError(
            f"Could not continue a model in {job.session.path}: its recipe has no classify stage.",
            "Begin a new one with --model hitnet, or name one with --init.",
        )
    return find_model(str(name), job.session.models_path)
