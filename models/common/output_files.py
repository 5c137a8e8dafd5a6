"""Files and folders that are there whole or not at all."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def atomic_path(path: Path, *, folder: bool = False, durable: bool = True) -> Iterator[Path]:
    """A path to write to that takes the place of `path` when the block ends without an error.

    It stands in the same folder until then; after an error it is removed. folder: it is an empty folder, which may
    replace an empty one only. durable: what was written is on disk before it is renamed. Raises OSError.
    """
    partial = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        if folder:
            partial.mkdir()
        yield partial
        if durable:
            _sync(partial)
        partial.replace(path)
    except BaseException:
        with suppress(OSError):
            if folder:
                shutil.rmtree(partial)
            else:
                partial.unlink()
        raise
    if durable:
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to disk, where its file system can: some network file systems cannot."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _sync(path: Path) -> None:
    """Bring a file to disk, or a folder with all that is in it."""
    if path.is_dir():
        for each in path.iterdir():
            _sync(each)
        sync_folder(path)
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
