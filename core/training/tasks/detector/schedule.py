"""How long, how fast and which layers of a detector learn, where nobody says."""

from __future__ import annotations

import math

from photon_triage.core.training.tasks.detector.config import TrainingJob
from photon_triage.core.training.tasks.detector.learner import Plan
from photon_triage.models.darknet.darknet import Darknet

CONTINUE_ITERATIONS, CONTINUE_RATE, CONTINUE_BATCH = 150, 3e-4, 32
DEFAULT_ITERATIONS = 1000

LEARNING_LAYERS, MANY_LABELS = 4, 2000
"""With fewer labels than that, only so many of the last convolutions of a trained network learn."""
ALL_LEARN = "none"
CONTINUE_PART = 0.5
"""So far such a network goes from its old weights to the new ones."""
FAR_LEARNING_LAYERS, FAR_PART = 7, 0.7
"""The same on a beamtime unlike the one it learned from, where the old weights are worth less."""


def kept_layers(job: TrainingJob, model: Darknet, examples: int, *, continues: bool, far: bool) -> str | None:
    """What is frozen: what was asked for; else, where a trained network goes on with few labels, its first layers.

    far: on a beamtime unlike its own, of which it has to learn more.
    """
    if job.freeze is not None or not continues or examples >= MANY_LABELS:
        return None if job.freeze == ALL_LEARN else job.freeze
    convolutions = [index for index, _ in model.convolutions()]
    learning = FAR_LEARNING_LAYERS if far else LEARNING_LAYERS
    return str(convolutions[-learning]) if len(convolutions) > learning else None


def planned(job: TrainingJob, model: Darknet, examples: int, threshold: float, *, continues: bool, far: bool) -> Plan:
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
