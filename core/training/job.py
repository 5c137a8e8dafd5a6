"""A training from a session's labels to a registered model with its scores beside the old one's."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from photon_triage.core.errors import TrainingError
from photon_triage.core.frames import FrameKey
from photon_triage.core.metrics import Confusion, best_threshold, confusion_at
from photon_triage.core.prepare import Preparation, preparation_for
from photon_triage.core.session.models import ModelEntry, find_model, session_models, shipped_models
from photon_triage.core.session.session import Session
from photon_triage.core.training.examples import Examples, gather
from photon_triage.core.training.train import OTHER, WANTED, Plan, score, train
from photon_triage.models.checkpoint import save
from photon_triage.models.darknet import Darknet, shipped_cfg, shipped_cfgs
from photon_triage.models.detector import Detector, load_detector
from photon_triage.models.runtime import best_device

HELD_BACK = 1 / 3
LEAST_LABELS = 10
CLASSES = (WANTED, "multiple", "water", "streak", OTHER)
"""What a new model with as many classes is taught to tell apart, by the names in the labels."""

CONTINUE_ITERATIONS, CONTINUE_RATE, CONTINUE_BATCH = 150, 3e-4, 32

Note = Callable[[int, int, float, float | None], None]


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


@dataclass(frozen=True)
class Trained:
    """A trained model: where it is, and everything that was measured."""

    entry: ModelEntry
    facts: dict[str, Any]

    def report(self) -> dict[str, Any]:
        """What --json prints."""
        return self.facts | {"path": str(self.entry.path)}


@dataclass(frozen=True)
class _Judges:
    """Labelled frames that score models: those the network sees, and the truth of all, seen or not."""

    examples: Examples
    truth: dict[FrameKey, bool]


def run_training(job: TrainingJob, note: Note = lambda done, planned, loss, f1: None) -> Trained:
    """Train, score, save and register; `note(done, planned, loss, f1)` is called after each batch.

    Raises TrainingError, SessionError or ModelError.
    """
    began = time.time()
    device = best_device(job.device)
    recipe = job.session.recipe()
    base = None if job.cfg is not None else _base(job)
    old = None if base is None else load_detector(base.path)
    detector = _new_detector(job) if base is None else load_detector(base.path)
    model = detector.network
    preparation = preparation_for(recipe, model.input_size, model.in_channels)
    examples = gather(job.session, preparation)
    if len(examples) < LEAST_LABELS:
        raise TrainingError(
            f"Could not train on {job.session.path}: only {len(examples)} labelled frames reach the network.",
            f"Label at least {LEAST_LABELS}, accepted and rejected ones.",
        )
    judges = None
    if job.test is None:
        held = hold_back(examples.positive, job.seed)
        judged = examples.take(held)
        judges = _Judges(judged, dict(zip(judged.keys, judged.positive.tolist(), strict=True)))
        examples = examples.take(~held)
    validation = None if job.validation is None else _judges(job.validation, preparation)
    plan = _plan(job, model)
    for step in train(detector, preparation, examples, plan, device, validation.examples if validation else None):
        note(step.done, step.planned, step.loss, step.f1)
    suggested = None
    if validation is not None:
        suggested = best_threshold(_scores(detector, preparation, validation, device), validation.truth)
    if job.test is not None:
        judges = _judges(job.test, preparation)
    assert judges is not None
    threshold = recipe.default_threshold
    name = job.name or _new_name(job, base)
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
    model = Darknet.from_cfg(shipped_cfg(job.cfg) if job.cfg in shipped_cfgs() else str(job.cfg))
    count = model.heads[0].classes if model.heads else 0
    names = (WANTED,) if count == 1 else CLASSES
    if count > 1 and count != len(CLASSES):
        raise TrainingError(
            f"Could not train {job.cfg}: its head has {count} classes.",
            f"Use a cfg with 1 class, or with {len(CLASSES)}: {', '.join(CLASSES)}.",
        )
    return Detector(model, names)


def hold_back(positive: NDArray[np.bool_], seed: int) -> NDArray[np.bool_]:
    """Which examples to keep from training, (n,) bool: a third of either class, drawn at random.

    Raises TrainingError when a class has too few to be split.
    """
    rng = np.random.default_rng(seed)
    held = np.zeros(len(positive), bool)
    for members, verdict in ((np.flatnonzero(positive), "accepted"), (np.flatnonzero(~positive), "rejected")):
        if len(members) < 2:
            raise TrainingError(
                f"Could not hold back labels to score the models on: only {len(members)} {verdict} frame(s).",
                "Label at least two of either kind.",
            )
        held[rng.permutation(members)[: max(1, round(len(members) * HELD_BACK))]] = True
    return held


def _base(job: TrainingJob) -> ModelEntry:
    """The model to continue: the one asked for, the one in use, or the recipe's."""
    classify = job.session.recipe().classify
    name = job.base or job.session.engine_state().get("model") or (classify.model if classify else None)
    if name is None:
        raise TrainingError(
            f"Could not continue a model in {job.session.path}: its recipe has no classify stage.",
            "Begin a new one with --from-cfg hitnet, or name one with --base.",
        )
    return find_model(str(name), job.session.models_path)


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
    return scores_of(confusion) | {"threshold": threshold}


def scores_of(confusion: Confusion) -> dict[str, Any]:
    """Precision, recall and F1 with their intervals, and the counts, as JSON values."""
    found: dict[str, Any] = {"n": confusion.n}
    for name in ("tp", "fp", "fn", "tn"):
        found[name] = getattr(confusion, name)
    for name in ("precision", "recall", "f1"):
        estimate = getattr(confusion, name)
        found[name] = estimate.value
        found[f"{name}_interval"] = [estimate.low, estimate.high]
    return found


def _new_name(job: TrainingJob, base: ModelEntry | None) -> str:
    """The base's name with the next free number."""
    taken = shipped_models() | session_models(job.session.models_path)
    root = base.name if base else "model"
    stem, _, number = root.rpartition("-")
    stem = stem if stem and number.isdigit() else root
    return next(name for name in (f"{stem}-{count}" for count in range(2, len(taken) + 3)) if name not in taken)


def _register(job: TrainingJob, model: Darknet, name: str, scores: dict[str, Any], facts: dict[str, Any]) -> ModelEntry:
    """Save the model in the session under NAME-HASH."""
    digest = hashlib.sha256()
    for key, tensor in model.state_dict().items():
        digest.update(key.encode() + tensor.numpy().tobytes())
    metadata = {
        "name": name,
        "architecture": model.architecture,
        "classes": facts["classes"],
        "parent": facts["parent"],
        "command": job.command,
        "note": job.note,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": version("photon-triage"),
        "torch": torch.__version__,
        "seed": job.seed,
        "iterations": facts["iterations"],
        "data": {
            "simulated": facts["simulated"],
            "recipe": job.session.recipe().name,
            **{
                key: facts[key]
                for key in ("trained_on", "accepted", "rejected", "held_back", "unreachable", "unreadable")
            },
        },
        "scores": scores,
        "suggested_threshold": facts["suggested_threshold"],
    }
    path = job.session.models_path / f"{name}-{digest.hexdigest()[:8]}.safetensors"
    save(path, model, metadata)
    return find_model(name, job.session.models_path)
