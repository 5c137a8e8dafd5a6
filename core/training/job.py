"""A training from a session's labels to a registered model with its scores beside the old one's."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from typing import Any

import torch

from photon_triage.core.errors import TrainingError
from photon_triage.core.frames import FrameKey
from photon_triage.core.metrics import best_threshold, confusion_at
from photon_triage.core.prepare import Preparation, preparation_for
from photon_triage.core.session.models import ModelEntry, find_model
from photon_triage.core.session.session import Session
from photon_triage.core.training.examples import Examples, gather
from photon_triage.core.training.progress import Note
from photon_triage.core.training.registering import Trained, checked_name, free_name, register
from photon_triage.core.training.runs import TrainingRun, training_run
from photon_triage.core.training.scoring import confusion_scores
from photon_triage.core.training.split import hold_back, near
from photon_triage.core.training.train import OTHER, WANTED, Plan, score, train
from photon_triage.models.darknet import Darknet, shipped_cfg, shipped_cfgs
from photon_triage.models.detector import Detector, load_detector
from photon_triage.models.runtime import best_device

LEAST_LABELS = 10
CLASSES = (WANTED, "multiple", "water", "streak", OTHER)
"""What a new model with as many classes is taught to tell apart, by the names in the labels."""

CONTINUE_ITERATIONS, CONTINUE_RATE, CONTINUE_BATCH = 150, 3e-4, 32


@dataclass(frozen=True)
class TrainingJob:
    """What `train` is asked for; see the command's help."""

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


@dataclass(frozen=True)
class _Judges:
    """Labelled frames that score models: those the network sees, and the truth of all, seen or not."""

    examples: Examples
    truth: dict[FrameKey, bool]


def run_training(job: TrainingJob, note: Note = lambda done, planned, loss, f1: None) -> Trained:
    """Train, score, save and register; `note(done, planned, loss, f1)` is called after each batch.

    What was interrupted goes on where it was. Raises TrainingError, SessionError or ModelError.
    """
    if job.name is not None:
        checked_name(job.name)
    base = None if job.cfg is not None else _base(job)
    name = job.name or free_name(base.name if base else "model", job.session.models_path)
    with training_run(job.session, name, _settings(job, base), anew=job.anew) as run:
        trained = _trained(job, base, name, run, note)
        run.done()
    return trained


def _trained(job: TrainingJob, base: ModelEntry | None, name: str, run: TrainingRun, note: Note) -> Trained:
    began = time.time()
    device = best_device(job.device)
    recipe = job.session.recipe()
    old = None if base is None else load_detector(base.path)
    detector = _new_detector(job) if base is None else load_detector(base.path)
    model = detector.network
    preparation = preparation_for(recipe, model.input_size, model.in_channels)
    examples = gather(job.session, preparation, run.labels(job.session.labels().labels.values()))
    if len(examples) < LEAST_LABELS:
        raise TrainingError(
            f"Could not train on {job.session.path}: only {len(examples)} labelled frames reach the network.",
            f"Label at least {LEAST_LABELS}, accepted and rejected ones.",
        )
    validation = None if job.validation is None else _judges(job.validation, preparation)
    judging = validation.examples if validation else None
    if job.test is None:
        pixels = [hashlib.blake2b(frame.tobytes(), digest_size=16).digest() for frame in examples.counts]
        held = hold_back(examples.keys, examples.positive, job.seed, pixels)
        judged = examples.take(held.test)
        judges = _Judges(judged, dict(zip(judged.keys, judged.positive.tolist(), strict=True)))
        examples = examples.take(held.training)
    else:
        judges = _judges(job.test, preparation)
        examples = examples.take(~near(examples.keys, judges.truth))
    if validation is not None:
        examples = examples.take(~near(examples.keys, validation.truth))
    plan = _plan(job, model)
    for step in run.follow(train(detector, preparation, examples, plan, device, judging, run.keeper)):
        note(step.done, step.planned, step.loss, step.f1)
    suggested = None
    if validation is not None:
        suggested = best_threshold(_scores(detector, preparation, validation, device), validation.truth)
    threshold = recipe.default_threshold
    scores = {}
    if old is not None and base is not None:
        scores[base.name] = _judge(old, preparation, judges, threshold, device)
    scores[name] = _judge(detector, preparation, judges, threshold, device)
    recorded = scores[name]
    if suggested is not None:
        recorded = scores[f"{name} at its best threshold"] = _judge(detector, preparation, judges, suggested, device)
    reader = job.session.results()
    simulated = reader.counts().simulated
    reader.close()
    facts = {
        "name": name,
        "parent": base.name if base else None,
        "trained_on": len(examples),
        "accepted": int(examples.positive.sum()),
        "rejected": int((~examples.positive).sum()),
        "held_back": len(judges.truth),
        "unreachable": examples.unreachable,
        "unreadable": examples.unreadable,
        "classes": list(detector.classes),
        "threshold": threshold,
        "suggested_threshold": suggested,
        "scores": scores,
        "simulated": simulated,
        "iterations": plan.iterations,
        "seed": job.seed,
        "seconds": time.time() - began,
        "device": str(device),
    }
    return Trained(_register(job, model.cpu(), name, recorded, facts), facts)


def _new_detector(job: TrainingJob) -> Detector:
    """A detector with random weights from the cfg that was asked for.

    Raises ModelError, or TrainingError when nobody knows names for its classes.
    """
    torch.manual_seed(job.seed)
    cfg = shipped_cfg(job.cfg) if job.cfg in shipped_cfgs() else str(job.cfg)
    model = Darknet.from_cfg(cfg, norm_form="cuda")
    count = model.heads[0].classes if model.heads else 0
    names = (WANTED,) if count == 1 else CLASSES
    if count > 1 and count != len(CLASSES):
        raise TrainingError(
            f"Could not train {job.cfg}: its head has {count} classes.",
            f"Use a cfg with 1 class, or with {len(CLASSES)}: {', '.join(CLASSES)}.",
        )
    return Detector(model, names)


def _base(job: TrainingJob) -> ModelEntry:
    """The model to continue: the one asked for, the one in use, or the recipe's."""
    classify = job.session.recipe().classify
    in_use = job.session.engine_state().get("models", {}).get("classify")
    name = job.base or in_use or (classify.model if classify else None)
    if name is None:
        raise TrainingError(
            f"Could not continue a model in {job.session.path}: its recipe has no classify stage.",
            "Begin a new one with --from-cfg hitnet, or name one with --base.",
        )
    return find_model(str(name), job.session.models_path)


def _settings(job: TrainingJob, base: ModelEntry | None) -> dict[str, Any]:
    """What the training follows from, beside the labels."""
    settings = {name: getattr(job, name) for name in ("cfg", "iterations", "rate", "seed")}
    for name in ("validation", "test"):
        session = getattr(job, name)
        settings[name] = session and str(session.path)
    recipe = job.session.recipe_path.read_text(encoding="utf-8")
    return settings | {"base": base and base.path.name, "recipe": recipe}


def _plan(job: TrainingJob, model: Darknet) -> Plan:
    if job.cfg is not None:
        iterations = job.iterations or model.net.max_batches or 1000
        return Plan(iterations, model.net.batch, job.rate, seed=job.seed)
    iterations = job.iterations or CONTINUE_ITERATIONS
    return Plan(iterations, CONTINUE_BATCH, job.rate or CONTINUE_RATE, frozen_norm=True, seed=job.seed)


def _judges(session: Session, preparation: Preparation) -> _Judges:
    labels = [label for label in session.labels().labels.values() if label.verdict != "skipped"]
    return _Judges(gather(session, preparation, labels), {label.key: label.verdict == "accepted" for label in labels})


def _scores(
    detector: Detector, preparation: Preparation, judges: _Judges, device: torch.device
) -> dict[FrameKey, float | None]:
    """A score for every judging frame: None for those that an earlier stage keeps from the network."""
    seen = score(detector, preparation, judges.examples, device).tolist()
    return dict.fromkeys(judges.truth) | dict(zip(judges.examples.keys, seen, strict=True))


def _judge(
    detector: Detector, preparation: Preparation, judges: _Judges, threshold: float, device: torch.device
) -> dict[str, Any]:
    confusion = confusion_at(_scores(detector, preparation, judges, device), judges.truth, threshold).confusion
    return confusion_scores(confusion) | {"threshold": threshold}


def _register(job: TrainingJob, model: Darknet, name: str, scores: dict[str, Any], facts: dict[str, Any]) -> ModelEntry:
    kept = ("trained_on", "accepted", "rejected", "held_back", "unreachable", "unreadable")
    metadata = {
        "architecture": model.architecture,
        "classes": facts["classes"],
        "parent": facts["parent"],
        "command": job.command,
        "note": job.note,
        "seed": job.seed,
        "iterations": facts["iterations"],
        "data": {
            "simulated": facts["simulated"],
            "recipe": job.session.recipe().name,
            **{key: facts[key] for key in kept},
        },
        "scores": scores,
        "suggested_threshold": facts["suggested_threshold"],
    }
    return register(job.session.models_path, name, model, metadata)
