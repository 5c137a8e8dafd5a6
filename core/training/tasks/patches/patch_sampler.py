"""Patches to learn from: about the pixels of objects and about others, drawn at random."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy, pad

from photon_triage.core.common.errors import TrainingError
from photon_triage.core.training.data.augment import SYMMETRIES, turned
from photon_triage.core.training.data.images import Image, normalised
from photon_triage.core.training.data.objects import Objects
from photon_triage.core.training.data.preselection import How
from photon_triage.core.training.loop.loop import Learner
from photon_triage.core.training.loop.progress import decayed
from photon_triage.models.nets.patch_finder import PatchFinder, log_odds

Sites = NDArray[np.int64]
"""(n, 3): image, row, column of the pixels that patches lie about."""

Draw = Callable[[np.random.Generator, int], Sites]
"""Draws that many sites at random."""

NOTHING_WRONG: NDArray[np.int64] = np.empty((0, 2), np.int64)

PATCHES_AT_ONCE = 256
WEIGHT_DECAY = 1e-2


@dataclass(frozen=True)
class PatchPlan:
    """How to train: `batch` patches at a time, half of them objects, those moved by up to `jitter` pixels.

    negatives: how those that are no objects are chosen, see `preselecting`.
    """

    iterations: int
    batch: int
    rate: float
    jitter: int = 2
    seed: int = 0
    negatives: How = "random"


@dataclass(frozen=True, eq=False)
class Marked:
    """An image with its objects, where other things may be learned from and where to search, (height, width) bool.

    wrong: (n, 2), rows and columns that are known to be no objects.
    """

    image: Image
    objects: Objects
    elsewhere: NDArray[np.bool_]
    within: NDArray[np.bool_] | None = None
    wrong: NDArray[np.int64] = field(default_factory=lambda: NOTHING_WRONG)


class PatchSampler:
    """The patches about any pixel of some images, which are mirrored at the border as in a search."""

    def __init__(self, images: Sequence[Image], finder: PatchFinder) -> None:
        self.size = finder.network.patch
        self.shapes = np.array([image.shape for image in images])
        before, after = self.size // 2, self.size - 1 - self.size // 2
        for image in images:
            if min(image.shape) <= before:
                raise TrainingError(
                    f"Could not cut patches of {self.size} pixels from {image.name}: it has {image.shape[0]} x "
                    f"{image.shape[1]} pixels.",
                    "Use a network with smaller patches, as in --option patch=20, or larger images.",
                )
        self._images = [
            pad(normalised(image, finder.input)[None, None], (before, after, before, after), mode="reflect")[0, 0]
            for image in images
        ]

    def cut(self, sites: Sites) -> Tensor:
        """(n, 1, patch, patch) float32."""
        size = self.size
        return torch.stack([self._images[i][y : y + size, x : x + size] for i, y, x in sites.tolist()])[:, None]

    def whole(self, place: int) -> Tensor:
        """An image with its mirrored border, (1, 1, rows, columns)."""
        return self._images[place][None, None]

    def moved(self, sites: Sites, jitter: int, rng: np.random.Generator) -> Sites:
        """Sites moved by up to `jitter` pixels, on the image still."""
        steps = rng.integers(-jitter, jitter + 1, (len(sites), 2))
        inside = np.clip(sites[:, 1:] + steps, 0, self.shapes[sites[:, 0]] - 1)
        return np.concatenate([sites[:, :1], inside], 1)


def objects_drawn(images: Sequence[Marked]) -> Draw:
    """Any object with the same chance, large or small, and any pixel of it."""
    places = [on_image(place, pixels) for place, each in enumerate(images) for pixels in each.objects.places]
    if not places:
        raise TrainingError(
            f"Could not learn from {len(images)} images: there are no objects in them.",
            "The last images are held back to score the network; mark objects on the others.",
        )

    def draw(rng: np.random.Generator, count: int) -> Sites:
        chosen = rng.integers(len(places), size=count)
        return np.stack([places[each][rng.integers(len(places[each]))] for each in chosen])

    return draw


def elsewhere_drawn(images: Sequence[Marked]) -> Draw:
    """Any pixel where other things may be learned from."""
    allowed = [np.flatnonzero(each.elsewhere) for each in images]
    ends = np.cumsum([len(pixels) for pixels in allowed])
    if not ends[-1]:
        raise TrainingError(
            f"Could not learn what is no object from {len(images)} images: no pixel is left for it.",
            "Leave room between the objects, and check --within and --margin.",
        )

    def draw(rng: np.random.Generator, count: int) -> Sites:
        sites = np.empty((count, 3), np.int64)
        for row, chosen in enumerate(rng.integers(ends[-1], size=count).tolist()):
            place = int(np.searchsorted(ends, chosen, side="right"))
            pixel = allowed[place][chosen - ends[place]]
            sites[row] = (place, *divmod(int(pixel), images[place].image.shape[1]))
        return sites

    return draw


def on_image(place: int, pixels: NDArray[np.int64]) -> Sites:
    """Pixels (n, 2) of the image `place` as sites."""
    return np.concatenate([np.full((len(pixels), 1), place), pixels], 1)


class PatchLearner(Learner):
    """Adam on batches of half objects and half others, each turned, mirrored and, where it is an object, moved."""

    def __init__(
        self,
        finder: PatchFinder,
        patches: PatchSampler,
        positives: Draw,
        others: Draw,
        plan: PatchPlan,
        device: torch.device,
    ) -> None:
        self._patches, self._positives, self._others, self._device = patches, positives, others, device
        self._plan, self._last = plan, len(finder.classes) - 1
        self.metadata = {"classes": list(finder.classes), "input": finder.input.as_json()}
        self.rng = np.random.default_rng(plan.seed)
        self.network = finder.network.to(device).train()
        self.optimizer = torch.optim.AdamW(self.network.parameters(), plan.rate, weight_decay=WEIGHT_DECAY)

    def rate(self, iteration: int) -> float:
        """Falling from the plan's."""
        return self._plan.rate * decayed(iteration, self._plan.iterations)

    def loss(self, iteration: int) -> Tensor:
        """Cross-entropy."""
        plan, rng = self._plan, self.rng
        wanted = max(1, plan.batch // 2)
        right = self._patches.moved(self._positives(rng, wanted), plan.jitter, rng)
        wrong = self._others(rng, max(1, plan.batch - wanted))
        sites = np.concatenate([right, wrong])
        truth = torch.tensor([self._last] * len(right) + [0] * len(wrong), device=self._device)
        order = torch.from_numpy(rng.permutation(len(sites)))
        cut = self._patches.cut(sites[order.numpy()])
        cut = torch.cat([turned(part, which) for which, part in enumerate(cut.tensor_split(SYMMETRIES))])
        return cross_entropy(self.forward(cut.to(self._device)), truth[order.to(self._device)])


@torch.inference_mode()
def score_patches(
    finder: PatchFinder, patches: PatchSampler, sites: Sites, device: torch.device
) -> NDArray[np.float32]:
    """The log-odds of the patch about each site, (n,)."""
    network = finder.network.to(device).eval()
    parts = [
        log_odds(network(patches.cut(sites[start : start + PATCHES_AT_ONCE]).to(device))).cpu().numpy()
        for start in range(0, len(sites), PATCHES_AT_ONCE)
    ]
    return np.concatenate(parts) if parts else np.empty(0, np.float32)
