"""Training a detector on labelled frames by Darknet's rules: SGD, the cfg's rates, the head's own loss."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from photon_triage.core.errors import TrainingError
from photon_triage.core.metrics import best_threshold, confusion_at
from photon_triage.core.prepare import Preparation
from photon_triage.core.training.augment import augment
from photon_triage.core.training.checkpoints import Checkpoints
from photon_triage.core.training.examples import Examples
from photon_triage.core.training.keeping import Keeper
from photon_triage.core.training.loop import Learner, learn
from photon_triage.core.training.progress import Progress
from photon_triage.models.darknet import Darknet
from photon_triage.models.detector import Detector, best_of_class
from photon_triage.models.optim import darknet_sgd, learning_rate
from photon_triage.models.runtime import prepare_for_inference
from photon_triage.models.yolo import detection_loss

POSITIVE_SHARE = 0.3
"""Part of each batch that is single hits, however rare they are among the labels."""

FRESH_BATCH_NORM_MOMENTUM = 0.1

WANTED, OTHER = "single", "other"


@dataclass(frozen=True)
class Plan:
    """How to train.

    iterations: batches. batch: frames in each. rate: learning rate; None follows the cfg's policy. frozen_norm: keep
    batch-norm's statistics, for few labels. check_every: batches between two scores on the validation examples.
    """

    iterations: int
    batch: int = 64
    rate: float | None = None
    frozen_norm: bool = False
    check_every: int = 200
    seed: int = 0


def train(
    detector: Detector,
    preparation: Preparation,
    examples: Examples,
    plan: Plan,
    device: torch.device,
    validation: Examples | None = None,
    keeper: Keeper | None = None,
    checkpoints: Checkpoints | None = None,
) -> Iterator[Progress]:
    """Train the detector's network in place, yielding after each batch.

    With validation examples, what remains in the end is the checkpoint with the highest F1 on them.

    Raises TrainingError unless there are both positive and negative examples.
    """
    return learn(
        _Learner(detector, preparation, examples, plan, device, validation), plan.iterations, keeper, checkpoints
    )


class _Learner(Learner):
    """Batches of labelled frames, so many of them single hits, augmented."""

    def __init__(
        self,
        detector: Detector,
        preparation: Preparation,
        examples: Examples,
        plan: Plan,
        device: torch.device,
        validation: Examples | None,
    ) -> None:
        self._positives, self._negatives = np.flatnonzero(examples.positive), np.flatnonzero(~examples.positive)
        if not len(self._positives) or not len(self._negatives):
            raise TrainingError(
                f"Could not train on {len(self._positives)} accepted and {len(self._negatives)} rejected frames: "
                "both are needed.",
                "Label some of either kind first.",
            )
        self._detector, self._examples, self._validation = detector, examples, validation
        self._preparation, self._plan, self._device = preparation, plan, device
        self._classes = class_indices(examples, detector)
        self.rng = np.random.default_rng(plan.seed)
        self.network: Darknet = detector.network
        preparation.to(device)
        self.network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._begin()
        self.optimizer = darknet_sgd(self.network, self.network.net)

    def rate(self, iteration: int) -> float:
        return self._plan.rate if self._plan.rate is not None else learning_rate(self.network.net, iteration)

    def loss(self, iteration: int) -> Tensor:
        plan = self._plan
        wanted = max(1, round(plan.batch * POSITIVE_SHARE))
        chosen = np.concatenate(
            [self.rng.choice(self._positives, wanted), self.rng.choice(self._negatives, plan.batch - wanted)]
        )
        batch, targets = _batch(self._examples, self._classes, chosen, self._preparation, self.rng, self._device)
        self.network.seen += len(chosen)
        outputs = self.network(batch.contiguous(memory_format=torch.channels_last))
        return detection_loss(outputs, targets, self.network.heads, self.network.seen)[0]

    def check(self, iteration: int) -> float | None:
        due = iteration % self._plan.check_every == 0 or iteration == self._plan.iterations
        return self.judged() if due else None

    def judged(self) -> float | None:
        if self._validation is None:
            return None
        f1 = _best_f1(score(self._detector, self._preparation, self._validation, self._device), self._validation)
        self._begin()
        return f1

    def memory(self) -> dict[str, Any]:
        return {"seen": self.network.seen}

    def recall(self, memory: Mapping[str, Any]) -> None:
        self.network.seen = memory["seen"]

    def _begin(self) -> None:
        self.network.train()
        _set_norms(self.network, frozen=self._plan.frozen_norm)


@torch.inference_mode()
def score(
    detector: Detector, preparation: Preparation, examples: Examples, device: torch.device
) -> NDArray[np.float32]:
    """The score of each example, (n,)."""
    run, index = prepare_for_inference(detector.network, device), detector.index(WANTED)
    preparation.to(device)
    parts = []
    for start in range(0, len(examples), 64):
        counts = torch.from_numpy(examples.counts[start : start + 64]).to(device).float()
        parts.append(best_of_class(run(preparation.fit(counts)), detector, index).scores.cpu().numpy())
    return np.concatenate(parts) if parts else np.empty(0, np.float32)


def class_indices(examples: Examples, detector: Detector) -> NDArray[np.intp]:
    """The class to teach for each example, (n,); -1 for those that are to have no box at all.

    Accepted frames are single hits. A rejected one is of the class it was given, or of "other" where the detector has
    that but not the class given; without a class, or with "single", it is nothing.
    """
    wanted, classes = detector.index(WANTED), detector.classes
    fallback = classes.index(OTHER) if OTHER in classes else -1
    known = {name: place for place, name in enumerate(classes) if place != wanted}
    rejected = [
        known.get(category, fallback) if category not in ("", WANTED) else -1
        for category in examples.categories.tolist()
    ]
    return np.where(examples.positive, wanted, np.array(rejected, np.intp))


def _batch(
    examples: Examples,
    classes: NDArray[np.intp],
    chosen: NDArray[np.intp],
    preparation: Preparation,
    rng: np.random.Generator,
    device: torch.device,
) -> tuple[Tensor, Tensor]:
    """Input (batch, channels, height, width) and targets (batch, 1, 5), empty without a class, of some examples."""
    counts, boxes = augment(examples.counts[chosen], examples.boxes[chosen], rng)
    taught = classes[chosen]
    boxes[taught < 0] = 0
    targets = np.concatenate([boxes, np.maximum(taught, 0)[:, None].astype(np.float32)], axis=1)
    image = preparation.fit(torch.from_numpy(counts).to(device))
    return image, torch.from_numpy(targets)[:, None].to(device)


def _best_f1(scores: NDArray[np.float32], examples: Examples) -> float:
    by_key = dict(zip(examples.keys, scores.tolist(), strict=True))
    truth = dict(zip(examples.keys, examples.positive.tolist(), strict=True))
    threshold = best_threshold(by_key, truth)
    if threshold is None:
        return 0.0
    return confusion_at(by_key, truth, threshold).confusion.f1.value or 0.0


def _set_norms(model: nn.Module, *, frozen: bool) -> None:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            if frozen:
                module.eval()
            else:
                module.momentum = FRESH_BATCH_NORM_MOMENTUM
