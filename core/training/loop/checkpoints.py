"""Checkpoints of a training, and the registration of the best one as a model."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from photon_triage.core.common.containment import regular_files, require_folder
from photon_triage.core.common.errors import TrainingError
from photon_triage.core.session.models.catalog import ModelEntry, find_model, session_models, shipped_models
from photon_triage.models.common.checkpoint import read_metadata, save

FOLDER = "checkpoints"
KEPT = 10


@dataclass(frozen=True)
class Trained:
    """A trained model: where it is, and everything that was measured."""

    entry: ModelEntry
    facts: dict[str, Any]

    def report(self) -> dict[str, Any]:
        """What --json prints."""
        return self.facts | {"path": str(self.entry.path)}


def checked_name(name: str) -> str:
    """The name, if it can be part of a file's name; raises TrainingError otherwise."""
    if not name or name.startswith(".") or any(sign in name for sign in "/\\\0"):
        raise TrainingError(f"Could not name a model {name!a}.", "Use letters, digits, - and _.")
    return name


def free_name(root: str, folder: Path) -> str:
    """The name `root` where no model has it, else with the next free number from 2 on, in place of a number it has."""
    taken = shipped_models() | session_models(folder)
    if root not in taken:
        return root
    stem, _, number = root.rpartition("-")
    stem = stem if stem and number.isdigit() else root
    return next(name for name in (f"{stem}-{count}" for count in range(2, len(taken) + 3)) if name not in taken)


def register(folder: Path, name: str, model: nn.Module, metadata: Mapping[str, Any]) -> ModelEntry:
    """Save the model in a session's folder under NAME-HASH, whole or not at all; the metadata get date and versions."""
    try:
        require_folder(folder, folder.parent)
    except OSError as error:
        raise TrainingError(
            f"Could not add a model to {folder}: {error.strerror}.", "Make a folder of the session's own there."
        ) from error
    network = model.cpu()
    digest = hashlib.sha256()
    for key, tensor in network.state_dict().items():
        digest.update(key.encode() + tensor.numpy().tobytes())
    complete = {
        "name": name,
        **metadata,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": version("photon-triage"),
        "torch": torch.__version__,
    }
    save(folder / f"{name}-{digest.hexdigest()[:8]}.safetensors", network, complete)
    return find_model(name, folder)


@dataclass(frozen=True)
class Checkpoints:
    """Where a training puts its checkpoints.

    every: batches between two. kept: how many of the last remain.
    """

    folder: Path
    every: int
    kept: int = KEPT

    def due(self, iteration: int) -> bool:
        """Whether there is to be one after this batch; the first is 1."""
        return iteration % self.every == 0

    def write(self, iteration: int, network: nn.Module, f1: float | None, metadata: Mapping[str, Any]) -> None:
        """Write the checkpoint of this batch, and drop the oldest beyond `kept`; raises ModelError.

        metadata: what it needs to be a model again, beside its architecture, such as `classes`.
        """
        facts = {**metadata, "name": f"{self.folder.parent.name} {iteration}", "iteration": iteration, "f1": f1}
        save(self.folder / f"{iteration:06d}.safetensors", network, facts)
        for old in written(self.folder)[: -self.kept]:
            old.delete()

    def clear(self) -> None:
        """Delete those of an earlier training."""
        for old in written(self.folder):
            old.delete()


@dataclass(frozen=True)
class SavedCheckpoint:
    """A checkpoint on disk: after which batch it was written, and F1 on the validation examples then, if known."""

    path: Path
    iteration: int

    @property
    def f1(self) -> float | None:
        """F1 on the validation examples; raises ModelError where the file cannot be read."""
        value = read_metadata(self.path).get("f1")
        return None if value is None else float(value)

    def delete(self) -> None:
        """Delete it with everything beside it that has its name, such as its scores."""
        for part in self.path.parent.glob(f"{self.path.stem}.*"):
            with suppress(FileNotFoundError):
                part.unlink()


def written(folder: Path) -> list[SavedCheckpoint]:
    """The checkpoints in a folder, the earliest first; [] where there are none."""
    session = folder.parent.parent.parent
    found = (path for path in regular_files(folder, session, suffix=".safetensors") if path.stem.isdecimal())
    return sorted((SavedCheckpoint(path, int(path.stem)) for path in found), key=lambda each: each.iteration)
