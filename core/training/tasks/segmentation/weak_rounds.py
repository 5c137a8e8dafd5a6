"""A round with masks of doubtful quality: train, say which masks to correct, and what the corrections have gained."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from photon_triage.core.common.containment import LARGEST_TABLE, open_to_append, parse_json, read_text
from photon_triage.core.common.errors import TrainingError
from photon_triage.core.session.models.catalog import ModelEntry, session_models
from photon_triage.core.session.trainings.trainings import trainings_path
from photon_triage.core.training.data.classes import class_maps
from photon_triage.core.training.data.images import MaskedImage, read_examples
from photon_triage.core.training.data.split import Split, near
from photon_triage.core.training.evaluation.scoring import clean_images
from photon_triage.core.training.loop.checkpoints import Trained
from photon_triage.core.training.loop.folder import settings_of
from photon_triage.core.training.loop.progress import Note
from photon_triage.core.training.loop.runs import TrainingRun, can_go_on, training_run
from photon_triage.core.training.model.job import NetworkJob, NetworkTraining, facts_of_images, train_network
from photon_triage.core.training.tasks.segmentation.segmentation import Mapped, score_segmenter, train_segmenter
from photon_triage.core.training.tasks.segmentation.segmenter_job import new_segmenter, segmentation_plan, settings_used
from photon_triage.core.training.tasks.segmentation.weak_masks import (
    Doubt,
    decided_on_screen,
    doubts,
    mask_names,
    values_of,
    with_corrections,
    write_proposals,
)
from photon_triage.models.inference.precision import best_device
from photon_triage.models.nets.segmenter import Segmenter

ROUNDS, CORRECTED, PROPOSALS = "rounds.jsonl", "corrected", "proposals"


@dataclass(frozen=True)
class WeakJob:
    """What a round is asked for.

    network: of a new segmenter, with the images and doubtful masks. clean_images, clean_masks: they score every round
    and are never learned from. corrected: a folder of masks that replace doubtful ones; SESSION/training/corrected.
    worst: how many masks to propose for correction. proposals: where to; SESSION/training/proposals/ROUND.
    """

    network: NetworkJob
    clean_images: tuple[Path, ...]
    clean_masks: tuple[Path, ...]
    corrected: Path | None = None
    worst: int = 5
    proposals: Path | None = None


@dataclass(frozen=True, eq=False)
class WeakRound:
    """A round that is done: its line in rounds.jsonl, the model, and the doubtful masks, the most doubtful first."""

    record: dict[str, Any]
    trained: Trained
    ranked: tuple[Doubt, ...]


@dataclass(frozen=True, eq=False)
class _Material:
    """What a round learns from by the images' names, what scores it, and which masks are corrected or rejected."""

    weak: dict[str, Mapped]
    clean: tuple[Mapped, ...]
    classes: tuple[str, ...]
    values: list[int]
    corrected: dict[str, str]
    rejected: frozenset[str]
    left_out: list[str]


def run_weak_round(job: WeakJob, note: Note = lambda done, planned, loss, f1: None) -> WeakRound:
    """Train a new segmenter on the doubtful and the corrected masks, score it on the clean set, rank what is doubtful.

    No image chooses a checkpoint: what remains after the last batch is scored. The round is a line of
    SESSION/training/rounds.jsonl with what it has gained over the round before and over the first one on the same clean
    set. An interrupted round goes on where it was. Raises TrainingError, SourceError, SessionError or ModelError.
    """
    network = job.network
    training = network.session.path / "training"
    before = read_rounds(training)
    found = _material(job, training)
    weak = tuple(found.weak.values())
    number, name, settings = _begun(network, before, weak)
    groups = Split(weak, weak[:1], found.clean)
    device = best_device(network.device)
    segmenter = new_segmenter(network, groups, found.classes)
    # The only check comes after the last batch: it chooses nothing.
    plan = replace(segmentation_plan(network, segmenter, groups, continues=False), checks=1)
    facts = facts_of_images(groups) | {
        "validated_on": 0, "chosen_by_held_back": False, "evaluated_on": clean_images(len(found.clean)),
    }  # fmt: skip

    def prepare(
        job: NetworkJob, base: ModelEntry | None, run: TrainingRun, device: torch.device
    ) -> NetworkTraining[Segmenter]:
        return NetworkTraining(
            segmenter,
            None,
            train_segmenter(segmenter, weak, weak[:1], plan, device, run.keeper),
            lambda model: score_segmenter(model, found.clean, device),
            [each.image.key for each in weak],
            lambda: facts,
            {**settings_used(segmenter, plan), "round": number, "corrected": sorted(found.corrected)},
        )

    def batch_done(done: int, planned: int, loss: float, f1: float | None) -> None:
        note(done, planned, loss, None)  # no image chooses a checkpoint, so none has a score on the way

    with training_run(network.session, name, settings, anew=network.anew) as run:
        trained = train_network(prepare, replace(network, name=name), None, run, batch_done)
        scores = trained.facts["scores"][name]
        doubtful = {key: each for key, each in found.weak.items() if key not in found.corrected}
        ranked = tuple(doubts(segmenter, doubtful, device, found.rejected))
        folder = job.proposals or training / PROPOSALS / str(number)
        paths = write_proposals(folder, ranked[: job.worst], found.values)
        clean = _digest(found.clean)
        record = {
            "round": number,
            "model": name,
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "images": len(weak),
            "corrected": found.corrected,
            "newly_corrected": sorted(set(found.corrected) - set(before[-1]["corrected"] if before else ())),
            "left_out": found.left_out,
            "clean": clean,
            "evaluated_on": facts["evaluated_on"],
            "f1": scores["f1"],
            "scores": scores,
            **_gains(scores["f1"], [each for each in before if each["clean"] == clean]),
            "loss": plan.loss,
            "iterations": plan.iterations,
            "seed": plan.seed,
            "command": network.command,
            "worst": [
                {"image": doubt.name, "disagreement": doubt.disagreement, "share": doubt.share,
                 "rejected": doubt.rejected, "proposal": str(path)}
                for doubt, path in zip(ranked, paths, strict=False)
            ],
        }  # fmt: skip
        append_round(training, record)
    return WeakRound(record, trained, ranked)


def read_rounds(training: Path) -> list[dict[str, Any]]:
    """The rounds of a session so far, from its folder `training`; a torn last line is left out."""
    rounds = []
    try:
        text = read_text(training / ROUNDS, training.parent, LARGEST_TABLE)
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise TrainingError(f"Could not read the rounds so far: {error}.", "Remove the file, or repair it.") from error
    for line in text.splitlines():
        try:
            rounds.append(parse_json(line))
        except ValueError:
            continue
    return rounds


def append_round(training: Path, record: dict[str, Any]) -> None:
    """Record a round that is done; raises TrainingError."""
    path = training / ROUNDS
    try:
        with open_to_append(path, training.parent) as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":  # a torn line stays one of its own
                    file.write(b"\n")
            file.write((json.dumps(record) + "\n").encode())
    except OSError as error:
        raise TrainingError(
            f"Could not record the round in {path}: {error.strerror or error}.", "Make the folder writable."
        ) from error


def _material(job: WeakJob, training: Path) -> _Material:
    network = job.network
    weak = read_examples(network.images, network.masks, only=network.only)
    clean = read_examples(job.clean_images, job.clean_masks)
    if not network.masks or not job.clean_masks:
        raise TrainingError("Could not begin a round: there are no masks.", "Give --masks and --clean-masks.")
    names, corrected = mask_names(weak), list[str]()
    folder = training / CORRECTED if job.corrected is None else job.corrected.expanduser()
    if job.corrected is not None and not folder.is_dir():
        raise TrainingError(f"Could not read corrected masks from {folder}: there is no such folder.", "Check it.")
    if folder.is_dir():
        weak, corrected = with_corrections(weak, folder)
    maps, classes = class_maps([*weak, *clean], network.classes, network.void)
    accepted, rejected = decided_on_screen(network.session, classes)
    sources = dict.fromkeys(corrected, "folder")
    judges = _contents(clean)
    guarded = near([each.image.key for each in weak], [each.image.key for each in clean])
    kept: dict[str, Mapped] = {}
    for name, example, drawn, is_near in zip(names, weak, maps, guarded, strict=False):
        if is_near or _content(example) in judges:
            continue
        place = (example.image.key.file, example.image.key.index)
        if name not in sources and place in accepted and accepted[place].shape == drawn.shape:
            sources[name], drawn = "screen", accepted[place]
        kept[name] = Mapped(example.image, drawn)
    if len(kept) < 2:
        raise TrainingError(
            f"Could not begin a round: {len(kept)} of {len(weak)} images are left to learn from.",
            "Images of the clean set, and their neighbours in a file, are not learned from; give others.",
        )
    return _Material(
        kept,
        tuple(Mapped(example.image, drawn) for example, drawn in zip(clean, maps[len(weak) :], strict=True)),
        classes,
        values_of([*weak, *clean], network.void),
        {name: source for name, source in sources.items() if name in kept},
        frozenset(name for name, each in kept.items() if (each.image.key.file, each.image.key.index) in rejected),
        [name for name in names if name not in kept],
    )


def _begun(
    network: NetworkJob, before: Sequence[dict[str, Any]], weak: Sequence[Mapped]
) -> tuple[int, str, dict[str, Any]]:
    """The number of this round, the name of its model, and what the round follows from.

    It is the round after the last that was recorded. Where that one's model is there already, a round with other masks
    has ended between the model and the record, and has used the number.
    """
    taken = session_models(network.session.models_path)
    number = max((each["round"] for each in before), default=0) + 1
    while True:
        name = f"{network.name or 'weak'}-{number}"
        settings = settings_of(network, round=number, learned=_digest(weak, with_pixels=True))
        if name not in taken or can_go_on(trainings_path(network.session) / name, settings):
            return number, name, settings
        number += 1


def _gains(f1: float | None, before: Sequence[dict[str, Any]]) -> dict[str, float | None]:
    """What F1 on the clean set has gained over the round before and over the first, None where there is none."""

    def over(other: float | None) -> float | None:
        return None if f1 is None or other is None else f1 - other

    first, last = (before[0]["f1"], before[-1]["f1"]) if before else (None, None)
    return {"gain": over(last), "gain_since_first": over(first)}


def _contents(examples: Iterable[MaskedImage]) -> set[bytes]:
    return {_content(each) for each in examples}


def _content(example: MaskedImage) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(example.image.pixels).tobytes()).digest()


def _digest(mapped: Iterable[Mapped], *, with_pixels: bool = False) -> str:
    found = hashlib.sha256()
    for each in mapped:
        found.update(np.ascontiguousarray(each.classes).tobytes())
        if with_pixels:
            found.update(np.ascontiguousarray(each.image.pixels).tobytes())
    return found.hexdigest()[:16]
