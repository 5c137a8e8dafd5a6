"""Restart of an engine, also of one that somebody else started: refused, with the reason, before the old one stops."""

from __future__ import annotations

import os
import pwd
import socket
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from photon_triage.core.common.errors import SessionError
from photon_triage.core.engine.process import ending_of, engine_status, start_engine, stop_engine
from photon_triage.core.session.presence import ENGINE_LOCK
from photon_triage.core.session.session import Session
from photon_triage.core.session.state import EngineState

START_HINT = "Start one with `photon-triage watch PATH --session SESSION`."


@dataclass(frozen=True, slots=True)
class EngineJob:
    """What an engine was started for, as it says itself.

    who: the account that runs it. alarms: whether it runs a command for each alarm; which one is not said, because
    nothing that a session says is run.
    """

    paths: tuple[Path, ...]
    once: bool
    patience: float
    device: str | None
    who: str
    alarms: bool

    def as_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {
            "paths": [str(path) for path in self.paths],
            "once": self.once,
            "patience": self.patience,
            "device": self.device,
            "who": self.who,
            "alarms": self.alarms,
        }


def job_of(state: EngineState) -> EngineJob | None:
    """The job that an engine's state tells, None where it tells none or is not of that form."""
    match state.job:
        case {
            "paths": [str(), *_] as paths,
            "once": bool(once),
            "patience": int() | float() as patience,
            "device": str() | None as device,
            "who": str(who),
            "alarms": bool(alarms),
        } if all(isinstance(path, str) and Path(path).is_absolute() and "\0" not in path for path in paths):
            return EngineJob(tuple(map(Path, paths)), once, float(patience), device, who, alarms)
    return None


def restart_engine(
    session: Session, *, device: str | None = None, alarm_command: Sequence[str] = ()
) -> tuple[EngineJob, subprocess.Popen[bytes]]:
    """Stop the engine at work and start another one on the same paths, as this account; returns its job and process.

    device: in place of the job's. Raises SessionError, and leaves the engine at work, where this account could not
    start another one, or where the engine runs on another host.
    """
    status = engine_status(session)
    state = status.state
    if not status.alive:
        raise _refused(session, "none is at work", START_HINT)
    runs = f"{_who(state)} runs it on {state.host} (process {state.pid})"
    if state.host != socket.gethostname():
        raise _refused(session, runs, f"Give the same command on {state.host}.")
    job = job_of(state)
    if job is None:
        raise _refused(
            session, f"{runs}, and it does not say what it watches", f"Stop it with `engine stop`. {START_HINT}"
        )
    for path in _written(session):
        if not os.access(path, os.W_OK):
            hint = f"Ask {_owner(path)} to restart it, or to let your group write: chmod -R g+rwX {session.path}"
            raise _refused(session, f"{runs}, and you may not write {path}, which belongs to {_owner(path)}", hint)
    for path in job.paths:
        if not any(sign in str(path) for sign in "*?[") and not os.access(path, os.R_OK):
            hint = f"Ask {_who(state)} to restart it, or to let you read that path."
            raise _refused(session, f"{runs}, and you may not read {path}, which it watches", hint)
    stop_engine(session)
    engine = start_engine(
        session,
        job.paths,
        once=job.once,
        patience=job.patience,
        device=device or job.device,
        alarm_command=alarm_command,
    )
    if reason := ending_of(session, engine):
        raise SessionError(
            f"Could not restart the engine of {session.path}: the old one has stopped, and {reason}.",
            f"Look into {session.log_path}. {START_HINT}",
        )
    return job, engine


def _written(session: Session) -> Iterable[Path]:
    """The folders and files that an engine writes and that are there."""
    results = session.results_path
    names = [results.with_name(results.name + ending) for ending in ("", "-wal", "-shm", "-journal")]
    folders = [session.path, session.journal_path, session.recovered_path]
    return [path for path in (*folders, *names, session.path / ENGINE_LOCK, session.log_path) if path.exists()]


def _who(state: EngineState) -> str:
    job = job_of(state)
    return job.who if job else "another account"


def _owner(path: Path) -> str:
    uid = path.stat().st_uid
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"the account {uid}"


def _refused(session: Session, reason: str, hint: str) -> SessionError:
    return SessionError(f"Could not restart the engine of {session.path}: {reason}.", hint, title="Not restarted")
