"""From a session's labels to a registered network on radial profiles."""

from __future__ import annotations

import time
from contextlib import closing

from photon_triage.core.metrics import confusion_at
from photon_triage.core.session.models.catalog import ModelEntry
from photon_triage.core.training.data.sources import CHANGED, chosen_labels
from photon_triage.core.training.data.split import as_originals, contents_of, copies_in, hold_back
from photon_triage.core.training.evaluation.representativeness import represent
from photon_triage.core.training.evaluation.scoring import confusion_scores, held_out_labels
from photon_triage.core.training.loop.checkpoints import Trained
from photon_triage.core.training.loop.progress import Note
from photon_triage.core.training.loop.runs import TrainingRun
from photon_triage.core.training.model.job import NetworkJob, batches, keep_layers, name_for, new_network, registered
from photon_triage.core.training.tasks.profiles.profile_learner import (
    ProfilePlan,
    read_profiles,
    score_profiles,
    train_classifier,
)
from photon_triage.models.inference.precision import best_device
from photon_triage.models.nets.radial_net import ProfileClassifier, RadialNet, load_profile_classifier

CLASSES = ("other", "single")
ITERATIONS, BATCH, RATE = 1500, 64, 2e-3
CONTINUED = 0.25
"""A network that has learned before goes on for so much of the batches, at so much of the rate."""


def train_from_profiles(job: NetworkJob, base: ModelEntry | None, run: TrainingRun, note: Note) -> Trained:
    """Begin or continue a network on radial profiles with a session's labels; score old and new on held-back ones.

    Raises TrainingError, SessionError, RecipeError or ModelError.
    """
    began, device = time.time(), best_device(job.device)
    chosen = chosen_labels(job.session, run, job.sources)
    old = None if base is None else load_profile_classifier(base.path)
    classifier = _new(job) if base is None else load_profile_classifier(base.path)
    keep_layers(job, classifier.network)
    profiles = read_profiles(job.session, classifier.network, chosen.labels)
    keys = as_originals(profiles.keys, copies_in(job.session))
    held = hold_back(keys, profiles.accepted, job.seed, contents_of(profiles.counts), profiles.runs)
    learned, judges = profiles.take(held.training), profiles.take(held.test)
    part, batch = (1.0 if base is None else CONTINUED), job.batch or BATCH
    iterations = batches(job, len(learned.keys), batch, round(ITERATIONS * part))
    plan = ProfilePlan(iterations, batch, job.rate or RATE * part, job.seed)
    for step in run.follow(train_classifier(classifier, learned, plan, device, run.keeper)):
        note(step.done, step.planned, step.loss, None)
    threshold = job.session.recipe().default_threshold
    scores = {}
    for name, each in ((base.name if base else "", old), (name_for(job, base), classifier)):
        if each is not None:
            said = dict(zip(judges.keys, score_profiles(each, judges).tolist(), strict=True))
            truth = dict(zip(judges.keys, judges.accepted.tolist(), strict=True))
            scores[name] = confusion_scores(confusion_at(said, truth, threshold).confusion) | {"threshold": threshold}
    run.record_trained_on(learned.keys)
    job.remarks.update({"sources": chosen.counts(learned.keys), "from": list(job.sources)})
    job.remarks["changed_left_out"] = chosen.left_out.get(CHANGED, 0)
    with closing(job.session.results()) as reader:
        simulated = reader.counts().simulated
    data = {
        "unit": "labels",
        "trained_on": len(learned.keys),
        "accepted": int(learned.accepted.sum()),
        "rejected": int((~learned.accepted).sum()),
        "held_back": len(judges.keys),
        "evaluated_on": held_out_labels(chosen.counts(judges.keys)),
        "unreachable": sum(label.verdict != "skipped" for label in chosen.labels) - len(profiles.keys),
        "simulated": simulated,
        "representation": represent(
            job.session, dict(zip(learned.keys, learned.accepted.tolist(), strict=True))
        ).as_json(),
    }
    how = {
        "family": "radial",
        "iterations": plan.iterations,
        "batch": plan.batch,
        "rate": plan.rate,
        "threshold": threshold,
        "seconds": time.time() - began,
        "device": str(device),
    }
    return registered(job, base, classifier, scores, data, how)


def _new(job: NetworkJob) -> ProfileClassifier:
    network = new_network(job, classes=len(CLASSES))
    assert isinstance(network, RadialNet)
    return ProfileClassifier(network, CLASSES)
