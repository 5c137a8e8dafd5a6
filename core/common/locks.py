"""Files that a process holds locked for as long as it lives, by which others see that it is at work."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

from photon_triage.core.common.containment import open_regular


def is_locked(path: Path, root: Path) -> bool:
    """Whether another process of this host holds a file within `root` locked; no right to write is needed to ask.

    Where this process holds it, looking lets go of it.
    """
    try:
        handle = open_regular(path, root)
    except OSError:
        return False
    try:
        fcntl.lockf(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in (errno.EACCES, errno.EAGAIN)
    else:
        return False
    finally:
        os.close(handle)
