"""Training a network that tells each pixel's class: random crops, the best checkpoint kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from photon_triage.core.common.errors import TrainingError
from photon_triage.core.training.data.augment import SYMMETRIES, turned
from photon_triage.core.training.data.classes import VOID
from photon_triage.core.training.data.images import Image, normalised
from photon_triage.core.training.evaluation.pixel_losses import LossName, pixel_loss
from photon_triage.core.training.evaluation.scoring import pixel_scores
from photon_triage.core.training.loop.loop import Learner, learn
from photon_triage.core.training.loop.progress import Progress, decayed, is_check
from photon_triage.core.training.loop.resume_state import Keeper
from photon_triage.models.msd import MSDNet
from photon_triage.models.nets.segmenter import Segmenter
from photon_triage.models.nets.unet import UNet

RARE = 0.05
"""Foreground that is less of the pixels than this is looked for: every second crop holds some."""

ATTEMPTS = 50
TILE = 256


@dataclass(frozen=True, eq=False)
class Mapped:
    """An image and the class of its every pixel, (height, width) uint8, VOID where it does not count."""

    image: Image
    classes: NDArray[np.uint8]


@dataclass(frozen=True)
class SegmentationPlan:
    """How to train: crops of `crop` x `crop` pixels, `batch` of them together, the checkpoint judged `checks` times.

    weighted: whether a class counts by one over the root of how common it is; all count alike otherwise.
    """

    iterations: int
    batch: int
    rate: float
    crop: int
    checks: int = 10
    seed: int = 0
    loss: LossName = "cross-entropy"
    weighted: bool = True


def train_segmenter(
    segmenter: Segmenter,
    training: Sequence[Mapped],
    validation: Sequence[Mapped],
    plan: SegmentationPlan,
    device: torch.device,
    keeper: Keeper | None = None,
) -> Iterator[Progress]:
    """Train the segmenter's network in place, yielding after each batch; what remains has the highest validation F1.

    Adam on the plan's loss without the void pixels.
    Raises TrainingError where it diverges or a class is nowhere to be learned.
    """
    return learn(_SegmentationLearner(segmenter, training, validation, plan, device), plan.iterations, keeper)


class _SegmentationLearner(Learner):
    """Batches of random crops."""

    def __init__(
        self,
        segmenter: Segmenter,
        training: Sequence[Mapped],
        validation: Sequence[Mapped],
        plan: SegmentationPlan,
        device: torch.device,
    ) -> None:
        self._segmenter, self._validation, self._plan, self._device = segmenter, validation, plan, device
        self.metadata = {"classes": list(segmenter.classes), "input": segmenter.input.as_json()}
        self.rng = np.random.default_rng(plan.seed)
        self._crops = _Crops(segmenter, training, plan.crop, self.rng)
        self._weights = (self._crops.weights if plan.weighted else torch.ones(len(segmenter.classes))).to(device)
        self.network = segmenter.network.to(device).train()
        self.optimizer = torch.optim.Adam(self.network.parameters(), plan.rate)
        self._check_every = max(1, plan.iterations // plan.checks)

    def rate(self, iteration: int) -> float:
        return self._plan.rate * decayed(iteration, self._plan.iterations)

    def loss(self, iteration: int) -> Tensor:
        images, classes = self._crops.draw(self._plan.batch)
        logits = self.forward(images.to(self._device))
        return pixel_loss(self._plan.loss, logits, _inner(classes, logits).to(self._device), self._weights)

    def check(self, iteration: int) -> float | None:
        return self.judged() if is_check(iteration, self._plan.iterations, self._check_every) else None

    def judged(self) -> float:
        f1 = score_segmenter(self._segmenter, self._validation, self._device)["f1"] or 0.0
        self.network.train()
        return float(f1)


@torch.inference_mode()
def score_segmenter(segmenter: Segmenter, images: Sequence[Mapped], device: torch.device) -> dict[str, Any]:
    """Scores of the likeliest classes on all pixels that are not void, as JSON values."""
    network = segmenter.network.to(device).eval()
    count = len(segmenter.classes)
    table = np.zeros((count, count), np.int64)
    for each in images:
        frame = normalised(each.image, segmenter.input)[None, None].to(device)
        said = whole_frame(network, frame)[0].argmax(0).cpu().numpy()
        counted = each.classes != VOID
        pairs = each.classes[counted].astype(np.int64) * count + said[counted]
        table += np.bincount(pairs, minlength=count * count).reshape(count, count)
    return pixel_scores(table, segmenter.classes, segmenter.background) | {"images": len(images)}


class _Crops:
    """Random crops of the training images, each turned and mirrored at random."""

    def __init__(self, segmenter: Segmenter, training: Sequence[Mapped], side: int, rng: np.random.Generator) -> None:
        self._side, self._rng = side, rng
        self._images = [normalised(each.image, segmenter.input) for each in training]
        self._classes = [torch.from_numpy(each.classes) for each in training]
        counts = sum(
            (np.bincount(each.classes.ravel(), minlength=VOID + 1)[: len(segmenter.classes)] for each in training),
            np.zeros(len(segmenter.classes), np.int64),
        )
        if absent := [name for name, count in zip(segmenter.classes, counts, strict=True) if not count]:
            raise TrainingError(
                f"Could not learn {', '.join(absent)}: no pixel of the {len(training)} images to learn from is that.",
                "The last images are held back to score the network; give more images, or others last.",
            )
        share = counts / counts.sum()
        self.weights = torch.tensor(share**-0.5 / (share * share**-0.5).sum(), dtype=torch.float32)
        """(classes,) float32, with mean 1 over the pixels."""
        self._rare = [
            np.argwhere((each.classes != segmenter.background) & (each.classes != VOID))
            if share[segmenter.background] > 1 - RARE
            else np.empty((0, 2), np.int64)
            for each in training
        ]
        self._with_rare = [place for place, pixels in enumerate(self._rare) if len(pixels)]

    def draw(self, count: int) -> tuple[Tensor, Tensor]:
        """(count, 1, side, side) float32 and the classes (count, side, side) int64."""
        images, classes = [], []
        for _ in range(count):
            place, rows, columns = self._window()
            which = int(self._rng.integers(SYMMETRIES))
            images.append(turned(self._images[place][rows, columns], which))
            classes.append(turned(self._classes[place][rows, columns], which))
        return torch.stack(images)[:, None].contiguous(), torch.stack(classes).long()

    def _window(self) -> tuple[int, slice, slice]:
        """An image and a window of it with something to learn in it."""
        for _ in range(ATTEMPTS):
            place, start = self._corner()
            rows, columns = (slice(at, at + self._side) for at in start)
            if bool((self._classes[place][rows, columns] != VOID).any()):
                break
        return place, rows, columns

    def _corner(self) -> tuple[int, tuple[int, int]]:
        if self._with_rare and self._rng.random() < 0.5:
            place = int(self._rng.choice(self._with_rare))
            pixel = self._rng.choice(self._rare[place])
            offset = self._rng.integers(self._side, size=2)
            room = np.array(self._images[place].shape) - self._side
            row, column = np.clip(pixel - offset, 0, room).tolist()
            return place, (row, column)
        place = int(self._rng.integers(len(self._images)))
        height, width = self._images[place].shape
        row, column = self._rng.integers(height - self._side + 1), self._rng.integers(width - self._side + 1)
        return place, (int(row), int(column))


def whole_frame(network: MSDNet | UNet, frame: Tensor) -> Tensor:
    """The logits of every pixel, where the network has no padding as well."""
    if isinstance(network, UNet) and network.padding == "valid":
        return network.in_tiles(frame, TILE)
    logits: Tensor = network(frame)
    return logits


def _inner(classes: Tensor, logits: Tensor) -> Tensor:
    """The classes of the pixels that the network answers for: all, or the inner ones where it has no padding."""
    height, width = logits.shape[-2:]
    top, left = (classes.shape[-2] - height) // 2, (classes.shape[-1] - width) // 2
    return classes[:, top : top + height, left : left + width]
