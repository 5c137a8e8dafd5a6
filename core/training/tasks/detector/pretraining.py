"""Pre-training without labels: two views of a frame are to look alike to the network, and unlike all other frames.

Source: SimCLR (Chen, Kornblith, Norouzi & Hinton 2020), with views that an experiment could have measured as well.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from photon_triage.core.common.errors import TrainingError
from photon_triage.core.embedding.frame_reader import RegionReader, evenly, frames_in_memory, reaching
from photon_triage.core.embedding.store import Places, joined
from photon_triage.core.frames import FrameKey
from photon_triage.core.prepare import Preparation, preparation_for
from photon_triage.core.session.session import Session
from photon_triage.core.training.data.augment import AUGMENTATIONS, augment
from photon_triage.core.training.data.examples import beam_in_region
from photon_triage.core.training.data.split import near
from photon_triage.core.training.loop.checkpoints import Trained, checked_name, free_name, register
from photon_triage.core.training.loop.folder import settings_of
from photon_triage.core.training.loop.loop import Learner, learn
from photon_triage.core.training.loop.progress import Note, Progress, decayed
from photon_triage.core.training.loop.resume_state import Keeper
from photon_triage.core.training.loop.runs import TrainingRun, training_run
from photon_triage.core.training.model.initial_weights import initialise
from photon_triage.models.darknet.darknet import Darknet, shipped_cfg, shipped_cfgs
from photon_triage.models.darknet.representation import Features
from photon_triage.models.inference.precision import best_device

PROJECTED = 128
TEMPERATURE = 0.2
RATE, DECAY, WARM_UP = 1e-3, 1e-4, 20
BATCH = 64
ITERATIONS, MOST, LEAST = 400, 4096, 16


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
    learner = _PretrainingLearner(network, preparation, counts, centers, iterations, device, seed, augmentations, batch)
    return learn(learner, iterations, keeper)


class _PretrainingLearner(Learner):
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


@dataclass(frozen=True)
class PretrainingJob:
    """What `pretrain` is asked for; see the command's help."""

    session: Session
    cfg: str = "hitnet"
    init: str | None = None
    name: str | None = None
    iterations: int = ITERATIONS
    batch: int = BATCH
    most: int = MOST
    augment: Sequence[str] = AUGMENTATIONS
    seed: int = 0
    device: str | None = None
    command: str = ""
    anew: bool = False


def run_pretraining(job: PretrainingJob, note: Note = lambda done, planned, loss, f1: None) -> Trained:
    """Read frames, pre-train, register; `note(done, planned, loss, None)` is called after each batch.

    What was interrupted goes on where it was, with the frames that it began with. Raises TrainingError, SessionError,
    ModelError.
    """
    if job.name is not None:
        checked_name(job.name)
    name = job.name or free_name("pretrained", job.session.models_path)
    settings = settings_of(job, kind="pretraining")
    with training_run(job.session, name, settings, anew=job.anew, command=job.command) as run:
        return _pretrained(job, name, run, note)


def _pretrained(job: PretrainingJob, name: str, run: TrainingRun, note: Note) -> Trained:
    began = time.time()
    torch.manual_seed(job.seed)
    network = Darknet.from_cfg(shipped_cfg(job.cfg) if job.cfg in shipped_cfgs() else job.cfg, norm_form="cuda")
    started = None if job.init is None else initialise(network, job.init, job.session.models_path)
    chosen = _places(run.noted(_as_json(_choose(job))))
    preparation = preparation_for(job.session.recipe(), network.input_size, network.in_channels)
    with RegionReader(job.session, preparation) as reader:
        parts, counts = frames_in_memory(reader, chosen)
    if len(counts) < LEAST:
        raise TrainingError(
            f"Could not pre-train on {job.session.path}: only {len(counts)} frames reach the network and can be read.",
            f"Pre-training needs {LEAST} and more, better thousands; it needs no label.",
        )
    places = joined(parts)
    run.record_trained_on(_keys(places))
    device = best_device(job.device)
    steps = pretrain(
        network, preparation, counts, _centers(job.session, places), job.iterations, device,
        seed=job.seed, augmentations=job.augment, batch=job.batch, keeper=run.keeper,
    )  # fmt: skip
    last = run.train(steps, note)
    facts = {
        "name": name,
        "frames": len(counts),
        "unreadable": reader.unreadable,
        "iterations": job.iterations,
        "batch": min(job.batch, len(counts)),
        "augment": list(job.augment),
        "loss": last.loss if last else float("nan"),
        "chance": float(np.log(2 * min(job.batch, len(counts)) - 1)),
        "init": started and started["text"],
        "seed": job.seed,
        "seconds": time.time() - began,
        "device": str(device),
    }
    # Without names of classes: its last convolutions have learned nothing, so nobody is to take it for a detector.
    metadata = {
        "architecture": network.architecture,
        "command": job.command,
        "note": "pre-trained without labels, to begin trainings from (--init); it does not detect",
        "seed": job.seed,
        "iterations": job.iterations,
        "pretraining": {key: facts[key] for key in ("frames", "batch", "augment", "loss", "chance", "init")},
    }
    return Trained(register(job.session.models_path, name, network.cpu().eval(), metadata), facts)


def _choose(job: PretrainingJob) -> Places:
    """Frames that reach the network, spread evenly, less those of the audit and those next to them: these judge."""
    places = reaching(job.session)
    audited = [drawn.key for draw in job.session.labels().draws for drawn in draw.frames]
    if audited:
        places = places.take(~near(_keys(places), audited))
    return places.take(evenly(len(places), job.most))


def _keys(places: Places) -> list[FrameKey]:
    return [
        FrameKey(path, dataset, index)
        for (path, dataset), index in zip(
            (places.files[file] for file in places.file.tolist()), places.index.tolist(), strict=True
        )
    ]


def _as_json(places: Places) -> dict[str, Any]:
    return {
        "files": [list(file) for file in places.files],
        "file": places.file.tolist(),
        "index": places.index.tolist(),
    }


def _places(kept: dict[str, Any]) -> Places:
    files = tuple((str(path), str(dataset)) for path, dataset in kept["files"])
    return Places(files, np.array(kept["file"], np.int64), np.array(kept["index"], np.int64))


def _centers(session: Session, places: Places) -> NDArray[np.float32]:
    """Where the beam hits the region of each frame, (n, 2) x and y, NaN where unknown."""
    recipe, reader = session.recipe(), session.results()
    told = recipe.geometry.geometry()
    try:
        of_file = {
            (file.path, file.dataset): beam_in_region(file.geometry.over(told), recipe) for file in reader.files()
        }
    finally:
        reader.close()
    each = np.array([of_file[file] for file in places.files], np.float32).reshape(-1, 2)
    return each[places.file]
