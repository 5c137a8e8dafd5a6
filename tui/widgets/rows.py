"""Rows of results.db by id, for the widgets that show them."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Sequence

from photon_triage.core.errors import SessionError
from photon_triage.core.session.results import Detection, FrameRow, ResultsReader
from photon_triage.core.session.session import Session


class RowStore:
    """Fetches rows and detections through a connection of its own; from one thread at a time."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._reader: ResultsReader | None = None
        self._lock = threading.Lock()

    def fetch(self, ids: Sequence[int]) -> dict[int, FrameRow]:
        """The rows of these frames; empty while there are no results or they cannot be read."""
        with self._lock:
            try:
                if self._reader is None:
                    self._reader = self._session.results()
                return self._reader.frames(ids)
            except (sqlite3.Error, SessionError):
                return {}

    def detections(self, frame_id: int) -> list[Detection]:
        """The boxes on a frame, best first."""
        with self._lock:
            try:
                return [] if self._reader is None else self._reader.detections(frame_id)
            except sqlite3.Error:
                return []

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            if self._reader is not None:
                self._reader.close()
                self._reader = None
