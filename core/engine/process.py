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
from pathlib import Path
from typing import IO, Any

from photon_triage.core.containment import open_regular, open_to_append
from photon_triage.core.engine.identity import engine_process, write_identity
from photon_triage.core.errors import SessionError
from photon_triage.core.session.commands import ask_to_stop
from photon_triage.core.session.locks import is_locked
from photon_triage.core.session.session import Session, engine_is_alive

LOCK_FILE = "engine.lock"
LOCK_TRIES = 10
START_S = 10.0
SILENT_S = 4.0
"""How long an engine that is not known as a process of this host may be silent while it is waited for."""


def lock_session(session: Session) -> int:
    """Take the session for this process's engine until it ends; returns the open lock file.

    Raises SessionError while another engine has it, and where the session is read-only.
    """
    handle = _taken(session)
    write_identity(handle)
    return handle


def _taken(session: Session) -> int:
    """The open lock file of the session, locked, or where the file system knows no locks just open."""
    try:
        handle = open_regular(session.path / LOCK_FILE, session.path, os.O_RDWR | os.O_CREAT)
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
    if is_locked(session.path / LOCK_FILE, session.path):
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

    alarm_command: words of a command that its user gave or approved: the engine runs no other one for alarms, whatever
    the recipe says. Raises SessionError when one is at work already.
    """
    os.close(_taken(session))
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
    journal = session.journal()
    ask_to_stop(journal)
    journal.close()
    # A signal is quicker, and needs an engine of this host and account; any other one reads the request.
    process = engine_process(session.path / LOCK_FILE, session.path)
    if process is not None:
        process.signal(signal.SIGTERM)
    where = "" if process is None else f" (process {process.pid} on this host)"
    began, sign, seen = time.monotonic(), _last_sign(session), time.monotonic()
    while engine_is_running(session):
        now = time.monotonic()
        if process is None and (newer := _last_sign(session)) != sign:
            sign, seen = newer, now
        if process is None and now - seen > SILENT_S:
            raise SessionError(
                f"Could not stop the engine of {session.path}: it has given no sign of life for {SILENT_S:g} s, and is "
                "no process of this host that holds the session and could be sent a signal.",
                f"The request to stop stays written; look into {session.log_path}, and on the host where it runs.",
            )
        if now - began > wait:
            raise SessionError(
                f"Could not stop the engine of {session.path} within {wait:g} s{where}.",
                f"Look into {session.log_path}; as a last resort, kill that process: nothing recorded is lost.",
            )
        time.sleep(0.05)
    return True


def _last_sign(session: Session) -> object:
    """The heartbeat that an engine wrote last; None where results.db cannot be read."""
    try:
        return session.engine_state().get("heartbeat")
    except SessionError:
        return None


def _another_is_at_work(session: Session, where: str = "") -> SessionError:
    return SessionError(
        f"Could not start an engine on {session.path}: another one is at work there{where}.",
        "See `photon-triage engine status SESSION`; `photon-triage attach SESSION` opens a screen on it.",
    )


def _log(session: Session) -> IO[bytes]:
    try:
        return open_to_append(session.log_path, session.path)
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
