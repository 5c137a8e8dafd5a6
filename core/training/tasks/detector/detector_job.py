"""A training from a session's labels to a registered model with its scores beside the old one's."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from photon_triage.core.prepare import preparation_for
from photon_triage.core.session.models.catalog import ModelEntry
from photon_triage.core.training.data.preselection import MOST_OF_A_RUN, preselection
from photon_triage.core.training.data.simulated_examples import CACHE
from photon_triage.core.training.data.sources import checked_sources
from photon_triage.core.training.evaluation.representativeness import representation_of
from photon_triage.core.training.loop.checkpoints import Trained, checked_name, free_name, register
from photon_triage.core.training.loop.folder import settings_of
from photon_triage.core.training.loop.progress import Note
from photon_triage.core.training.loop.runs import TrainingRun, training_run
from photon_triage.core.training.model.initial_weights import freeze
from photon_triage.core.training.tasks.detector.batchnorm_adaptation import MEASURED, adapt
from photon_triage.core.training.tasks.detector.config import (
    ALL_LEARN,
    TrainingJob,
    base_of,
    continued,
    kept_layers,
    new_detector,
    planned,
)
from photon_triage.core.training.tasks.detector.dataset import material
from photon_triage.core.training.tasks.detector.learner import train
from photon_triage.models.darknet.darknet import Darknet
from photon_triage.models.inference.precision import best_device


def run_training(job: TrainingJob, note: Note = lambda done, planned, loss, f1: None) -> Trained:
    """Train, score, save and register; `note(done, planned, loss, f1)` is called after each batch.

    What was interrupted goes on where it was. Raises TrainingError, SessionError or ModelError.
    """
    if job.name is not None:
        checked_name(job.name)
    checked_sources(job.sources)
    base = None if job.cfg is not None else base_of(job)
    name = job.name or free_name(base.name if base else "model", job.session.models_path)
    settings = settings_of(job, base=base and base.path.name)
    with training_run(job.session, name, settings, anew=job.anew, command=job.command,
        checkpoint_every=job.checkpoint_every, checkpoints_kept=job.checkpoints_kept,
    ) as run:  # fmt: skip
        trained = _trained(job, base, name, run, note)
    for kept in (CACHE, MEASURED):
        (run.folder / kept).unlink(missing_ok=True)
    return trained


def _trained(job: TrainingJob, base: ModelEntry | None, name: str, run: TrainingRun, note: Note) -> Trained:
    began = time.time()
    device = best_device(job.device)
    recipe = job.session.recipe()
    beginning = new_detector(job) if base is None else continued(base)
    detector, model = beginning.detector, beginning.detector.network
    preparation = preparation_for(recipe, model.input_size, model.in_channels)
    data = material(job, preparation, run)
    selected = preselection(job.negatives, data.training.counts, data.training.positive, job.seed)
    data = replace(data, training=data.training.take(selected.kept))
    shift = None
    if beginning.continues and job.freeze in (None, ALL_LEARN):
        shift = adapt(job.session, model, preparation, run, device, data.judging())
    far = shift is not None and shift.is_far
    kept = kept_layers(job, model, len(data.training), continues=beginning.continues, far=far)
    frozen = freeze(model, kept) if kept else 0
    plan = planned(job, model, len(data.training), recipe.default_threshold, continues=beginning.continues, far=far)
    judging = data.validation.examples if data.validation else None
    watched = data.judges.examples
    run.train(train(detector, preparation, data.training, plan, device, judging, run.keeper, watched), note)
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


def _register(job: TrainingJob, model: Darknet, name: str, scores: dict[str, Any], facts: dict[str, Any]) -> ModelEntry:
    kept = (
        "trained_on",
        "accepted",
        "rejected",
        "held_back",
        "evaluated_on",
        "unreachable",
        "unreadable",
        "sources",
        "audit_left_out",
        "changed_left_out",
    )
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
