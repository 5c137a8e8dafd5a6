"""Training of a classifier of radial profiles: from labels to a registered model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from photon_triage.core.common.errors import TrainingError
from photon_triage.core.frames import Batch, FrameKey, as_counts
from photon_triage.core.metrics import confusion_at
from photon_triage.core.session.decisions.labels import Label
from photon_triage.core.session.models.catalog import ModelEntry
from photon_triage.core.session.session import Session
from photon_triage.core.session.store.frames import read_pixels
from photon_triage.core.sources import FrameReader
from photon_triage.core.stages.rings import RingSums
from photon_triage.core.training.data.sources import chosen_labels
from photon_triage.core.training.data.split import as_originals, contents_of, copies_in, hold_back
from photon_triage.core.training.evaluation.scoring import confusion_scores
from photon_triage.core.training.loop.loop import Learner, learn
from photon_triage.core.training.loop.progress import Progress, decayed
from photon_triage.core.training.loop.resume_state import Keeper
from photon_triage.core.training.loop.runs import TrainingRun
from photon_triage.core.training.model.job import (
    NetworkJob,
    NetworkTraining,
    batches,
    facts_of_labels,
    keep_layers,
    new_network,
    note_sources,
)
from photon_triage.models.nets.radial_net import ProfileClassifier, RadialNet, load_profile_classifier, profile_input

LEAST_LABELS = 10
FRAMES_AT_ONCE = 64
DECAY = 1e-3
LEAST_KEPT = 0.3
"""Half of the profiles lose photons, down to this part; a sum of thinned Poisson counts is that of a weaker pulse."""
CLASSES = ("other", "single")
ITERATIONS, BATCH, RATE = 1500, 64, 2e-3
CONTINUED = 0.25
"""A network that has learned before goes on for so much of the batches, at so much of the rate."""


@dataclass(frozen=True, eq=False)
class Profiles:
    """Labelled frames as sums over rings: counts and usable pixels, (n, bins) each; keys, runs, accepted (n,)."""

    keys: tuple[FrameKey, ...]
    runs: tuple[str, ...]
    counts: NDArray[np.float32]
    pixels: NDArray[np.float32]
    accepted: NDArray[np.bool_]

    def take(self, where: NDArray[np.bool_]) -> Profiles:
        """Those where `where` ((n,) bool) is true."""
        places = np.flatnonzero(where).tolist()
        keys, runs = tuple(self.keys[place] for place in places), tuple(self.runs[place] for place in places)
        return Profiles(keys, runs, self.counts[where], self.pixels[where], self.accepted[where])


def read_profiles(session: Session, network: RadialNet, labels: Iterable[Label]) -> Profiles:
    """The profiles of labelled frames that the classify stage sees, as the stage takes them.

    Raises TrainingError where there are too few, RecipeError where the geometry is not known.
    """
    recipe = session.recipe()
    verdicts = {label.key: label.verdict for label in labels if label.verdict != "skipped"}
    with closing(session.results()) as reader:
        rows = reader.frames().rows(verdicts)
        files = {file.path: file for file in reader.files()}
    reached = sorted(key for key, row in rows.items() if row.passed >= recipe.stages_before_network)
    rings = RingSums(network.bins, network.q_max, recipe.prepare.roi)
    keys: list[FrameKey] = []
    runs, counts, pixels, accepted = [], [], [], []
    with FrameReader(roots=recipe.source.roots) as frames:
        for part in read_pixels(frames, reached, at_once=FRAMES_AT_ONCE, failed=lambda keys, error: None):
            file, mask = files[part.keys[0].file], None if part.valid is None else torch.from_numpy(part.valid)
            raw = torch.from_numpy(as_counts(part.pixels, part.valid))
            summed, usable = rings(Batch(part.keys, raw, mask, file.geometry))
            keys += part.keys
            runs += [file.run] * len(part.keys)
            counts.append(summed.numpy())
            pixels.append(usable.expand_as(summed).numpy())
            accepted += [verdicts[key] == "accepted" for key in part.keys]
    if len(keys) < LEAST_LABELS:
        raise TrainingError(
            f"Could not train on {session.path}: only {len(keys)} labelled frames reach the network.",
            f"Label at least {LEAST_LABELS}, accepted and rejected ones.",
        )
    return Profiles(tuple(keys), tuple(runs), np.concatenate(counts), np.concatenate(pixels), np.array(accepted))


@dataclass(frozen=True)
class ProfilePlan:
    """How to train: batches, profiles in each, and the learning rate as it begins."""

    iterations: int
    batch: int
    rate: float
    seed: int = 0


def train_classifier(
    classifier: ProfileClassifier,
    profiles: Profiles,
    plan: ProfilePlan,
    device: torch.device,
    keeper: Keeper | None = None,
) -> Iterator[Progress]:
    """Train the classifier's network in place by AdamW, yielding after each batch; what remains is that of the last.

    Raises TrainingError where it diverges.
    """
    return learn(_ProfileLearner(classifier, profiles, plan, device), plan.iterations, keeper)


class _ProfileLearner(Learner):
    """Batches of profiles, half of them accepted ones, photons thinned."""

    def __init__(
        self, classifier: ProfileClassifier, profiles: Profiles, plan: ProfilePlan, device: torch.device
    ) -> None:
        self._profiles, self._plan, self._device = profiles, plan, device
        self._sides = [np.flatnonzero(profiles.accepted == side) for side in (False, True)]
        self.rng = np.random.default_rng(plan.seed)
        self.metadata = {"classes": list(classifier.classes)}
        self.network = classifier.network.to(device).train()
        self.optimizer = torch.optim.AdamW(self.network.parameters(), plan.rate, weight_decay=DECAY)

    def rate(self, iteration: int) -> float:
        return self._plan.rate * decayed(iteration, self._plan.iterations)

    def loss(self, iteration: int) -> Tensor:
        half = self._plan.batch // 2
        sizes = (self._plan.batch - half, half)
        chosen = np.concatenate([self.rng.choice(side, size) for side, size in zip(self._sides, sizes, strict=True)])
        counts = thinned(self._profiles.counts[chosen], self.rng)
        pixels = torch.from_numpy(self._profiles.pixels[chosen])
        logits = self.forward(profile_input(torch.from_numpy(counts), pixels).to(self._device))
        truth = torch.from_numpy(self._profiles.accepted[chosen].astype(np.int64)).to(self._device)
        return functional.cross_entropy(logits, truth)


@torch.inference_mode()
def score_profiles(classifier: ProfileClassifier, profiles: Profiles) -> NDArray[np.float32]:
    """The score of each profile, (n,)."""
    classifier.network.cpu().eval()
    scores = classifier.scores(torch.from_numpy(profiles.counts), torch.from_numpy(profiles.pixels))
    return np.asarray(scores.numpy(), np.float32)


def thinned(counts: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Sums over rings, (n, bins), half of them with fewer photons; sums that are not whole are scaled."""
    kept = np.where(rng.random(len(counts)) < 0.5, rng.uniform(LEAST_KEPT, 1.0, len(counts)), 1.0)[:, None]
    if np.array_equal(counts, np.rint(counts)) and counts.min() >= 0:
        return rng.binomial(counts.astype(np.int64), np.broadcast_to(kept, counts.shape)).astype(np.float32)
    return (counts * kept).astype(np.float32)


def prepare_profiles(
    job: NetworkJob, base: ModelEntry | None, run: TrainingRun, device: torch.device
) -> NetworkTraining[ProfileClassifier]:
    """Begin or continue a network on radial profiles with a session's labels; some of them are held out and score it.

    Raises TrainingError, SessionError, RecipeError or ModelError.
    """
    chosen = chosen_labels(job.session, run, job.sources)
    old = None if base is None else load_profile_classifier(base.path)
    classifier = _new(job) if base is None else load_profile_classifier(base.path)
    keep_layers(job, classifier.network)
    profiles = read_profiles(job.session, classifier.network, chosen.labels)
    keys = as_originals(profiles.keys, copies_in(job.session))
    held = hold_back(keys, profiles.accepted, job.seed, contents_of(profiles.counts), profiles.runs)
    learned, judges = profiles.take(held.training), profiles.take(held.test)
    part, batch = (1.0 if base is None else CONTINUED), job.batch or BATCH
    iterations = batches(job, len(learned.keys), batch, round(ITERATIONS * part))
    plan = ProfilePlan(iterations, batch, job.rate or RATE * part, job.seed)
    threshold = job.session.recipe().default_threshold
    note_sources(job, chosen, learned.keys)

    def score(model: ProfileClassifier) -> dict[str, Any]:
        said = dict(zip(judges.keys, score_profiles(model, judges).tolist(), strict=True))
        truth = dict(zip(judges.keys, judges.accepted.tolist(), strict=True))
        return confusion_scores(confusion_at(said, truth, threshold).confusion) | {"threshold": threshold}

    def data() -> dict[str, Any]:
        with closing(job.session.results()) as reader:
            simulated = reader.counts().simulated
        labelled = sum(label.verdict != "skipped" for label in chosen.labels)
        accepted = dict(zip(learned.keys, learned.accepted.tolist(), strict=True))
        unreachable = labelled - len(profiles.keys)
        return facts_of_labels(job, chosen, accepted, judges.keys, unreachable=unreachable, simulated=simulated)

    how = {
        "family": "radial",
        "iterations": plan.iterations,
        "batch": plan.batch,
        "rate": plan.rate,
        "threshold": threshold,
    }
    steps = train_classifier(classifier, learned, plan, device, run.keeper)
    return NetworkTraining(classifier, old, steps, score, learned.keys, data, how)


def _new(job: NetworkJob) -> ProfileClassifier:
    network = new_network(job, classes=len(CLASSES))
    assert isinstance(network, RadialNet)
    return ProfileClassifier(network, CLASSES)
