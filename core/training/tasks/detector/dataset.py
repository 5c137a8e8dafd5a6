"""A detector's training and validation frames, never near each other, and its evaluation on them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from photon_triage.core.common.errors import TrainingError
from photon_triage.core.frames import FrameKey
from photon_triage.core.metrics import best_threshold, confusion_at
from photon_triage.core.prepare import Preparation
from photon_triage.core.session.session import Session
from photon_triage.core.session.store.filters import AUDIT
from photon_triage.core.training.data.examples import Examples, gather, joined
from photon_triage.core.training.data.simulated_examples import simulated_examples
from photon_triage.core.training.data.sources import CHANGED, SIMULATED, TrainingLabels, chosen_labels
from photon_triage.core.training.data.split import apart, as_originals, contents_of, copies_in, hold_back
from photon_triage.core.training.evaluation.scoring import confusion_scores, held_out_labels, labels_of
from photon_triage.core.training.loop.runs import TrainingRun
from photon_triage.core.training.tasks.detector.config import TrainingJob
from photon_triage.core.training.tasks.detector.learner import score
from photon_triage.models.darknet.detector import Detector

LEAST_LABELS = 10


@dataclass(frozen=True)
class Judges:
    """Labelled frames that score models: those the network sees, and the truth of all, seen or not."""

    examples: Examples
    truth: dict[FrameKey, bool]

    def scores(
        self, detector: Detector, preparation: Preparation, device: torch.device
    ) -> dict[FrameKey, float | None]:
        """A score for every frame: None for those that an earlier stage keeps from the network."""
        seen = score(detector, preparation, self.examples, device).tolist()
        return dict.fromkeys(self.truth) | dict(zip(self.examples.keys, seen, strict=True))

    def judge(
        self, detector: Detector, preparation: Preparation, threshold: float, device: torch.device
    ) -> dict[str, Any]:
        """Precision, recall and F1 of a detector at a threshold, as JSON values."""
        confusion = confusion_at(self.scores(detector, preparation, device), self.truth, threshold).confusion
        return confusion_scores(confusion) | {"threshold": threshold}

    def best_threshold(self, detector: Detector, preparation: Preparation, device: torch.device) -> float | None:
        """The threshold of the highest F1."""
        return best_threshold(self.scores(detector, preparation, device), self.truth)


def judges_of(session: Session, preparation: Preparation) -> Judges:
    """All decided frames of a session."""
    labels = [label for label in session.labels().labels.values() if label.verdict != "skipped"]
    return Judges(gather(session, preparation, labels), {label.key: label.verdict == "accepted" for label in labels})


def judges_from(examples: Examples) -> Judges:
    """Examples that were held back."""
    return Judges(examples, dict(zip(examples.keys, examples.positive.tolist(), strict=True)))


def without(examples: Examples, judges: Iterable[Judges]) -> Examples:
    """Those that are no judging frame, nor next to one, nor a copy of one."""
    for each in judges:
        pixels, theirs = contents_of(examples.counts), contents_of(each.examples.counts)
        examples = examples.take(apart(examples.keys, pixels, each.truth, theirs))
    return examples


@dataclass(frozen=True)
class Material:
    """Examples to learn from, frames that judge the result, and, where another session chooses the checkpoint, its."""

    training: Examples
    judges: Judges
    validation: Judges | None
    chosen: TrainingLabels
    evaluated_on: str
    """The frames that judge the result, in words."""

    def judging(self) -> list[FrameKey]:
        """The frames that judge the result or choose the checkpoint."""
        return [*self.judges.truth, *(self.validation.truth if self.validation else ())]

    def facts(self) -> dict[str, Any]:
        """How many frames there are of what, as JSON values."""
        learned, sources = self.training, self.chosen.counts(self.training.keys)
        return {
            "trained_on": len(learned),
            "accepted": int(learned.positive.sum()),
            "rejected": int((~learned.positive).sum()),
            "held_back": len(self.judges.truth),
            "evaluated_on": self.evaluated_on,
            "unreachable": learned.unreachable,
            "unreadable": learned.unreadable,
            "sources": sources,
            "audit_left_out": self.chosen.left_out.get(AUDIT, 0),
            "changed_left_out": self.chosen.left_out.get(CHANGED, 0),
            "audit_in_training": sources.get(AUDIT, 0) > 0,
        }


def material(job: TrainingJob, preparation: Preparation, run: TrainingRun) -> Material:
    """The labels of the sources that were asked for, and simulated frames, of which those never judge labels.

    A third of the labels is held back unless another session judges. Raises TrainingError where there is too little.
    """
    chosen = chosen_labels(job.session, run, job.sources)
    simulated = None
    if SIMULATED in job.sources:
        simulated = simulated_examples(job.session, preparation, run, job.simulated, job.seed)
    real = gather(job.session, preparation, chosen.labels) if chosen.labels or simulated is None else None
    parts = [part for part in (real, simulated) if part is not None]
    if (count := sum(map(len, parts))) < LEAST_LABELS:
        raise TrainingError(
            f"Could not train on {job.session.path}: only {count} labelled frames reach the network.",
            f"Label at least {LEAST_LABELS}, accepted and rejected ones.",
        )
    validation = None if job.validation is None else judges_of(job.validation, preparation)
    if job.test is not None:
        judges, learned = judges_of(job.test, preparation), parts
        evaluated_on = labels_of(job.test, len(judges.truth))
    else:
        judges, remaining = _held_back(job, parts[0])
        learned = [remaining, *parts[1:]]
        evaluated_on = held_out_labels(chosen.counts(judges.truth))
    examples = joined(learned) if len(learned) > 1 else learned[0]
    others = [each for each in (judges if job.test is not None else None, validation) if each is not None]
    return Material(without(examples, others), judges, validation, chosen, evaluated_on)


def _held_back(job: TrainingJob, examples: Examples) -> tuple[Judges, Examples]:
    keys = as_originals(examples.keys, copies_in(job.session))
    held = hold_back(keys, examples.positive, job.seed, contents_of(examples.counts), examples.runs.tolist())
    return judges_from(examples.take(np.asarray(held.test))), examples.take(np.asarray(held.training))
