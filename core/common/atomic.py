"""Files that are there whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from photon_triage.models.common.output_files import atomic_path, sync_folder

__all__ = ["atomic_file", "atomic_path", "sync_folder"]


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write that takes the place of `path` when the block ends without an error.

    It stands in the same folder until then, and is on disk before it is renamed. Raises OSError.
    """
    with atomic_path(path) as partial, partial.open("xb") as file:
        yield file
