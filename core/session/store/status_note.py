"""A note beside results.db on why it cannot be written, in space that was taken beforehand."""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from photon_triage.core.common.containment import open_regular, parse_json, read_bytes
from photon_triage.core.session.state import EngineState

_SIZE = 4096
_LONGEST = 800


class TroubleNote:
    """The engine's note; nothing here raises, for it is written when everything else fails."""

    def __init__(self, results_path: Path) -> None:
        self._file: int | None = None
        with suppress(OSError):
            path = _place(results_path)
            self._file = open_regular(path, path.parent, os.O_WRONLY | os.O_CREAT)
        self.clear()

    def say(self, text: str) -> None:
        """Note what is wrong, and that the engine is alive."""
        self._write(json.dumps({"trouble": text[:_LONGEST], "heartbeat": time.time()}).encode())

    def clear(self) -> None:
        """Nothing is wrong."""
        self._write(b"")

    def close(self) -> None:
        """Leave the note as it is."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _write(self, text: bytes) -> None:
        if self._file is not None:
            with suppress(OSError):
                os.pwrite(self._file, text.ljust(_SIZE), 0)


def with_trouble(results_path: Path, state: EngineState) -> EngineState:
    """An engine's state, completed by its note if there is one that is newer: `trouble`, `message`, `heartbeat`."""
    try:
        path = _place(results_path)
        note = parse_json(read_bytes(path, path.parent, _SIZE).strip() or b"{}")
        text, heartbeat = note.get("trouble", ""), float(note.get("heartbeat", 0.0))
    except (OSError, ValueError, AttributeError):
        return state
    if not text or not isinstance(text, str) or heartbeat < state.heartbeat:
        return state
    return replace(state, trouble=str(text), message=str(text), heartbeat=heartbeat)


def _place(results_path: Path) -> Path:
    return results_path.with_name("engine.note")
