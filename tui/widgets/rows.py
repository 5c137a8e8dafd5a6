"""Rows of results.db by id, for the widgets that show them."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from photon_triage.core.candidates import Candidate
from photon_triage.core.common.errors import SessionError
from photon_triage.core.frames import Geometry
from photon_triage.core.session.session import Session
from photon_triage.core.session.store.reader import ResultsReader
from photon_triage.core.session.store.rows import ClassMap, Detection, FrameRow

UNKNOWN = Geometry()
NEIGHBOURS = 3
"""Frames of the run before and after the one that is shown."""


@dataclass(frozen=True, eq=False)
class Finds:
    """What the stages have found on a frame: boxes and candidates, best first, and the class of every pixel."""

    detections: Sequence[Detection] = ()
    candidates: Sequence[Candidate] = ()
    mask: ClassMap | None = None
    geometry: Geometry = UNKNOWN
    beside: Sequence[FrameRow] = ()
    """The frame and its neighbours in the run, in the run's order."""


class RowStore:
    """Fetches rows and what is drawn on their frames through a connection of its own; from one thread at a time."""

    def __init__(self, session: Session) -> None:
        self._session = session
        recipe = session.recipe()
        self._unit, self._geometry = recipe.unit, recipe.geometry.geometry()
        self._reader: ResultsReader | None = None
        self._lock = threading.Lock()

    def fetch(self, ids: Sequence[int]) -> dict[int, FrameRow]:
        """The rows of these frames or candidates; empty while there are no results or they cannot be read."""
        with self._lock:
            try:
                if self._reader is None:
                    self._reader = self._session.results()
                return self._reader.listing(self._unit).rows(ids)
            except (sqlite3.Error, SessionError):
                return {}

    def finds(self, row: FrameRow) -> Finds:
        """What is drawn on the frame of a row, how the detector stood, and what is beside it in the run."""
        with self._lock:
            try:
                if self._reader is None:
                    self._reader = self._session.results()
                reader, frame = self._reader, row.frame_id
                return Finds(
                    reader.detections(frame),
                    reader.candidates(frame),
                    reader.mask(frame),
                    reader.geometry(row.key).over(self._geometry),
                    reader.neighbours(frame, NEIGHBOURS),
                )
            except (sqlite3.Error, OSError, SessionError):
                return Finds()

    def neighbour(self, row: FrameRow, step: int) -> FrameRow | None:
        """The frame that comes so many places after (negative: before) this one in its run; None at the run's ends."""
        with self._lock:
            try:
                if self._reader is None:
                    self._reader = self._session.results()
                beside = self._reader.neighbours(row.frame_id, abs(step))
            except (sqlite3.Error, OSError, SessionError):
                return None
        place = next((place for place, each in enumerate(beside) if each.id == row.frame_id), 0) + step
        return beside[place] if 0 <= place < len(beside) else None

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            if self._reader is not None:
                self._reader.close()
                self._reader = None
