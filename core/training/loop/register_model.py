"""A trained model takes its place in a session, under a name and with what is known of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from photon_triage.core.common.containment import require_folder
from photon_triage.core.common.errors import TrainingError
from photon_triage.core.session.models.catalog import ModelEntry, find_model, session_models, shipped_models
from photon_triage.models.common.checkpoint import save


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
