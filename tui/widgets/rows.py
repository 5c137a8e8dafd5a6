"""Rows of results.db by id, for the widgets that show them."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from photon_triage.core.candidates import Candidate
from photon_triage.core.errors import SessionError
from photon_triage.core.session.results import ResultsReader
from photon_triage.core.session.rows import ClassMap, Detection, FrameRow
from photon_triage.core.session.session import Session


@dataclass(frozen=True, eq=False)
class Finds:
    """What the stages have found on a frame: boxes and candidates, best first, and the class of every pixel."""

    detections: Sequence[Detection] = ()
    candidates: Sequence[Candidate] = ()
    mask: ClassMap | None = None


class RowStore:
    """Fetches rows and what is drawn on their frames through a connection of its own; from one thread at a time."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._unit = session.recipe().unit
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
        """What the stages have found on the frame of a row."""
        with self._lock:
            try:
                if self._reader is None:
                    return Finds()
                frame = row.frame_id
                return Finds(self._reader.detections(frame), self._reader.candidates(frame), self._reader.mask(frame))
            except (sqlite3.Error, OSError):
                return Finds()

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            if self._reader is not None:
                self._reader.close()
                self._reader = None
