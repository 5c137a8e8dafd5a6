"""The engine's state and the states of files, as results.db holds them for every reader of a session."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any

STATE_VERSION = 1


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
    """What an engine reports of itself twice a second.

    version: of these fields. status: starting, running, finished, stopped or failed. heartbeat, started, working_since,
    message_at: seconds since 1970. rate_hz: frames recorded a second, over the last seconds. lag_s: from when a frame
    could be read to when it was recorded. queue: frames that can be read and are not scored; passed_over: those of them
    that newer ones went before. busy_with, busy_s: what one step has been at work on, and for how many seconds.
    stalled_s: for how many seconds the file system has not answered. problems: why a folder cannot be listed. ignored:
    files with a suffix that is not read, by suffix.
    """

    pid: int
    host: str
    started: float
    status: str
    heartbeat: float
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
    alarms: list[dict[str, Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """The fields as what JSON can carry."""
        return asdict(self)


STATE_FIELDS = tuple(each.name for each in fields(EngineState))
