"""Labelled frames that judge models, and what they say of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch

from photon_triage.core.frames import FrameKey
from photon_triage.core.metrics import best_threshold, confusion_at
from photon_triage.core.prepare import Preparation
from photon_triage.core.session.session import Session
from photon_triage.core.training.data.duplicates import contents_of
from photon_triage.core.training.data.examples import Examples, gather
from photon_triage.core.training.data.split import apart
from photon_triage.core.training.evaluation.scoring import confusion_scores
from photon_triage.core.training.tasks.detector.learner import score
from photon_triage.models.darknet.detector import Detector


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
