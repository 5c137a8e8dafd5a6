"""The trainings of a session as their folders tell of them, and the wishes that a training process looks for there."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from photon_triage.core.common.atomic import atomic_file
from photon_triage.core.common.containment import (
    LARGEST_TABLE,
    folders_in,
    make_mark,
    open_binary,
    parse_json,
    read_json,
    report,
    require_folder,
)
from photon_triage.core.common.errors import SessionError
from photon_triage.core.common.locks import is_locked
from photon_triage.core.session.session import Session

CURVE = "curve.jsonl"

LOCK, LOG, SETTINGS, STATUS = "lock", "log", "settings.json", "status.json"
LABELS = "labels.csv"
"""All labels that a training began with, also those held back."""
TRAINED_ON = "trained_on.csv"
"""The frames that a model learned from."""
PAUSE, STOP = "pause", "stop"
FRESH_S = 60.0
"""How long a process may take until it holds its training's lock."""
SILENT_S = 120.0
"""How long a training on another host, whose lock may not be seen from here, may write nothing."""
RECENT = 30
"""Lines of the curve from which the time left is reckoned."""
LOG_TAIL, LOG_LINES = 4000, 3

State = Literal[
    "starting", "preparing", "running", "pausing", "paused", "stopping", "scoring", "interrupted", "done", "failed"
]
AT_WORK: frozenset[str] = frozenset({"starting", "preparing", "running", "pausing", "paused", "stopping", "scoring"})
RESUMABLE: frozenset[str] = frozenset({"interrupted", "failed"})


@dataclass(frozen=True)
class CurvePoint:
    """A line of a training's curve: batches done and planned, the smoothed loss, F1 where checked, seconds so far.

    Seconds are those of work: pauses and interruptions do not count.
    """

    done: int
    planned: int
    loss: float
    f1: float | None
    seconds: float


class CurveFollower:
    """Reads what is new of a curve within `root` only; a torn last line is left for the next time."""

    def __init__(self, path: Path, root: Path) -> None:
        self._path, self._root, self._known, self._offset = path, root, (0, 0), 0
        self._points: tuple[CurvePoint, ...] = ()

    def read(self) -> Sequence[CurvePoint]:
        """The curve so far; empty where there is none."""
        try:
            with open_binary(self._path, self._root, LARGEST_TABLE) as file:
                stat = os.fstat(file.fileno())
                if (stat.st_dev, stat.st_ino) != self._known or stat.st_size < self._offset:
                    self._known, self._offset, self._points = (stat.st_dev, stat.st_ino), 0, ()
                if stat.st_size > self._offset:
                    file.seek(self._offset)
                    whole, end, _ = file.read().rpartition(b"\n")
                    self._offset += len(whole) + len(end)
                    self._points += tuple(filter(None, map(_point, whole.splitlines())))
        except OSError:
            self._known, self._offset, self._points = (0, 0), 0, ()
        return self._points


def read_curve(folder: Path) -> list[CurvePoint]:
    """The curve of a training so far; [] where there is none. A torn last line is left out."""
    return list(CurveFollower(folder / CURVE, folder.parent.parent).read())


@dataclass(frozen=True)
class Status:
    """What a training process says of itself; it is the file's only writer.

    words: the command that it was begun with, without the program's name. cwd: where that command was given.
    """

    state: str
    message: str = ""
    pid: int = 0
    host: str = ""
    words: tuple[str, ...] = ()
    cwd: str = ""


@dataclass(frozen=True)
class Training:
    """A training of a session as it stands; of whose curve the points may be shared with an earlier one."""

    name: str
    folder: Path
    state: State
    message: str
    status: Status | None
    curve: Sequence[CurvePoint]
    changed: float
    """When it last said anything, in seconds since 1970."""

    @property
    def done(self) -> int:
        """Batches done."""
        return self.curve[-1].done if self.curve else 0

    @property
    def planned(self) -> int:
        """Batches planned; 0 while that is not known."""
        return self.curve[-1].planned if self.curve else 0

    @property
    def share(self) -> float:
        """Which part of the batches is done, from 0 to 1."""
        return self.done / self.planned if self.planned else 0.0

    @property
    def best_f1(self) -> float | None:
        """The best F1 on the validation examples; None where none was checked."""
        return max((point.f1 for point in self.curve if point.f1 is not None), default=None)

    @property
    def seconds_left(self) -> float | None:
        """Seconds of work that remain, at the pace of the last batches; None while that is not known."""
        recent = self.curve[-RECENT:]
        if len(recent) < 2 or recent[-1].done <= recent[0].done:
            return None
        pace = (recent[-1].seconds - recent[0].seconds) / (recent[-1].done - recent[0].done)
        return pace * (self.planned - self.done)

    def report(self) -> dict[str, Any]:
        """What --json prints."""
        last = self.curve[-1] if self.curve else None
        return {
            "name": self.name,
            "state": self.state,
            "message": self.message,
            "done": self.done,
            "planned": self.planned,
            "loss": last and last.loss,
            "best_f1": self.best_f1,
            "seconds": last.seconds if last else 0.0,
            "seconds_left": self.seconds_left if self.state in AT_WORK else None,
            "process": self.status and {"pid": self.status.pid, "host": self.status.host},
            "folder": str(self.folder),
        }


class TrainingsFollower:
    """Follows all trainings of a session by their small files; called from one thread at a time."""

    def __init__(self, session: Session) -> None:
        self._root, self._session_path = trainings_path(session), session.path
        self._curves: dict[Path, CurveFollower] = {}

    def read(self) -> tuple[Training, ...]:
        """All trainings, those at work first, then the newest."""
        try:
            folders = list(folders_in(self._root, self._session_path))
        except FileNotFoundError:
            return ()
        except OSError as error:
            report(error)
            return ()
        found = [training for folder in folders if (training := self._training(folder)) is not None]
        return tuple(sorted(found, key=lambda each: (each.state not in AT_WORK, -each.changed)))

    def _training(self, folder: Path) -> Training | None:
        changed = max((_mtime(folder / name) for name in (STATUS, CURVE, LOG, SETTINGS)), default=0.0)
        if not changed:
            return None
        curve = self._curves.setdefault(folder, CurveFollower(folder / CURVE, self._session_path)).read()
        status = read_status(folder)
        state, message = _state(folder, status, curve, changed)
        return Training(folder.name, folder, state, message, status, curve, changed)


def trainings_path(session: Session) -> Path:
    """Where the trainings of a session have their folders."""
    return session.path / "training"


def session_of(folder: Path) -> Path:
    """The session's folder that holds a training's folder."""
    return folder.parent.parent


def find_training(session: Session, name: str) -> Training:
    """The training of that name; raises SessionError that names those there are."""
    trainings = TrainingsFollower(session).read()
    for training in trainings:
        if training.name == name:
            return training
    raise SessionError(
        f"Could not find a training named {name!r} in {session.path}.",
        f"There are: {', '.join(sorted(training.name for training in trainings)) or 'none'}.",
        title="No such training",
    )


def read_status(folder: Path) -> Status | None:
    """What the training process last said of itself; None where it said nothing that can be read."""
    try:
        told = read_json(folder / STATUS, session_of(folder))
        status = Status(**told | {"words": tuple(told["words"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None
    texts = (status.state, status.message, status.host, status.cwd, *status.words)
    return status if all(isinstance(text, str) for text in texts) and type(status.pid) is int else None


def write_status(folder: Path, status: Status) -> None:
    """Say how the training is; raises OSError."""
    require_folder(folder, session_of(folder))
    with atomic_file(folder / STATUS) as file:
        file.write((json.dumps(asdict(status)) + "\n").encode())


def wish(training: Training, name: str, *, holds: bool = True) -> None:
    """Ask a training to pause or to stop after the batch it is at, or take that back; raises SessionError."""
    path = training.folder / name
    try:
        if holds:
            make_mark(path, session_of(training.folder))
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise SessionError(
            f"Could not {name} the training {training.name}: no file can be made or removed in {training.folder}, "
            f"{error.strerror}.",
            "Make the folder writable for this account.",
        ) from error


def log_tail(folder: Path, begin: int = 0) -> str:
    """The last lines of a training's log, in one; only what comes after so many bytes."""
    try:
        with open_binary(folder / LOG, session_of(folder)) as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(begin, end - LOG_TAIL))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return " ".join([line.strip() for line in text.splitlines() if line.strip()][-LOG_LINES:])


def _point(line: bytes) -> CurvePoint | None:
    with suppress(ValueError, TypeError):
        return CurvePoint(**parse_json(line))
    return None


def _state(folder: Path, status: Status | None, curve: Sequence[CurvePoint], changed: float) -> tuple[State, str]:
    if status is None:
        return _untold(folder, curve, changed)
    if status.state in ("done", "failed", "interrupted"):
        return _ended(status), status.message
    if not _is_alive(folder, status, changed):
        return "interrupted", "its process is gone; it can go on from its last state"
    if (folder / STOP).exists():
        return "stopping", ""
    if (folder / PAUSE).exists():
        return ("paused" if status.state == "paused" else "pausing"), ""
    if status.state == "preparing" or not curve:
        return "preparing", ""
    return ("scoring" if curve[-1].done >= curve[-1].planned else "running"), ""


def _ended(status: Status) -> State:
    return "done" if status.state == "done" else "failed" if status.state == "failed" else "interrupted"


def _untold(folder: Path, curve: Sequence[CurvePoint], changed: float) -> tuple[State, str]:
    """The state of a training whose process has not said a word: it begins, has failed early, or is of an old kind."""
    is_held = is_locked(folder / LOCK, session_of(folder))
    if is_held or (time.time() - changed < FRESH_S and not curve and not log_tail(folder)):
        return "starting", ""
    if (folder / SETTINGS).exists():
        return "interrupted", ""
    if curve:
        return "done", ""
    return "failed", log_tail(folder) or "its process ended without a word"


def _is_alive(folder: Path, status: Status, changed: float) -> bool:
    if status.host == socket.gethostname():
        # Looking at a lock of one's own would let go of it.
        return status.pid == os.getpid() or is_locked(folder / LOCK, session_of(folder))
    return time.time() - changed < SILENT_S


def _mtime(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except OSError:
        return 0.0
