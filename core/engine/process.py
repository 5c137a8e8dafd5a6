"""The engine as a process of its own: started, asked how it is, stopped."""

from __future__ import annotations

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
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from photon_triage.core.common.containment import open_binary, open_regular, open_to_append, parse_json
from photon_triage.core.common.errors import SessionError
from photon_triage.core.common.locks import is_locked, lock_holder, take_lock
from photon_triage.core.session.decisions.commands import ask_to_stop
from photon_triage.core.session.presence import ACTIVE, ENGINE_LOCK, presence_of
from photon_triage.core.session.session import Session, engine_is_alive
from photon_triage.core.session.state import EngineState
from photon_triage.models.common.input_files import require_size

START_S = 10.0
SILENT_S = 4.0
"""How long an engine that is not known as a process of this host may be silent while it is waited for."""
LARGEST = 4096
"""Bytes of an identity."""
LOG_TAIL = 4000
"""Bytes at the end of a log in which its last line is looked for."""


@dataclass(frozen=True)
class Identity:
    """A process: its number, host, the host's boot, when it began (clock ticks since boot) and whose it is."""

    pid: int
    host: str
    boot: str
    began: int
    uid: int


@dataclass(frozen=True)
class VerifiedEngine:
    """The engine of a session on this host, verified."""

    pid: int
    _lock: Path
    _root: Path

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it is still that engine; nothing happens where this account may not."""
        with suppress(OSError, AttributeError):
            # The descriptor stays with this process: its number cannot become another's between check and signal.
            descriptor = os.pidfd_open(self.pid)
            try:
                if _holder(self._lock, self._root) == self.pid:
                    signal.pidfd_send_signal(descriptor, number)
            finally:
                os.close(descriptor)


def write_identity(handle: int) -> None:
    """Write who this process is into the lock file that it holds; on a full disk it stays unsaid."""
    identity = _identity_of(os.getpid())
    text = b"" if identity is None else json.dumps(asdict(identity)).encode()
    with suppress(OSError):
        os.ftruncate(handle, 0)
        os.pwrite(handle, text, 0)


def engine_process(lock: Path, root: Path) -> VerifiedEngine | None:
    """The process of this host that holds the lock file within `root` and is the engine it names; None for any other.

    Process numbers of 1 and below are nobody's. Only on Linux is it known who holds a lock.
    """
    pid = _holder(lock, root)
    return None if pid is None else VerifiedEngine(pid, lock, root)


def lock_session(session: Session) -> int:
    """Take the session for this process's engine until it ends; returns the open lock file.

    Raises SessionError while another engine has it, and where the session is read-only.
    """
    handle = _taken(session)
    write_identity(handle)
    return handle


def refuse_second_host(session: Session) -> None:
    """Raise SessionError while an engine on another host says that it is alive: its lock may not be seen here."""
    state = session.engine_state()
    if engine_is_alive(state) and state.host != socket.gethostname():
        raise _another_is_at_work(session, f" on {state.host}")


def engine_is_running(session: Session) -> bool:
    """Whether an engine holds the session on this host, or says from another one that it is alive."""
    if is_locked(session.path / ENGINE_LOCK, session.path):
        return True
    try:
        state = session.engine_state()
    except SessionError:  # a damaged results.db, which is to be repaired, tells of nobody
        return False
    if state.host != socket.gethostname():
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
    began = state.pid == engine.pid and state.host == socket.gethostname()
    when = "" if began else " before it began to work"
    if code < 0:
        told = "; the system kills processes where memory runs out" if -code == signal.SIGKILL else ""
        return f"its engine was ended by {_name_of(-code)}{when}{told}"
    reason = state.message if began and state.status == "failed" else ""
    reason = reason or _last_line(session.log_path, engine.log_begins) or f"its log says nothing, exit code {code}"
    return f"its engine ended{when}: {reason.rstrip('.')}"


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
    process = engine_process(session.path / ENGINE_LOCK, session.path)
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


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """The engine's last report of itself, and how it is as seen from here.

    alive: whether it is at work. silent_s: seconds for which an engine whose process is there has not answered; 0 while
    it does.
    """

    state: EngineState
    alive: bool
    silent_s: float

    @property
    def status(self) -> str:
        """That of the state, "died" where it ended without a word; "" before the first engine."""
        died = not self.alive and self.state.status in ACTIVE
        return "died" if died else self.state.status

    def to_json(self) -> dict[str, Any]:
        """The report as what JSON can carry; nothing of an engine where none ever ran."""
        report = asdict(self.state) if self.state.status else {}
        return report | ({"status": self.status} if report else {}) | {"alive": self.alive, "silent_s": self.silent_s}


def engine_status(session: Session) -> EngineStatus:
    """How the engine of a session is."""
    state = session.engine_state()
    alive = engine_is_running(session)
    silent = presence_of(session.path, state).silent_s if alive else 0.0
    return EngineStatus(state, alive, silent)


def _holder(lock: Path, root: Path) -> int | None:
    try:
        handle = open_regular(lock, root)
    except OSError:
        return None
    try:
        require_size(handle, lock, LARGEST)
        told = Identity(**parse_json(os.pread(handle, LARGEST, 0)))
        pid = lock_holder(handle)
    except (OSError, ValueError, TypeError):
        return None
    finally:
        os.close(handle)
    return pid if pid > 1 and told == _identity_of(pid) else None


def _identity_of(pid: int) -> Identity | None:
    """Who a process of this host is; None where the system does not say."""
    folder = Path(f"/proc/{pid}")
    try:
        # The name of the program, in brackets, may hold spaces and brackets; field 22 of all is the start time.
        began = int(Path(folder, "stat").read_text(errors="replace").rpartition(")")[2].split()[19])
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return Identity(pid, socket.gethostname(), boot, began, folder.stat().st_uid)
    except (OSError, ValueError, IndexError):
        return None


def _taken(session: Session) -> int:
    """The open lock file of the session, locked, or where the file system knows no locks just open."""
    try:
        handle = take_lock(session.path / ENGINE_LOCK, session.path)
    except OSError as error:
        raise SessionError(
            f"Could not start an engine on {session.path}: {error.strerror}.",
            "An engine writes into the session's folder: make it writable for this account, or work on a copy.",
        ) from error
    if handle is None:
        raise _another_is_at_work(session)
    return handle


def _name_of(number: int) -> str:
    """A signal as `SIGKILL (signal 9)`."""
    try:
        return f"{signal.Signals(number).name} (signal {number})"
    except ValueError:
        return f"signal {number}"


def _last_line(path: Path, begin: int) -> str:
    """The last line of a log behind so many bytes that holds anything, without its time and level."""
    try:
        with open_binary(path, path.parent) as log:
            log.seek(max(begin, log.seek(0, os.SEEK_END) - LOG_TAIL))
            lines = log.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return re.sub(r"^\d[\d-]+ [\d:,]+ [A-Z]+ ", "", last)


def _last_sign(session: Session) -> object:
    """The heartbeat that an engine wrote last; None where results.db cannot be read."""
    try:
        return session.engine_state().heartbeat
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
