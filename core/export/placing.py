"""Outputs that are there whole or not at all, files and folders."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from photon_triage.core.common.atomic import sync_folder
from photon_triage.core.common.errors import ExportError


@contextmanager
def placed(output: Path, *, folder: bool) -> Iterator[Path]:
    """A path to write to, a file or an empty folder, that takes the place of `output` when the block ends well.

    It stands in the same folder until then, and is on disk before it is renamed. A file may replace an older one, a
    folder only an empty one. Raises OSError, ExportError where something stands in the way.
    """
    _refuse_taken(output, folder)
    partial = output.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        if folder:
            partial.mkdir()
        yield partial
        for path in sorted(partial.rglob("*")) if folder else [partial]:
            _sync(path)
        if folder:
            sync_folder(partial)
        partial.replace(output)
    except BaseException:
        with suppress(OSError):
            if folder:
                shutil.rmtree(partial)
            else:
                partial.unlink()
        raise
    sync_folder(output.parent)


def _refuse_taken(output: Path, folder: bool) -> None:
    if folder and output.exists() and not (output.is_dir() and not any(output.iterdir())):
        raise ExportError(
            f"Could not write the folder {output}: something stands there already.",
            "Name a folder that is not there yet, or remove the old one.",
        )
    if not folder and output.is_dir():
        raise ExportError(f"Could not write the list {output}: it is a folder.", "Name a file.")


def _sync(path: Path) -> None:
    if path.is_dir():
        sync_folder(path)
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
