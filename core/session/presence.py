"""An engine as others see it: at work, without an answer, or gone."""

from __future__ import annotations

import json
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from photon_triage.core.common.locks import is_locked
from photon_triage.core.session.session import HEARTBEAT_LIMIT_S
from photon_triage.core.session.state import EngineState

ENGINE_LOCK = "engine.lock"
ACTIVE = ("starting", "running")
FRESH_S = 2.0
"""Age of a heartbeat, which comes every 0.5 s, from which the engine's process is looked for."""
SILENT_S = 5.0
"""Age of a heartbeat from which an engine does not answer."""
STARTING_S = 60.0
"""The same for one that starts: importing its libraries from a slow file system takes that long."""
BUSY_S = 5.0
"""Seconds from which it is worth saying with what an engine is busy."""
ENGINE_MODULE = b"photon_triage.core.engine"


@dataclass(frozen=True, slots=True)
class Presence:
    """Whether an engine's process is there, for how many seconds it has not answered, and whether it died.

    silent_s: 0 while it answers. died: its process has ended without saying so, as one that was killed.
    """

    alive: bool = False
    silent_s: float = 0.0
    died: bool = False


def presence_of(folder: Path, state: EngineState, now: float | None = None) -> Presence:
    """The presence of the engine that has left this state in a session's folder.

    On this host its lock and its process tell, on another one the age of its heartbeat alone.
    """
    status = state.status
    if status not in ACTIVE:
        return Presence()
    # Either way: where a clock has jumped back, the last word of an engine that died lies in the future.
    age = abs((time.time() if now is None else now) - state.heartbeat)
    if state.host != socket.gethostname():
        return Presence(alive=age < HEARTBEAT_LIMIT_S, died=False)
    if age < FRESH_S:
        return Presence(alive=True)
    is_there = _is_process(folder, state.pid)
    if not is_there and not is_locked(folder / ENGINE_LOCK, folder):
        return Presence(died=True)
    # Where another process holds the lock, a new engine has begun, and has not written its state yet.
    is_silent = is_there is not False and age >= (STARTING_S if status == "starting" else SILENT_S)
    return Presence(alive=True, silent_s=age if is_silent else 0.0)


def busy_text(state: EngineState) -> str:
    """With what an engine has been busy for BUSY_S and more, such as "busy with 19.tif for 44 s"; "" otherwise."""
    if not state.busy_with or state.busy_s < BUSY_S:
        return ""
    return f"busy with {state.busy_with} for {state.busy_s:.0f} s"


def _is_process(folder: Path, pid: object) -> bool | None:
    """Whether a process of this host is the engine of a session; None where the system does not tell."""
    if not Path("/proc/self/cmdline").exists():
        return None
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    # Numbers are given to other processes again.
    return ENGINE_MODULE in words and any(json.dumps(str(folder)).encode() in word for word in words)
