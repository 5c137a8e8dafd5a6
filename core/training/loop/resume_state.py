"""The state of a training on disk, so that it can be stopped, or killed, and go on."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from photon_triage.core.common.atomic import atomic_file
from photon_triage.core.common.containment import parse_json, require_regular
from photon_triage.core.common.errors import TrainingError
from photon_triage.core.session.trainings.trainings import session_of
from photon_triage.core.training.loop.checkpoints import Checkpoints
from photon_triage.core.training.loop.folder import digest_of

KEEP_EVERY_S = 20.0
HEADER_KEY = "photon_triage_training"


@dataclass(frozen=True)
class Kept:
    """The state of a training: JSON values, and tensors by names with the part they belong to before the first /."""

    facts: Mapping[str, Any]
    tensors: Mapping[str, Tensor]

    def under(self, part: str) -> dict[str, Tensor]:
        """The tensors of one part, by the rest of their names."""
        return {name[len(part) + 1 :]: tensor for name, tensor in self.tensors.items() if name.startswith(f"{part}/")}


class Keeper:
    """One training's state in a file, which appears whole or not at all.

    settings: what the training follows from, as JSON values; a state of other settings is not gone on from.
    checkpoints: where the network is put every so many batches, if it is.
    """

    def __init__(
        self,
        path: Path,
        settings: Mapping[str, Any],
        every_s: float = KEEP_EVERY_S,
        checkpoints: Checkpoints | None = None,
    ) -> None:
        self.checkpoints = checkpoints
        self.path, self._every_s, self._last = path, every_s, time.monotonic()
        self._settings = digest_of(settings)

    def load(self) -> Kept | None:
        """The state to go on from; None where there is none, or one of other settings.

        Raises TrainingError where the file cannot be read.
        """
        try:
            if not require_regular(self.path, session_of(self.path.parent)):
                return None
            with safe_open(self.path, framework="pt") as file:
                facts = parse_json((file.metadata() or {})[HEADER_KEY])
                if facts["settings"] != self._settings:
                    return None
                return Kept(facts, {name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
        except FileNotFoundError:
            return None
        except (OSError, SafetensorError, LookupError, TypeError, ValueError, MemoryError) as error:
            raise TrainingError(
                f"Could not go on with the training kept in {self.path}: {error}.", "Delete the file to begin anew."
            ) from error

    def hasten(self) -> None:
        """Have the state kept after the next batch."""
        self._last = -math.inf

    def is_due(self, *, checked: bool) -> bool:
        """Whether to keep the state now: after a check, and every few seconds."""
        return checked or time.monotonic() - self._last >= self._every_s

    def keep(self, kept: Kept) -> None:
        """Write the state in place of the last one; raises TrainingError."""
        facts = json.dumps({**kept.facts, "settings": self._settings})
        data = save(
            {name: each.detach().cpu().contiguous() for name, each in kept.tensors.items()}, {HEADER_KEY: facts}
        )
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_file(self.path) as file:
                file.write(data)
        except OSError as error:
            raise TrainingError(
                f"Could not keep the state of the training in {self.path}: {error.strerror or error}.",
                "Make room there; the same command then goes on from the last state.",
            ) from error
        self._last = time.monotonic()

    def forget(self) -> None:
        """Delete the state: the training is done."""
        self.path.unlink(missing_ok=True)
