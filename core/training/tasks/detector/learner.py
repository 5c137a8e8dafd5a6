"""Training a detector on labelled frames by Darknet's rules: SGD, the cfg's rates, the head's own loss."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from photon_triage.core.metrics import best_threshold, confusion_at
from photon_triage.core.prepare import Preparation
from photon_triage.core.training.data.augment import DEFAULT_AUGMENTATIONS, augment
from photon_triage.core.training.data.examples import Examples
from photon_triage.core.training.data.preselection import How, mined, run_weights
from photon_triage.core.training.evaluation.pixel_losses import decision_loss
from photon_triage.core.training.loop.loop import Learner, learn
from photon_triage.core.training.loop.progress import Progress
from photon_triage.core.training.loop.resume_state import Keeper
from photon_triage.core.training.tasks.detector.batch_sampler import Balance, BatchSampler
from photon_triage.models.darknet.darknet import Darknet
from photon_triage.models.darknet.detector import Detector, best_of_class
from photon_triage.models.darknet.optim import darknet_sgd, learning_rate, shortened
from photon_triage.models.darknet.yolo import detection_loss
from photon_triage.models.inference.runtime import prepare_for_inference

FRESH_BATCH_NORM_MOMENTUM = 0.1

LOOKS = 6
"""Times that a training without validation examples tells F1 on those that will judge it."""

WANTED, OTHER = "single", "other"


@dataclass(frozen=True)
class TrainingPlan:
    """How to train.

    iterations: batches. batch: frames in each. rate: learning rate; None follows the cfg's policy. frozen_norm: keep
    batch-norm's statistics, for few labels. check_every: batches between two scores on the validation examples.
    part: how far the weights go in the end from what they were to what was learned, see `_Learner.finish`.
    decide: the score at which decisions are to be even, see `decision_loss`; None learns boxes and classes instead.
    negatives: "hard" looks for the worst false positives half-way and draws them more often, see `preselecting`.
    at_once: frames that pass the network together, Darknet's batch over its subdivisions; batch-norm sees so many.
    """

    iterations: int
    batch: int = 64
    rate: float | None = None
    frozen_norm: bool = False
    check_every: int = 200
    seed: int = 0
    augment: tuple[str, ...] = DEFAULT_AUGMENTATIONS
    balance: Balance = field(default_factory=Balance)
    at_once: int = 64
    negatives: How = "random"
    decide: float | None = None
    part: float = 1.0


def train(
    detector: Detector,
    preparation: Preparation,
    examples: Examples,
    plan: TrainingPlan,
    device: torch.device,
    validation: Examples | None = None,
    keeper: Keeper | None = None,
    watched: Examples | None = None,
) -> Iterator[Progress]:
    """Train the detector's network in place, yielding after each batch.

    With validation examples, what remains in the end is the checkpoint with the highest F1 on them. Without them F1 on
    the `watched` examples is told now and then, and chooses nothing.

    Raises TrainingError unless there are both positive and negative examples.
    """
    learner = _DetectorLearner(detector, preparation, examples, plan, device, validation, watched)
    return learn(learner, plan.iterations, keeper)


class _DetectorLearner(Learner):
    """Batches of labelled frames, so many of them single hits, augmented."""

    def __init__(
        self,
        detector: Detector,
        preparation: Preparation,
        examples: Examples,
        plan: TrainingPlan,
        device: torch.device,
        validation: Examples | None,
        watched: Examples | None,
    ) -> None:
        self._by_run = run_weights(examples.runs, examples.positive)
        self._draw = BatchSampler(examples, plan.balance, self._by_run)
        self._detector, self._examples, self._validation = detector, examples, validation
        self._watched = watched if validation is None else None
        self.chooses = validation is not None
        self._preparation, self._plan, self._device = preparation, plan, device
        self._classes = class_indices(examples, detector)
        self._mined: NDArray[np.float64] | None = None
        self.metadata = {"classes": list(detector.classes)}
        self.rng = np.random.default_rng(plan.seed)
        self.network: Darknet = detector.network
        preparation.to(device)
        self.network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._old = copy.deepcopy(self.network.state_dict()) if plan.part < 1 else {}
        self._begin()
        self._schedule = shortened(self.network.net, plan.iterations)
        self.optimizer = darknet_sgd(self.network, self.network.net)

    def rate(self, iteration: int) -> float:
        return self._plan.rate if self._plan.rate is not None else learning_rate(self._schedule, iteration)

    def loss(self, iteration: int) -> Tensor:
        return self._loss_of(*self._drawn())

    def gradients(self, iteration: int) -> float:
        """As Darknet's subdivisions: the parts of a batch add up to one step."""
        counts, targets = self._drawn()
        self.optimizer.zero_grad(set_to_none=True)
        total = 0.0
        parts = torch.split(counts, self._plan.at_once), torch.split(targets, self._plan.at_once)
        for part, truth in zip(*parts, strict=True):
            loss = self._loss_of(part, truth) * (len(part) / len(counts))
            loss.backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
        return total

    def _drawn(self) -> tuple[Tensor, Tensor]:
        """The counts and the targets of a new batch; where it passes in parts they are alike."""
        plan = self._plan
        chosen = self._draw(self.rng, plan.batch)
        if plan.batch > plan.at_once:
            chosen = self.rng.permutation(chosen)
        return _batch(self._examples, self._classes, chosen, plan.augment, self.rng)

    def _loss_of(self, counts: Tensor, targets: Tensor) -> Tensor:
        images = self._preparation.fit(counts.to(self._device))
        self.network.seen += len(counts)
        outputs = self.forward(images.contiguous(memory_format=torch.channels_last))
        if (threshold := self._plan.decide) is not None:
            wanted = self._detector.index(WANTED)
            accepted = (targets[:, 0, 2] > 0) & (targets[:, 0, 4] == wanted)
            return decision_loss(outputs, self._detector, wanted, accepted.to(self._device), threshold)
        return detection_loss(outputs, targets.to(self._device), self.network.heads, self.network.seen)[0]

    def check(self, iteration: int) -> float | None:
        if self._plan.negatives == "hard" and iteration == max(1, self._plan.iterations // 2):
            self._mine()
        every = self._plan.check_every if self._watched is None else max(1, self._plan.iterations // LOOKS)
        due = iteration % every == 0 or iteration == self._plan.iterations
        return self.judged() if due else None

    def judged(self) -> float | None:
        examples = self._watched if self._validation is None else self._validation
        if examples is None:
            return None
        f1 = _best_f1(score(self._detector, self._preparation, examples, self._device), examples)
        self._begin()
        return f1

    def finish(self) -> None:
        """Go part of the way from the old weights to the new ones.

        What few labels teach is kept in good part, and little of what the old weights knew is lost. Source: M.
        Wortsman et al., Robust fine-tuning of zero-shot models, CVPR 2022.
        """
        new = self.network.state_dict()
        for name, old in self._old.items():
            if old.is_floating_point():
                new[name].copy_(torch.lerp(old, new[name], self._plan.part))
        super().finish()

    def memory(self) -> dict[str, Any]:
        return {"seen": self.network.seen, "mined": None if self._mined is None else self._mined.tolist()}

    def recall(self, memory: Mapping[str, Any]) -> None:
        self.network.seen = memory["seen"]
        if memory.get("mined") is not None:
            self._draw_more_often(np.array(memory["mined"]))

    def _mine(self) -> None:
        """Draw the labelled frames that look most like single hits, and were rejected, more often from now on."""
        scores = score(self._detector, self._preparation, self._examples, self._device)
        self._draw_more_often(mined(scores, self._examples.positive))
        self._begin()

    def _draw_more_often(self, chances: NDArray[np.float64]) -> None:
        self._mined = chances
        weights = chances if self._by_run is None else chances * self._by_run
        self._draw = BatchSampler(self._examples, self._plan.balance, weights)

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
    augmentations: tuple[str, ...],
    rng: np.random.Generator,
) -> tuple[Tensor, Tensor]:
    """Counts (batch, rows, columns) and targets (batch, 1, 5), empty without a class, of some examples."""
    centers = None if examples.centers is None else examples.centers[chosen]
    counts, boxes = augment(examples.counts[chosen], examples.boxes[chosen], rng, augmentations, centers)
    taught = classes[chosen]
    boxes[taught < 0] = 0
    targets = np.concatenate([boxes, np.maximum(taught, 0)[:, None].astype(np.float32)], axis=1)
    return torch.from_numpy(counts), torch.from_numpy(targets)[:, None]


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
