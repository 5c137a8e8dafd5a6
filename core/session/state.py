"""The engine's state and the states of files in results.db, and the engine's note where that cannot be written."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from photon_triage.core.common.containment import open_regular, parse_json, read_bytes

STATE_VERSION = 1

_NOTE_BYTES, _LONGEST_NOTE = 4096, 800
"""Of the file with the note, and of the text in it."""
_KEPT = ("job", "retried", "moved", "changes", "trouble")
"""Fields that are not reported with the heartbeat."""


class FileStatus(StrEnum):
    """The state of a file in the ledger."""

    WAITING = "waiting"
    """Found, and nothing could be read yet."""
    READING = "reading"
    """Some of its frames can be read; more may come."""
    COMPLETE = "complete"
    MISSING = "missing"
    """Something that it names is not there."""
    UNREADABLE = "unreadable"

    @classmethod
    def _missing_(cls, value: object) -> FileStatus:
        return cls.WAITING  # a data base that was edited: the file is looked at again

    @property
    def is_final(self) -> bool:
        """Whether nothing more is expected of the file."""
        return self in (FileStatus.COMPLETE, FileStatus.MISSING, FileStatus.UNREADABLE)

    @property
    def is_incomplete(self) -> bool:
        """Whether the file was set aside with frames that were never scored."""
        return self in (FileStatus.MISSING, FileStatus.UNREADABLE)


@dataclass(frozen=True, slots=True)
class EngineState:
    """What an engine reports of itself twice a second, and what results.db keeps of a session's engines.

    version: of these fields. status: starting, running, finished, stopped or failed, "" before the first engine.
    heartbeat, started, working_since, message_at: seconds since 1970. rate_hz: frames recorded a second, over the last
    seconds. lag_s: from when a frame could be read to when it was recorded. queue: frames that can be read and are not
    scored; passed_over: those of them that newer ones went before. busy_with, busy_s: what one step has been at work
    on, and for how many seconds. stalled_s: for how many seconds the file system has not answered. problems: why a
    folder cannot be listed. ignored: files in the folders that are not read, by suffix, and folders inside them. job:
    what the engine was started for. retried: names of the retry commands that were followed. moved, changes: how often
    files got another name, and recorded frames other bytes. trouble: why results cannot be written.
    """

    pid: int = 0
    host: str = ""
    started: float = 0.0
    status: str = ""
    heartbeat: float = 0.0
    version: int = STATE_VERSION
    rate_hz: float = 0.0
    lag_s: float = 0.0
    queue: int = 0
    passed_over: int = 0
    scored: int = 0
    working_since: float = 0.0
    model: str | None = None
    models: dict[str, str] = field(default_factory=dict)
    shadow: str | None = None
    shadow_scored: int = 0
    device: str = ""
    workers: int = 0
    message: str = ""
    message_at: float = 0.0
    busy_with: str = ""
    busy_s: float = 0.0
    stalled_s: float = 0.0
    problems: dict[str, str] = field(default_factory=dict)
    ignored: dict[str, int] = field(default_factory=dict)
    alarms: list[Any] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    job: dict[str, Any] = field(default_factory=dict)
    retried: list[str] = field(default_factory=list)
    moved: int = 0
    changes: int = 0
    trouble: str = ""

    def to_json(self) -> dict[str, Any]:
        """The fields that an engine reports, as what JSON can carry."""
        return {name: value for name, value in asdict(self).items() if name not in _KEPT}

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> EngineState:
        """The state in some values; one of another kind than its field, or of no field, is left out."""
        return EngineState(
            **{
                each.name: values[each.name]
                for each in fields(EngineState)
                if each.name in values and _CHECKS[str(each.type)](values[each.name])
            }
        )


class TroubleNote:
    """The engine's note; nothing here raises, for it is written when everything else fails."""

    def __init__(self, results_path: Path) -> None:
        self._file: int | None = None
        with suppress(OSError):
            path = _note_path(results_path)
            self._file = open_regular(path, path.parent, os.O_WRONLY | os.O_CREAT)
        self.clear()

    def say(self, text: str) -> None:
        """Note what is wrong, and that the engine is alive."""
        self._write(json.dumps({"trouble": text[:_LONGEST_NOTE], "heartbeat": time.time()}).encode())

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
                os.pwrite(self._file, text.ljust(_NOTE_BYTES), 0)


def with_trouble(results_path: Path, state: EngineState) -> EngineState:
    """An engine's state, completed by its note if there is one that is newer: `trouble`, `message`, `heartbeat`."""
    try:
        path = _note_path(results_path)
        note = parse_json(read_bytes(path, path.parent, _NOTE_BYTES).strip() or b"{}")
        text, heartbeat = note.get("trouble", ""), float(note.get("heartbeat", 0.0))
    except (OSError, ValueError, AttributeError):
        return state
    if not text or not isinstance(text, str) or heartbeat < state.heartbeat:
        return state
    return replace(state, trouble=str(text), message=str(text), heartbeat=heartbeat)


def _note_path(results_path: Path) -> Path:
    return results_path.with_name("engine.note")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


_CHECKS: dict[str, Callable[[Any], bool]] = {
    "int": _is_integer,
    "float": _is_number,
    "str": _is_text,
    "str | None": lambda value: value is None or _is_text(value),
    "list[str]": _are_texts,
    "list[Any]": lambda value: isinstance(value, list),
    "dict[str, str]": lambda value: isinstance(value, dict) and all(map(_is_text, value.values())),
    "dict[str, int]": lambda value: isinstance(value, dict) and all(map(_is_integer, value.values())),
    "dict[str, Any]": lambda value: isinstance(value, dict),
}
