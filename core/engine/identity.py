"""The process that holds a session's engine lock, verified before it is sent a signal.

An engine writes who it is into its lock file while it holds the lock. What the file says is believed only where the
system says the same: which process holds the lock, when that process began, and whose it is.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import struct
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from photon_triage.core.common.containment import open_regular, parse_json
from photon_triage.models.common.input_files import require_size

LARGEST = 4096
"""Bytes of an identity."""
_FLOCK = "hhqqi4x"
"""struct flock of Linux on 64 bits: type, whence, start, length, pid."""


@dataclass(frozen=True)
class Identity:
    """A process: its number, host, the host's boot, when it began (clock ticks since boot) and whose it is."""

    pid: int
    host: str
    boot: str
    began: int
    uid: int


@dataclass(frozen=True)
class EngineProcess:
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


def engine_process(lock: Path, root: Path) -> EngineProcess | None:
    """The process of this host that holds the lock file within `root` and is the engine it names; None for any other.

    Process numbers of 1 and below are nobody's. Only on Linux is it known who holds a lock.
    """
    pid = _holder(lock, root)
    return None if pid is None else EngineProcess(pid, lock, root)


def _holder(lock: Path, root: Path) -> int | None:
    try:
        handle = open_regular(lock, root)
    except OSError:
        return None
    try:
        require_size(handle, lock, LARGEST)
        told = Identity(**parse_json(os.pread(handle, LARGEST, 0)))
        pid = _lock_holder(handle)
    except (OSError, ValueError, TypeError):
        return None
    finally:
        os.close(handle)
    return pid if pid > 1 and told == _identity_of(pid) else None


def _lock_holder(handle: int) -> int:
    """The process of this host that holds a file locked for itself alone; 0 where none does, or it is not known."""
    if not sys.platform.startswith("linux") or sys.maxsize < 2**32:
        return 0
    # Asked as for a shared lock: those who look whether the file is locked hold one for an instant.
    asked = struct.pack(_FLOCK, fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0)
    kind, *_, pid = struct.unpack(_FLOCK, fcntl.fcntl(handle, fcntl.F_GETLK, asked))
    return int(pid) if kind == fcntl.F_WRLCK else 0


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
