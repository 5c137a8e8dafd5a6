"""Checkpoints of a training: the network every so many batches, beside the best one that remains in the end."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from photon_triage.core.common.containment import regular_files
from photon_triage.models.common.checkpoint import read_metadata, save

FOLDER = "checkpoints"
KEPT = 10


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
class Written:
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


def written(folder: Path) -> list[Written]:
    """The checkpoints in a folder, the earliest first; [] where there are none."""
    session = folder.parent.parent.parent
    found = (path for path in regular_files(folder, session, suffix=".safetensors") if path.stem.isdecimal())
    return sorted((Written(path, int(path.stem)) for path in found), key=lambda each: each.iteration)
