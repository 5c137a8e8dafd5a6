"""The notes on each file that the engine records: those of its reader, and of the recipe's geometry."""

from __future__ import annotations

from photon_triage.core.frames import Geometry
from photon_triage.core.session.store.file_notes import geometry_notes
from photon_triage.core.sources import SourceInfo


def notes_on(info: SourceInfo, recipe: Geometry) -> tuple[str, ...]:
    """Everything that is to be noted on a file under a recipe's geometry, each once."""
    return tuple(dict.fromkeys((*info.notes, *geometry_notes(info.geometry, recipe))))
