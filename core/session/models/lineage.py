"""What a model has learned from: its frames, those beside them and those with the same pixels never judge it."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np
from numpy.typing import NDArray

from photon_triage.core.common.containment import LARGEST_TABLE, open_text, require_regular
from photon_triage.core.common.errors import LabelError
from photon_triage.core.common.text_safety import plain_cell
from photon_triage.core.frames import FrameKey
from photon_triage.core.session.decisions.label_files import read_labels
from photon_triage.core.session.models.catalog import ModelEntry, session_models, shipped_models
from photon_triage.core.session.session import Session
from photon_triage.core.session.store.reader import ResultsReader
from photon_triage.core.session.trainings.trainings import LABELS, TRAINED_ON, trainings_path

NEIGHBOURS = 2
"""Frames of one file that are so near in time share their background, and may share more."""


@dataclass(frozen=True)
class Learned:
    """The frames that a model and those it came from have learned from.

    untold: models of the session that have left no record of theirs, such as those that came from elsewhere.
    """

    frames: frozenset[FrameKey]
    untold: tuple[str, ...] = ()

    def __or__(self, other: Learned) -> Learned:
        return Learned(self.frames | other.frames, tuple(dict.fromkeys((*self.untold, *other.untold))))


def learned_by(session: Session, model: str) -> Learned:
    """What a model has learned from in this session, and every model that it continues.

    Of trainings that kept no list of their frames all labels that they began with count, held back or not. Shipped
    models have learned from no session.
    """
    known = shipped_models() | session_models(session.models_path)
    frames: set[FrameKey] = set()
    untold = []
    for name in ancestry(model, known):
        folder = trainings_path(session) / name
        told = _frames_in(folder, session.path)
        if told is not None:
            frames.update(told)
        elif name not in known or known[name].origin != "shipped":
            untold.append(name)
    return Learned(frozenset(frames), tuple(untold))


def ancestry(model: str, known: Mapping[str, ModelEntry]) -> Iterator[str]:
    """A model's name, that of the one it continues, and so on."""
    seen = set()
    name: str | None = model
    while name and name not in seen:
        seen.add(name)
        yield name
        parent = known[name].metadata.get("parent") if name in known else None
        name = parent if isinstance(parent, str) else None


def may_not_judge(keys: Sequence[FrameKey], learned: Learned, reader: ResultsReader) -> NDArray[np.bool_]:
    """Which frames, or candidates on them, are learned ones, near one, or have the pixels of one: (n,) bool.

    A file that was moved since is known by its name; copies of a frame by its digest, which hits have.
    """
    places = {(key.file, key.dataset) for key in learned.frames}
    names: dict[tuple[str, str], set[str]] = defaultdict(set)
    for file, dataset in {(key.file, key.dataset) for key in keys}:
        names[PurePath(file).name, dataset].add(file)
    moved = {
        place: names[PurePath(place[0]).name, place[1]]
        for place in places
        if not reader.knows(place[0]) and (PurePath(place[0]).name, place[1]) in names
    }
    frames = set(learned.frames)
    for key in learned.frames:
        frames.update(FrameKey(file, key.dataset, key.index) for file in moved.get((key.file, key.dataset), ()))
    digests = {place: reader.digests(*place) for place in {(key.file, key.dataset) for key in (*frames, *keys)}}
    pixels = {digests[key.file, key.dataset].get(key.index) for key in frames} - {None}
    same = [digests[key.file, key.dataset].get(key.index) in pixels for key in keys]
    refused: NDArray[np.bool_] = near(keys, frames) | np.array(same, bool)
    return refused


def near(keys: Sequence[FrameKey], others: Iterable[FrameKey]) -> NDArray[np.bool_]:
    """Which frames are at most NEIGHBOURS from one of the others in the same file, (n,) bool."""
    taken: dict[tuple[str, str], set[int]] = defaultdict(set)
    for key in others:
        taken[key.file, key.dataset].update(range(key.index - NEIGHBOURS, key.index + NEIGHBOURS + 1))
    return np.array([key.index in taken.get((key.file, key.dataset), ()) for key in keys], bool)


def _frames_in(folder: Path, root: Path) -> set[FrameKey] | None:
    """The frames that a training's folder within `root` tells of; None where it tells of none."""
    with suppress(OSError, KeyError, ValueError, csv.Error):
        with open_text(
            folder / TRAINED_ON, root, LARGEST_TABLE, encoding="utf-8", errors="surrogateescape", newline=""
        ) as file:
            rows = list(csv.DictReader(file))
        return {FrameKey(plain_cell(row["file"]), plain_cell(row["dataset"]), int(row["index"])) for row in rows}
    with suppress(LabelError, OSError, ValueError):
        if not require_regular(folder / LABELS, root, LARGEST_TABLE):
            return None
        return {label.key.frame for label in read_labels(folder / LABELS) if label.verdict != "skipped"}
    return None
