"""The folder of a training: one process at a time has it, and says so where it cannot be written."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from photon_triage.core.common.containment import open_regular
from photon_triage.core.common.errors import TrainingError
from photon_triage.core.session.trainings.trainings import LOCK, session_of

TRIES = 10


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Raise TrainingError where the block cannot write in the folder of a training."""
    try:
        yield
    except OSError as error:
        raise TrainingError(
            f"Could not train in {folder}: {error.strerror or error}.",
            "Make the session's folder writable, with room in it, and give the same command again.",
        ) from error


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a training's folder for this process while the block runs.

    Raises TrainingError while another process has it, OSError where the folder cannot be written.
    """
    handle = open_regular(folder / LOCK, session_of(folder), os.O_RDWR | os.O_CREAT)
    try:
        _take(handle, folder)
        yield
    finally:
        os.close(handle)


def _take(handle: int, folder: Path) -> None:
    for attempt in range(TRIES):
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                return  # some network file systems know no locks
            if attempt == TRIES - 1:
                raise TrainingError(
                    f"Could not train {folder.name} in {folder.parent.parent}: another process is training it.",
                    "Wait for it, or give another --name.",
                ) from error
            time.sleep(0.02)  # a screen may be asking just now
        else:
            return
