"""Files that a process holds locked for as long as it lives, by which others see that it is at work."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import sys
import time
from pathlib import Path

from photon_triage.core.common.containment import open_regular

TRIES = 10
"""Somebody who asks whether a file is locked holds it for an instant."""
BETWEEN_TRIES_S = 0.02
_HELD = (errno.EACCES, errno.EAGAIN)
_FLOCK = "hhqqi4x"
"""struct flock of 64-bit Linux: kind, whence, start, length, process."""


def take_lock(path: Path, root: Path) -> int | None:
    """Lock a file within `root`, made where there is none, until its descriptor is closed; returns the descriptor.

    None while another process holds it. Some network file systems know no locks: then the file is just open. Raises
    OSError where it cannot be opened for writing.
    """
    handle = open_regular(path, root, os.O_RDWR | os.O_CREAT)
    for attempt in range(TRIES):
        if attempt:
            time.sleep(BETWEEN_TRIES_S)
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _HELD:
                continue
        return handle
    os.close(handle)
    return None


def is_locked(path: Path, root: Path) -> bool:
    """Tell whether another process of this host holds a file within `root` locked; asking needs no right to write.

    Where this process holds it, looking lets go of it.
    """
    try:
        handle = open_regular(path, root)
    except OSError:
        return False
    try:
        fcntl.lockf(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in _HELD
    else:
        return False
    finally:
        os.close(handle)


def lock_holder(handle: int) -> int:
    """The process of this host that holds an open file locked for itself alone; 0 where none does, or it is not known.

    Only on Linux is it known.
    """
    if not sys.platform.startswith("linux") or sys.maxsize < 2**32:
        return 0
    # Asked as for a shared lock: those who look whether the file is locked hold one for an instant.
    asked = struct.pack(_FLOCK, fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0)
    kind, *_, pid = struct.unpack(_FLOCK, fcntl.fcntl(handle, fcntl.F_GETLK, asked))
    return int(pid) if kind == fcntl.F_WRLCK else 0
