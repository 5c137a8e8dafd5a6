"""The engine as a process of its own: started, asked how it is, stopped."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from photon_triage.core.errors import SessionError
from photon_triage.core.session.commands import ask_to_stop
from photon_triage.core.session.locks import is_locked
from photon_triage.core.session.session import Session, engine_is_alive

LOCK_FILE = "engine.lock"
LOCK_TRIES = 10
START_S = 10.0


def lock_session(session: Session) -> int:
    """Take the session for this process's engine until it ends; returns the open lock file.

    Raises SessionError while another engine has it, and where the session is read-only.
    """
    try:
        handle = os.open(session.path / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise SessionError(
            f"Could not start an engine on {session.path}: {error.strerror}.",
            "An engine writes into the session's folder: make it writable for this account, or work on a copy.",
        ) from error
    for attempt in range(LOCK_TRIES):
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                break  # some network file systems know no locks: then only another engine's heartbeat tells of it
            if attempt == LOCK_TRIES - 1:
                os.close(handle)
                raise _another_is_at_work(session) from error
            time.sleep(0.02)  # somebody may be asking just now
        else:
            break
    return handle


def refuse_second_host(session: Session) -> None:
    """Raise SessionError while an engine on another host says that it is alive: its lock may not be seen here."""
    state = session.engine_state()
    if engine_is_alive(state) and state.get("host") != socket.gethostname():
        raise _another_is_at_work(session, f" on {state.get('host')}")


def engine_is_running(session: Session) -> bool:
    """Whether an engine holds the session on this host, or says from another one that it is alive."""
    if is_locked(session.path / LOCK_FILE):
        return True
    try:
        state = session.engine_state()
    except SessionError:  # a damaged results.db, which is to be repaired, tells of nobody
        return False
    return engine_is_alive(state) and state.get("host") != socket.gethostname()


def start_engine(
    session: Session,
    paths: Sequence[Path],
    *,
    once: bool = False,
    patience: float = 60.0,
    device: str | None = None,
    alarm_command: Sequence[str] = (),
) -> subprocess.Popen[bytes]:
    """Start an engine that outlives this process and its terminal.

    Raises SessionError when one is at work already.
    """
    os.close(lock_session(session))
    refuse_second_host(session)
    job = {
        "session": str(session.path),
        "paths": [str(path.expanduser().absolute()) for path in paths],
        "once": once,
        "patience": patience,
        "device": device,
        "alarm_command": list(alarm_command),
    }
    # -P keeps the working directory, in which a package named like one of ours may stand, off the module path.
    command = [sys.executable, "-P", "-m", "photon_triage.core.engine", json.dumps(job)]
    with _log(session) as log:
        engine = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, close_fds=True
        )
    # Until it holds the session it could not be asked to stop.
    deadline = time.monotonic() + START_S
    while engine.poll() is None and not engine_is_running(session) and time.monotonic() < deadline:
        time.sleep(0.02)
    return engine


def stop_engine(session: Session, *, wait: float = 30.0) -> bool:
    """Ask the engine to stop and wait until it has; false when none was running.

    Raises SessionError when it does not stop in time.
    """
    if not engine_is_running(session):
        return False
    state = session.engine_state()
    journal = session.journal()
    ask_to_stop(journal)
    journal.close()
    if state.get("host") == socket.gethostname() and isinstance(state.get("pid"), int):
        with suppress(ProcessLookupError, PermissionError):
            os.kill(state["pid"], signal.SIGTERM)
    deadline = time.monotonic() + wait
    while engine_is_running(session):
        if time.monotonic() > deadline:
            raise SessionError(
                f"Could not stop the engine of {session.path} within {wait:g} s (process {state.get('pid')} on "
                f"{state.get('host')}).",
                f"Look into {session.log_path}; as a last resort, kill that process: nothing recorded is lost.",
            )
        time.sleep(0.05)
    return True


def _another_is_at_work(session: Session, where: str = "") -> SessionError:
    return SessionError(
        f"Could not start an engine on {session.path}: another one is at work there{where}.",
        "See `photon-triage engine status SESSION`; `photon-triage attach SESSION` opens a screen on it.",
    )


def _log(session: Session) -> IO[bytes]:
    try:
        return session.log_path.open("ab")
    except OSError as error:
        raise SessionError(
            f"Could not start an engine on {session.path}: no {session.log_path.name} there, {error.strerror}.",
            "Make the session's folder writable for this account, or work on a copy.",
        ) from error


def engine_status(session: Session) -> dict[str, Any]:
    """What the engine last said of itself, with `alive` as seen from here."""
    state = session.engine_state()
    alive = engine_is_running(session)
    if not alive and state.get("status") in ("starting", "running"):
        state["status"] = "died"
    return state | {"alive": alive}
