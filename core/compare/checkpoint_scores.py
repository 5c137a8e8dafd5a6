"""What the last checkpoints of a training select: each of them, all of them, any of them."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from photon_triage.core.common.atomic import atomic_file
from photon_triage.core.common.containment import open_binary
from photon_triage.core.common.errors import ExportError
from photon_triage.core.compare.lists import LoadedList
from photon_triage.core.embedding.frame_reader import RegionReader, reaching
from photon_triage.core.frames import FrameKey
from photon_triage.core.prepare import Preparation, preparation_for
from photon_triage.core.session.session import Session
from photon_triage.core.session.trainings.trainings import trainings_path
from photon_triage.core.training.loop.checkpoints import FOLDER, SavedCheckpoint, written
from photon_triage.core.training.tasks.detector.learner import WANTED
from photon_triage.models.common.input_files import require_modest
from photon_triage.models.darknet.detector import Detector, best_of_class, load_detector
from photon_triage.models.inference.precision import best_device
from photon_triage.models.inference.runtime import prepare_for_inference

SCORES = ".scores.npz"
Scores = dict[FrameKey, float]
LARGEST_SCORES = 2**30
"""Bytes of the scores beside a checkpoint, unpacked."""

Note = Callable[[int, int], None]


def checkpoint_lists(
    session: Session,
    name: str,
    last: int,
    threshold: float,
    device: str | None = None,
    note: Note = lambda done, planned: None,
) -> list[LoadedList]:
    """The last checkpoints of the training `name` as selections at a threshold, then their intersection and union.

    Of all frames that reach the network; each frame is scored once, and its scores are kept beside the checkpoint.
    `note(done, planned)` is called as frames are scored. Raises ExportError where there are too few checkpoints, and
    ModelError where they are of another kind of network than a detector.
    """
    chosen = written(trainings_path(session) / name / FOLDER)[-last:]
    if len(chosen) < last:
        raise ExportError(
            f"Could not take the last {last} checkpoints of {name}: {len(chosen)} are there.",
            f"Train with --checkpoint-every N and --keep-checkpoints {last} or more, or give a smaller --last.",
        )
    every = _scored(session, chosen, best_device(device), note)
    selections = [frozenset(key for key, score in each.items() if score >= threshold) for each in every]
    labels = [f"{name} {each.iteration}" for each in chosen]
    labels += [f"intersection of the last {last} of {name}", f"union of the last {last} of {name}"]
    selections += [frozenset.intersection(*selections), frozenset[FrameKey]().union(*selections)]
    return [LoadedList(label, "checkpoint", keys, 0) for label, keys in zip(labels, selections, strict=True)]


def _scored(session: Session, chosen: Sequence[SavedCheckpoint], device: torch.device, note: Note) -> list[Scores]:
    """Scores by each checkpoint, read from beside it as far as they are there."""
    recipe = session.recipe()
    detectors = [load_detector(each.path) for each in chosen]
    network = detectors[0].network
    preparation = preparation_for(recipe, network.input_size, network.in_channels).to(device)
    prepared = recipe.prepare.model_dump_json()
    known = [_kept(each.path, prepared) for each in chosen]
    places = reaching(session)
    keys = places.keys()
    missing = np.array([any(key not in scores for scores in known) for key in keys], bool)
    if missing.any():
        wanted, done = places.take(missing), 0
        runs = [(prepare_for_inference(each.network, device), each) for each in detectors]
        with RegionReader(session, preparation) as reader:
            for chunk, counts in reader.read(wanted):
                image = _input(preparation, counts, device)
                for (run, detector), scores in zip(runs, known, strict=True):
                    scores.update(zip(chunk.keys(), _of(run, detector, image), strict=True))
                done += len(chunk)
                note(done, len(wanted))
        for each, scores in zip(chosen, known, strict=True):
            _keep(each.path, prepared, scores)
    there = set(keys)
    return [{key: score for key, score in scores.items() if key in there} for scores in known]


@torch.inference_mode()
def _input(preparation: Preparation, counts: NDArray[np.float32], device: torch.device) -> torch.Tensor:
    return preparation.fit(torch.from_numpy(counts).to(device).float())


@torch.inference_mode()
def _of(run: Callable[[torch.Tensor], Sequence[torch.Tensor]], detector: Detector, image: torch.Tensor) -> list[float]:
    return [float(score) for score in best_of_class(run(image), detector, detector.index(WANTED)).scores.tolist()]


def _kept(path: Path, prepared: str) -> Scores:
    """The scores beside a checkpoint, if they are its own and of frames that were prepared alike."""
    with (
        suppress(OSError, ValueError, KeyError, MemoryError, zipfile.BadZipFile),
        open_binary(path.with_suffix(SCORES), path.parent) as opened,
    ):
        require_modest(opened, LARGEST_SCORES)
        with np.load(opened, allow_pickle=False) as kept:
            if str(kept["of"]) == _digest(path, prepared):
                return {
                    FrameKey(str(file), str(dataset), int(index)): float(score)
                    for (file, dataset), index, score in zip(kept["files"], kept["index"], kept["score"], strict=True)
                }
    return {}


def _keep(path: Path, prepared: str, scores: Scores) -> None:
    files = np.array([(key.file, key.dataset) for key in scores]).reshape(-1, 2)
    with suppress(OSError), atomic_file(path.with_suffix(SCORES)) as file:  # a session that cannot be written is read
        np.savez_compressed(
            file, of=np.array(_digest(path, prepared)), files=files,
            index=np.array([key.index for key in scores], np.int64),
            score=np.array(list(scores.values()), np.float64),
        )  # fmt: skip


def _digest(path: Path, prepared: str) -> str:
    return hashlib.sha256(path.read_bytes() + prepared.encode()).hexdigest()
