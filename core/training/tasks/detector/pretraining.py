"""Pre-training without labels: two views of a frame are to look alike to the network, and unlike all other frames.

Source: SimCLR (Chen, Kornblith, Norouzi & Hinton 2020), with views that an experiment could have measured as well.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from photon_triage.core.prepare import Preparation
from photon_triage.core.training.data.augment import AUGMENTATIONS, augment
from photon_triage.core.training.loop.loop import Learner, learn
from photon_triage.core.training.loop.progress import Progress, decayed
from photon_triage.core.training.loop.resume_state import Keeper
from photon_triage.models.darknet.darknet import Darknet
from photon_triage.models.darknet.representation import Features

PROJECTED = 128
TEMPERATURE = 0.2
RATE, DECAY, WARM_UP = 1e-3, 1e-4, 20
BATCH = 64


class Projecting(nn.Module):
    """Features and the head that the loss looks at, which is thrown away afterwards: (batch, 128) of length 1."""

    def __init__(self, network: Darknet) -> None:
        super().__init__()
        self.features = Features(network)
        self.head = nn.Sequential(
            nn.Linear(self.features.size, self.features.size), nn.ReLU(), nn.Linear(self.features.size, PROJECTED)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Where a batch (batch, channels, height, width) lies on the sphere."""
        return functional.normalize(self.head(self.features(x)), dim=1)


def contrast(first: Tensor, second: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """The mean cross-entropy of finding a frame's other view among all other views of a batch (NT-Xent).

    first, second: (batch, n) of length 1, row by row two views of a frame. Source: equation 1 of Chen et al. 2020.
    """
    count = len(first)
    both = torch.cat([first, second])
    likeness = both @ both.T / temperature
    likeness = likeness.masked_fill(torch.eye(2 * count, dtype=torch.bool, device=both.device), -math.inf)
    partner = torch.arange(2 * count, device=both.device).roll(count)
    return functional.cross_entropy(likeness, partner)


def pretrain(
    network: Darknet,
    preparation: Preparation,
    counts: NDArray[Any],
    centers: NDArray[np.float32],
    iterations: int,
    device: torch.device,
    *,
    seed: int = 0,
    augmentations: Sequence[str] = AUGMENTATIONS,
    batch: int = BATCH,
    keeper: Keeper | None = None,
) -> Iterator[Progress]:
    """Train the network's features in place, yielding after each batch; its last convolutions stay as they are.

    counts: (n, rows, columns) of the preparation's region. centers: (n, 2) x and y of the beam in it, NaN where
    unknown. Raises TrainingError where the loss is no number any more.
    """
    learner = _Learner(network, preparation, counts, centers, iterations, device, seed, augmentations, batch)
    return learn(learner, iterations, keeper)


class _Learner(Learner):
    """Batches of pairs of views."""

    def __init__(
        self,
        network: Darknet,
        preparation: Preparation,
        counts: NDArray[Any],
        centers: NDArray[np.float32],
        iterations: int,
        device: torch.device,
        seed: int,
        augmentations: Sequence[str],
        batch: int,
    ) -> None:
        torch.manual_seed(seed)
        self.rng = np.random.default_rng(seed)
        self.network: Projecting = Projecting(network)
        self.network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network.train()
        preparation.to(device)
        self._counts, self._centers, self._preparation, self._device = counts, centers, preparation, device
        self._iterations, self._augmentations, self._batch = iterations, tuple(augmentations), min(batch, len(counts))
        self.optimizer = torch.optim.AdamW(self.network.parameters(), RATE, weight_decay=DECAY)

    def rate(self, iteration: int) -> float:
        return RATE * min(1.0, iteration / WARM_UP) * decayed(iteration, self._iterations)

    def loss(self, iteration: int) -> Tensor:
        chosen = np.sort(self.rng.choice(len(self._counts), self._batch, replace=False))
        views = torch.cat([self._view(chosen), self._view(chosen)])
        projected = self.forward(views.contiguous(memory_format=torch.channels_last))
        return contrast(*projected.split(len(chosen)))

    def _view(self, chosen: NDArray[np.intp]) -> Tensor:
        """Some frames as the experiment could have measured them, (batch, channels, height, width)."""
        boxes = np.zeros((len(chosen), 4), np.float32)
        counts, _ = augment(self._counts[chosen], boxes, self.rng, self._augmentations, self._centers[chosen])
        return self._preparation.fit(torch.from_numpy(counts).to(self._device))
