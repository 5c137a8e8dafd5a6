"""The notes on each file that the engine records: those of its reader, of the recipe's geometry and of its mask."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from photon_triage.core.recipe import Recipe
from photon_triage.core.session.file_notes import geometry_notes, mask_note
from photon_triage.core.sources import SourceInfo

MOST_MASKS = 10_000


class Annotations:
    """The notes on files under a recipe."""

    def __init__(self, recipe: Recipe) -> None:
        self._geometry = recipe.geometry.geometry()
        self._masks: dict[str, str] = {}
        """The note on a file's mask by its path, "" for none; the oldest are forgotten."""

    def of(self, info: SourceInfo) -> tuple[str, ...]:
        """Everything that is to be noted on a file, each once."""
        mask = self._masks.get(info.path, "")
        notes = (*info.notes, *geometry_notes(info.geometry, self._geometry), *([mask] if mask else ()))
        return tuple(dict.fromkeys(notes))

    def take_mask(self, path: str, valid: NDArray[np.bool_] | None) -> bool:
        """Look at the mask that was read of a file, once; true where there is something to note that was not known."""
        if valid is None or path in self._masks:
            return False
        if len(self._masks) >= MOST_MASKS:
            del self._masks[next(iter(self._masks))]
        self._masks[path] = mask_note(valid)
        return bool(self._masks[path])
