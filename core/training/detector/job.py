"""A training from a session's labels to a registered model with its scores beside the old one's."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from photon_triage.core.errors import TrainingError
from photon_triage.core.prepare import preparation_for
from photon_triage.core.session.models import ModelEntry, find_model
from photon_triage.core.session.session import Session
from photon_triage.core.training.augmentation.augment import DEFAULT_AUGMENTATIONS
from photon_triage.core.training.data.preselecting import MOST_OF_A_RUN, How, preselection
from photon_triage.core.training.data.simulated import CACHE, FRAMES
from photon_triage.core.training.data.sources import DEFAULT_SOURCES, checked_sources
from photon_triage.core.training.detector.adapting import MEASURED, adapt
from photon_triage.core.training.detector.drawing import Balance
from photon_triage.core.training.detector.material import material
from photon_triage.core.training.detector.train import OTHER, WANTED, Plan, train
from photon_triage.core.training.network.freezing import freeze
from photon_triage.core.training.network.initialising import initialise
from photon_triage.core.training.representation.labels_report import representation_of
from photon_triage.core.training.running.checkpoints import KEPT
from photon_triage.core.training.running.progress import Note
from photon_triage.core.training.running.registering import Trained, checked_name, free_name, register
from photon_triage.core.training.running.runs import TrainingRun, training_run
from photon_triage.core.training.running.settings import settings_of
from photon_triage.models.darknet import Darknet, shipped_cfg, shipped_cfgs
from photon_triage.models.detector import Detector, load_detector
from photon_triage.models.device import best_device

CLASSES = (WANTED, "multiple", "water", "streak", OTHER)
"""What a new model with as many classes is taught to tell apart, by the names in the labels."""

CONTINUE_ITERATIONS, CONTINUE_RATE, CONTINUE_BATCH = 150, 3e-4, 32
DEFAULT_ITERATIONS = 1000

LEARNING_LAYERS, MANY_LABELS = 4, 2000
"""With fewer labels than that, only so many of the last convolutions of a trained network learn."""
ALL_LEARN = "none"
CONTINUE_PART = 0.5
"""So far such a network goes from its old weights to the new ones."""
FAR_LEARNING_LAYERS, FAR_PART = 7, 0.7
"""The same on a beamtime unlike the one it learned from, where the old weights are worth less."""


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


@dataclass(frozen=True)
class _Beginning:
    """A detector as training begins; what it is compared with, and what was copied into it.

    continues: whether all of it has learned before.
    """

    detector: Detector
    old: Detector | None = None
    parent: str | None = None
    init: dict[str, Any] | None = None

    @property
    def continues(self) -> bool:
        return self.old is not None


def run_training(job: TrainingJob, note: Note = lambda done, planned, loss, f1: None) -> Trained:
    """Train, score, save and register; `note(done, planned, loss, f1)` is called after each batch.

    What was interrupted goes on where it was. Raises TrainingError, SessionError or ModelError.
    """
    if job.name is not None:
        checked_name(job.name)
    checked_sources(job.sources)
    base = None if job.cfg is not None else _base(job)
    name = job.name or free_name(base.name if base else "model", job.session.models_path)
    settings = settings_of(job, base=base and base.path.name)
    with training_run(job.session, name, settings, anew=job.anew, command=job.command,
        checkpoint_every=job.checkpoint_every, checkpoints_kept=job.checkpoints_kept,
    ) as run:  # fmt: skip
        trained = _trained(job, base, name, run, note)
        run.done()
        for kept in (CACHE, MEASURED):
            (run.folder / kept).unlink(missing_ok=True)
    return trained


def _trained(job: TrainingJob, base: ModelEntry | None, name: str, run: TrainingRun, note: Note) -> Trained:
    began = time.time()
    device = best_device(job.device)
    recipe = job.session.recipe()
    beginning = _new_detector(job) if base is None else _continued(base)
    detector, model = beginning.detector, beginning.detector.network
    preparation = preparation_for(recipe, model.input_size, model.in_channels)
    data = material(job, preparation, run)
    selected = preselection(job.negatives, data.training.counts, data.training.positive, job.seed)
    data = replace(data, training=data.training.take(selected.kept))
    shift = None
    if beginning.continues and job.freeze in (None, ALL_LEARN):
        shift = adapt(job.session, model, preparation, run, device)
    far = shift is not None and shift.is_far
    kept = _kept_layers(job, model, len(data.training), continues=beginning.continues, far=far)
    frozen = freeze(model, kept) if kept else 0
    plan = _plan(job, model, len(data.training), recipe.default_threshold, continues=beginning.continues, far=far)
    judging = data.validation.examples if data.validation else None
    watched = data.judges.examples
    for step in run.follow(train(detector, preparation, data.training, plan, device, judging, run.keeper, watched)):
        note(step.done, step.planned, step.loss, step.f1)
    suggested, chosen = None, None
    if data.validation is not None:
        suggested = data.validation.best_threshold(detector, preparation, device)
        chosen = data.validation.judge(detector, preparation, 1.0 if suggested is None else suggested, device)
    threshold = recipe.default_threshold
    scores = {}
    if beginning.old is not None and beginning.parent is not None:
        scores[beginning.parent] = data.judges.judge(beginning.old, preparation, threshold, device)
    scores[name] = data.judges.judge(detector, preparation, threshold, device)
    recorded = scores[name]
    if suggested is not None:
        recorded = data.judges.judge(detector, preparation, suggested, device)
        scores[f"{name} at its best threshold"] = recorded
    reader = job.session.results()
    simulated = reader.counts().simulated
    reader.close()
    facts = {
        "name": name,
        "parent": beginning.parent,
        **data.facts(),
        "classes": list(detector.classes),
        "threshold": threshold,
        "suggested_threshold": suggested,
        "validation": chosen,
        "scores": scores,
        "simulated": simulated,
        "iterations": plan.iterations,
        "training": {
            "from": list(job.sources),
            "init": beginning.init,
            "freeze": kept,
            "norms": shift and shift.as_json(),
            "decide": plan.decide,
            "part": plan.part,
            "frozen_numbers": frozen,
            "augment": list(plan.augment),
            **plan.balance.as_json(),
            **selected.facts,
            "most_of_a_run": MOST_OF_A_RUN,
            "batch": plan.batch,
            "epochs": plan.iterations * plan.batch / max(1, len(data.training)),
            "rate": plan.rate,
        },
        "representation": representation_of(job.session, data.training, model, preparation, device, job.seed).as_json(),
        "seed": job.seed,
        "seconds": time.time() - began,
        "device": str(device),
    }
    run.record_trained_on(data.training.keys)
    return Trained(_register(job, model.cpu(), name, recorded, facts), facts)


def _continued(base: ModelEntry) -> _Beginning:
    return _Beginning(load_detector(base.path), load_detector(base.path), base.name)


def _new_detector(job: TrainingJob) -> _Beginning:
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
        return _Beginning(Detector(model, learned), old, str(init and init["from"]), init)
    names = (WANTED,) if count == 1 else CLASSES
    if count > 1 and count != len(CLASSES):
        raise TrainingError(
            f"Could not train {job.cfg}: its head has {count} classes.",
            f"Use a cfg with 1 class, or with {len(CLASSES)}: {', '.join(CLASSES)}.",
        )
    return _Beginning(Detector(model, names), init=init)


def _base(job: TrainingJob) -> ModelEntry:
    """The model to continue: the one asked for, the one in use, or the recipe's."""
    classify = job.session.recipe().classify
    in_use = job.session.engine_state().get("models", {}).get("classify")
    name = job.base or in_use or (classify.model if classify else None)
    if name is None:
        raise TrainingError(
            f"Could not continue a model in {job.session.path}: its recipe has no classify stage.",
            "Begin a new one with --model hitnet, or name one with --init.",
        )
    return find_model(str(name), job.session.models_path)


def _kept_layers(job: TrainingJob, model: Darknet, examples: int, *, continues: bool, far: bool) -> str | None:
    """What is frozen: what was asked for; else, where a trained network goes on with few labels, its first layers.

    far: on a beamtime unlike its own, of which it has to learn more.
    """
    if job.freeze is not None or not continues or examples >= MANY_LABELS:
        return None if job.freeze == ALL_LEARN else job.freeze
    convolutions = [index for index, _ in model.convolutions()]
    learning = FAR_LEARNING_LAYERS if far else LEARNING_LAYERS
    return str(convolutions[-learning]) if len(convolutions) > learning else None


def _plan(job: TrainingJob, model: Darknet, examples: int, threshold: float, *, continues: bool, far: bool) -> Plan:
    """The cfg's own schedule for a new network; for one that has learned before, few batches, of decisions alone."""
    batch = job.batch or (CONTINUE_BATCH if continues else model.net.batch)
    iterations = job.iterations or (job.epochs and max(1, math.ceil(job.epochs * examples / batch)))
    if not iterations:
        iterations = CONTINUE_ITERATIONS if continues else model.net.max_batches or DEFAULT_ITERATIONS
    return Plan(
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


def _register(job: TrainingJob, model: Darknet, name: str, scores: dict[str, Any], facts: dict[str, Any]) -> ModelEntry:
    kept = ("trained_on", "accepted", "rejected", "held_back", "unreachable", "unreadable", "sources", "audit_left_out")
    metadata = {
        "architecture": model.architecture,
        "classes": facts["classes"],
        "parent": facts["parent"],
        "command": job.command,
        "note": job.note,
        "seed": job.seed,
        "iterations": facts["iterations"],
        "training": facts["training"],
        "audit_in_training": facts["audit_in_training"],
        "representation": facts["representation"],
        "data": {
            "simulated": facts["simulated"],
            "recipe": job.session.recipe().name,
            **{key: facts[key] for key in kept},
        },
        "scores": scores,
        "suggested_threshold": facts["suggested_threshold"],
    }
    return register(job.session.models_path, name, model, metadata)
