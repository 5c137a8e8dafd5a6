"""The engine as a process of its own: started, asked how it is, stopped."""

from __future__ import annotations

import errno
import fcntl
import json
import math
import os
import re
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
from photon_triage.core.session.presence import ACTIVE, ENGINE_LOCK, presence_of
from photon_triage.core.session.session import Session, engine_is_alive

LOCK_TRIES = 10
START_S = 10.0
LOG_TAIL = 4000
"""Bytes at the end of a log in which its last line is looked for."""


def lock_session(session: Session) -> int:
    """Take the session for this process's engine until it ends; returns the open lock file.

    Raises SessionError while another engine has it, and where the session is read-only.
    """
    try:
        handle = os.open(session.path / ENGINE_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
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
    if is_locked(session.path / ENGINE_LOCK):
        return True
    try:
        state = session.engine_state()
    except SessionError:  # a damaged results.db, which is to be repaired, tells of nobody
        return False
    if state.get("host") != socket.gethostname():
        return engine_is_alive(state)
    # As if its heartbeat were old: then its process is looked for, where the file system knows no locks.
    return presence_of(session.path, state, now=math.inf).alive


class EngineProcess(subprocess.Popen[bytes]):
    """An engine that was started from here.

    log_begins: bytes of the session's log that earlier engines have written.
    """

    log_begins: int = 0


def start_engine(
    session: Session,
    paths: Sequence[Path],
    *,
    once: bool = False,
    patience: float = 60.0,
    device: str | None = None,
    alarm_command: Sequence[str] = (),
) -> EngineProcess:
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
        begins = log.seek(0, os.SEEK_END)
        engine = EngineProcess(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, close_fds=True
        )
    engine.log_begins = begins
    # Until it holds the session it could not be asked to stop.
    deadline = time.monotonic() + START_S
    while engine.poll() is None and not engine_is_running(session) and time.monotonic() < deadline:
        time.sleep(0.02)
    return engine


def ending_of(session: Session, engine: EngineProcess) -> str:
    """How an engine that was started from here has ended, as a sentence without its dot; "" where it ended well.

    Told apart are one that a signal ended, one that ended with an error, which its state or its log names, and one that
    ended before it began to work.
    """
    code = engine.poll()
    if code is None or code == 0:
        return ""
    state = session.engine_state()
    began = state.get("pid") == engine.pid and state.get("host") == socket.gethostname()
    when = "" if began else " before it began to work"
    if code < 0:
        told = "; the system kills processes where memory runs out" if -code == signal.SIGKILL else ""
        return f"its engine was ended by {_name_of(-code)}{when}{told}"
    reason = str(state.get("message") or "") if began and state.get("status") == "failed" else ""
    reason = reason or _last_line(session.log_path, engine.log_begins) or f"its log says nothing, exit code {code}"
    return f"its engine ended{when}: {reason.rstrip('.')}"


def _name_of(number: int) -> str:
    """A signal as `SIGKILL (signal 9)`."""
    try:
        return f"{signal.Signals(number).name} (signal {number})"
    except ValueError:
        return f"signal {number}"


def _last_line(path: Path, begin: int) -> str:
    """The last line of a log behind so many bytes that holds anything, without its time and level."""
    try:
        with path.open("rb") as log:
            log.seek(max(begin, log.seek(0, os.SEEK_END) - LOG_TAIL))
            lines = log.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return re.sub(r"^\d[\d-]+ [\d:,]+ [A-Z]+ ", "", last)


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
    """What the engine last said of itself, with `alive` and `silent_s` as seen from here.

    silent_s: seconds for which an engine whose process is there has not answered; 0 while it does.
    """
    state = session.engine_state()
    alive = engine_is_running(session)
    silent = presence_of(session.path, state).silent_s if alive else 0.0
    if not alive and state.get("status") in ACTIVE:
        state["status"] = "died"
    return state | {"alive": alive, "silent_s": silent}
