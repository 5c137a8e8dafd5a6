"""A pre-training from a session's frames, without labels, to a registered model that trainings can begin from."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from photon_triage.core.common.errors import TrainingError
from photon_triage.core.embedding.frame_reader import RegionReader, evenly, frames_in_memory, reaching
from photon_triage.core.embedding.store import Places, joined
from photon_triage.core.frames import FrameKey
from photon_triage.core.prepare import preparation_for
from photon_triage.core.session.session import Session
from photon_triage.core.training.data.augment import AUGMENTATIONS
from photon_triage.core.training.data.examples import beam_in_region
from photon_triage.core.training.data.split import near
from photon_triage.core.training.loop.checkpoints import Trained, checked_name, free_name, register
from photon_triage.core.training.loop.folder import settings_of
from photon_triage.core.training.loop.progress import Note
from photon_triage.core.training.loop.runs import TrainingRun, training_run
from photon_triage.core.training.model.initial_weights import initialise
from photon_triage.core.training.tasks.detector.pretraining import BATCH, pretrain
from photon_triage.models.darknet.darknet import Darknet, shipped_cfg, shipped_cfgs
from photon_triage.models.inference.precision import best_device

ITERATIONS, MOST, LEAST = 400, 4096, 16


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
        trained = _pretrained(job, name, run, note)
        run.done()
    return trained


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
    loss = float("nan")
    for step in run.follow(steps):
        loss = step.loss
        note(step.done, step.planned, step.loss, step.f1)
    facts = {
        "name": name,
        "frames": len(counts),
        "unreadable": reader.unreadable,
        "iterations": job.iterations,
        "batch": min(job.batch, len(counts)),
        "augment": list(job.augment),
        "loss": loss,
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
