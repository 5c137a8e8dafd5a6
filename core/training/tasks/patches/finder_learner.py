"""Learner of small objects: patches around them and away from them, a preselection of those, and its own mistakes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from photon_triage.core.candidates import Candidate, peaks
from photon_triage.core.metrics import best_threshold, confusion_at
from photon_triage.core.training.data.preselection import AT_ONCE, How, preselect, statistics_of
from photon_triage.core.training.evaluation.scoring import (
    best_cut,
    candidate_scores,
    confusion_scores,
    judged,
)
from photon_triage.core.training.loop.loop import learn
from photon_triage.core.training.loop.progress import Progress, is_check
from photon_triage.core.training.loop.resume_state import Keeper
from photon_triage.core.training.tasks.patches.patch_sampler import (
    Draw,
    Marked,
    PatchLearner,
    PatchPlan,
    PatchSampler,
    Sites,
    elsewhere_drawn,
    objects_drawn,
    on_image,
    score_patches,
)
from photon_triage.models.nets.patch_finder import PatchFinder, log_odds

LISTED_FROM = -2.2
"""Log-odds of the score 0.1, from which peaks are listed."""

MOST_PEAKS = 500
PLACES_PER_OBJECT = 20
WINDOW = 512
"""Pixels a side of the part of an image that mistakes are looked for in."""

MISTAKEN = 0.5
"""Part of what is no object in a batch that are mistakes from before, once there are some."""

MOST_MISTAKES = 40
"""An image, each time."""
POOL, KEPT = 4096, 1024
"""Patches looked at, and those of them that are learned from."""
POSITIVES = 256


@dataclass(frozen=True)
class FindingPlan(PatchPlan):
    """How to train a search.

    rounds: how often, evenly over the training, its worst mistakes are looked for and learned from. checks: how often
    it is judged after the last of these, evenly up to the end. min_distance: pixels within which only the highest peak
    is a candidate.
    """

    rounds: int = 2
    checks: int = 3
    min_distance: float = 25.0


def train_finder(
    finder: PatchFinder,
    training: Sequence[Marked],
    validation: Sequence[Marked],
    plan: FindingPlan,
    device: torch.device,
    keeper: Keeper | None = None,
) -> Iterator[Progress]:
    """Train the finder's network in place, yielding after each batch; what remains has the highest validation F1.

    F1 is that of the candidates at their best threshold; in the end the last bias is moved so that this threshold is
    the score 0.5. Raises TrainingError where there is nothing to learn, or where it diverges.
    """
    return learn(_FinderLearner(finder, training, validation, plan, device), plan.iterations, keeper)


class _FinderLearner(PatchLearner):
    """Patches, and the network's own mistakes among them; judged by what it finds."""

    def __init__(
        self,
        finder: PatchFinder,
        training: Sequence[Marked],
        validation: Sequence[Marked],
        plan: FindingPlan,
        device: torch.device,
    ) -> None:
        self._finder, self._training, self._validation, self._finding = finder, training, validation, plan
        patches, objects = PatchSampler([each.image for each in training], finder), objects_drawn(training)
        self._negatives = preselected(elsewhere_drawn(training), objects, patches, plan.negatives, plan.seed)
        super().__init__(finder, patches, objects, self._drawn, plan, device)
        self._judges = PatchSampler([each.image for each in validation], finder)
        self._objects = [each.objects for each in validation]
        self._known = np.concatenate([on_image(place, each.wrong) for place, each in enumerate(training)])
        self._mistakes: Sites = self._known
        self._windows_rng = np.random.default_rng(plan.seed)
        self._searched = plan.iterations // (plan.rounds + 1) * plan.rounds
        self._check_every = max(1, (plan.iterations - self._searched) // plan.checks)
        self._cut = self._best_cut = 0.0

    def check(self, iteration: int) -> float | None:
        plan, f1 = self._finding, None
        phase = plan.iterations // (plan.rounds + 1)
        if iteration <= self._searched and iteration % phase == 0:
            windows = _windows(self._training, self._windows_rng)
            found = search(self._finder, self._patches, windows, plan.min_distance, self._device)
            self._mistakes = np.concatenate([self._known, _mistakes(found, self._training)])
        elif iteration > self._searched and is_check(iteration, plan.iterations, self._check_every):
            f1 = self.judged()
        self.network.train()
        return f1

    def judged(self) -> float:
        regions = _regions(self._validation)
        found = search(self._finder, self._judges, regions, self._finding.min_distance, self._device)
        threshold, f1 = best_cut(judged(found, self._objects), sum(map(len, self._objects)))
        self._cut = threshold or 0.0
        self.network.train()
        return f1

    def best_so_far(self) -> None:
        self._best_cut = self._cut

    def finish(self) -> None:
        _lower_log_odds(self.network, self._best_cut)
        super().finish()

    def memory(self) -> dict[str, Any]:
        return {
            "mistakes": self._mistakes.tolist(),
            "windows_rng": self._windows_rng.bit_generator.state,
            "best_cut": self._best_cut,
        }

    def recall(self, memory: Mapping[str, Any]) -> None:
        self._mistakes = np.array(memory["mistakes"], np.int64).reshape(-1, 3)
        self._windows_rng.bit_generator.state = memory["windows_rng"]
        self._best_cut = memory["best_cut"]

    def _drawn(self, rng: np.random.Generator, count: int) -> Sites:
        mistakes = self._mistakes
        hard = rng.choice(mistakes, round(count * MISTAKEN)) if len(mistakes) else mistakes
        return np.concatenate([hard, self._negatives(rng, count - len(hard))])


@torch.inference_mode()
def search(
    finder: PatchFinder,
    patches: PatchSampler,
    regions: Sequence[NDArray[np.bool_] | None],
    min_distance: float,
    device: torch.device,
) -> list[tuple[Candidate, ...]]:
    """The candidates of every image within its region (height, width), best first; their scores are log-odds."""
    network = finder.network.to(device).eval()
    found = []
    for place, region in enumerate(regions):
        wanted = None if region is None else torch.from_numpy(region)[None].to(device)
        odds = log_odds(network.dense(patches.whole(place).to(device), wanted))[0].cpu().numpy()
        found.append(peaks(odds, least=LISTED_FROM, min_distance=min_distance, most=MOST_PEAKS))
    return found


def score_finder(
    finder: PatchFinder,
    images: Sequence[Marked],
    validation: Sequence[Marked],
    plan: FindingPlan,
    device: torch.device,
) -> dict[str, Any]:
    """Scores of the candidates at the score 0.5, and under `patches` those of patches, as JSON values.

    The patches lie about some pixels of every object and as many random ones elsewhere; as objects are much rarer on
    images, their threshold is one of its own, that of the highest F1 on the validation images.
    """
    patches = PatchSampler([each.image for each in images], finder)
    objects = [each.objects for each in images]
    found = judged(search(finder, patches, _regions(images), plan.min_distance, device), objects)
    scores = candidate_scores(found, sum(map(len, objects)), 0.0) | {"images": len(images)}
    judges = PatchSampler([each.image for each in validation], finder)
    threshold = best_threshold(*_as_mappings(*_sampled(finder, validation, judges, plan.seed, device)))
    said = confusion_at(*_as_mappings(*_sampled(finder, images, patches, plan.seed, device)), threshold or 0.0)
    return scores | {"patches": confusion_scores(said.confusion)}


def _sampled(
    finder: PatchFinder, images: Sequence[Marked], patches: PatchSampler, seed: int, device: torch.device
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Scores of patches about objects and elsewhere, as many of each, and which are which."""
    rng = np.random.default_rng(seed)
    count = PLACES_PER_OBJECT * sum(len(each.objects) for each in images)
    sites = [objects_drawn(images)(rng, count), elsewhere_drawn(images)(rng, count)]
    return score_patches(finder, patches, np.concatenate(sites), device), np.arange(2 * count) < count


def _as_mappings(
    scores: NDArray[np.float32], truth: NDArray[np.bool_]
) -> tuple[dict[int, float | None], dict[int, bool]]:
    return dict(enumerate(scores.tolist())), dict(enumerate(truth.tolist()))


def _regions(images: Sequence[Marked]) -> list[NDArray[np.bool_] | None]:
    return [each.within for each in images]


def _windows(images: Sequence[Marked], rng: np.random.Generator) -> list[NDArray[np.bool_] | None]:
    """A part of each image at random, so that a look for mistakes stays quick on large ones."""
    parts: list[NDArray[np.bool_] | None] = []
    for each in images:
        height, width = each.image.shape
        top, left = rng.integers(max(height - WINDOW, 0) + 1), rng.integers(max(width - WINDOW, 0) + 1)
        part = np.zeros((height, width), bool)
        part[top : top + WINDOW, left : left + WINDOW] = True
        parts.append(part if each.within is None else part & each.within)
    return parts


def _mistakes(found: Sequence[Sequence[Candidate]], images: Sequence[Marked]) -> Sites:
    """The best candidates where no object is and nothing forbids to learn."""
    sites = []
    for place, (candidates, each) in enumerate(zip(found, images, strict=True)):
        wrong = [(candidate.y, candidate.x) for candidate in candidates if each.elsewhere[candidate.y, candidate.x]]
        sites.append(on_image(place, np.array(wrong[:MOST_MISTAKES], np.int64).reshape(-1, 2)))
    return np.concatenate(sites)


def _lower_log_odds(network: nn.Module, by: float) -> None:
    """Lower the log-odds of the last class everywhere by `by`, which the last bias alone does."""
    last = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
    with torch.no_grad():
        last.bias[-1] -= by


def preselected(negatives: Draw, positives: Draw, patches: PatchSampler, how: How, seed: int) -> Draw:
    """Draws from KEPT negatives that were chosen once, by the statistics of POOL of them; "random" draws from all.

    Raises TrainingError for another `how`.
    """
    if how == "random":
        return negatives
    rng = np.random.default_rng(seed)
    pool = np.unique(negatives(rng, POOL), axis=0)
    of_positives = _statistics(patches, positives(rng, POSITIVES))
    chosen = pool[preselect(how, _statistics(patches, pool), of_positives, KEPT, rng)]
    return lambda rng, count: rng.choice(chosen, count)


def _statistics(patches: PatchSampler, sites: Sites) -> NDArray[np.float64]:
    starts = range(0, len(sites), AT_ONCE)
    return np.concatenate([statistics_of(patches.cut(sites[at : at + AT_ONCE])[:, 0]) for at in starts])
