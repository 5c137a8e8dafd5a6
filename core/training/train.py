"""Training a detector on labelled frames by Darknet's rules: SGD, the cfg's rates, the head's own loss."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from photon_triage.core.errors import TrainingError
from photon_triage.core.metrics import best_threshold, confusion_at
from photon_triage.core.prepare import Preparation
from photon_triage.core.training.augment import augment
from photon_triage.core.training.examples import Examples
from photon_triage.core.training.progress import Progress, smooth
from photon_triage.models.detector import Detector, best_of_class
from photon_triage.models.optim import darknet_sgd, learning_rate, set_rate
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
) -> Iterator[Progress]:
    """Train the detector's network in place, yielding after each batch.

    With validation examples, what remains in the end is the checkpoint with the highest F1 on them.

    Raises TrainingError unless there are both positive and negative examples.
    """
    positives, negatives = np.flatnonzero(examples.positive), np.flatnonzero(~examples.positive)
    if not len(positives) or not len(negatives):
        raise TrainingError(
            f"Could not train on {len(positives)} accepted and {len(negatives)} rejected frames: both are needed.",
            "Label some of either kind first.",
        )
    rng = np.random.default_rng(plan.seed)
    model, classes = detector.network, class_indices(examples, detector)
    preparation.to(device)
    model.to(device=device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    _set_norms(model, frozen=plan.frozen_norm)
    optimizer = darknet_sgd(model, model.net)
    wanted = max(1, round(plan.batch * POSITIVE_SHARE))
    smoothed, best_f1, best_state = math.nan, -1.0, None
    for iteration in range(1, plan.iterations + 1):
        set_rate(optimizer, plan.rate if plan.rate is not None else learning_rate(model.net, iteration))
        chosen = np.concatenate([rng.choice(positives, wanted), rng.choice(negatives, plan.batch - wanted)])
        batch, targets = _batch(examples, classes, chosen, preparation, rng, device)
        model.seen += len(chosen)
        outputs = model(batch.contiguous(memory_format=torch.channels_last))
        loss, _ = detection_loss(outputs, targets, model.heads, model.seen)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        smoothed = smooth(smoothed, float(loss.detach()), iteration)
        f1 = None
        if validation is not None and (iteration % plan.check_every == 0 or iteration == plan.iterations):
            f1 = _best_f1(score(detector, preparation, validation, device), validation)
            model.train()
            _set_norms(model, frozen=plan.frozen_norm)
            if f1 >= best_f1:
                best_f1, best_state = f1, copy.deepcopy(model.state_dict())
        yield Progress(iteration, plan.iterations, smoothed, f1)
    if best_state is not None:
        model.load_state_dict(best_state)
    model.eval()


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
