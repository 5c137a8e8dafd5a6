"""Zip archives from elsewhere: what they unpack to is read from their directory before anything is unpacked."""

from __future__ import annotations

import zipfile
from typing import BinaryIO

from photon_triage.models.common.regular import refused

HIGHEST_RATIO = 200
"""Unpacked bytes for each packed one. PyTorch does not pack; NumPy reaches a few tens on arrays of equal numbers."""
SMALL = 2**24
"""Bytes that an archive may unpack to at any ratio."""
MOST_ENTRIES = 100_000


def require_modest(file: BinaryIO, largest: int, highest: int = HIGHEST_RATIO) -> None:
    """Raise RefusedError for an archive that unpacks to more than `largest` bytes, or to `highest` times its own.

    Anything else than a zip archive passes. file: stays at its beginning. Raises zipfile.BadZipFile for a damaged one.
    """
    file.seek(0)
    try:
        if not zipfile.is_zipfile(file):
            return
        file.seek(0)
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
        unpacked = sum(entry.file_size for entry in entries)
        packed = file.seek(0, 2)
    finally:
        file.seek(0)
    name = getattr(file, "name", "the archive")
    if len(entries) > MOST_ENTRIES:
        raise refused(name, f"it holds {len(entries):,} files, at most {MOST_ENTRIES:,} are read")
    if unpacked > largest:
        raise refused(name, f"it unpacks to {unpacked:,} bytes, at most {largest:,} are read")
    if unpacked > SMALL and unpacked > highest * packed:
        raise refused(name, f"its {packed:,} bytes unpack to {unpacked:,}, more than {highest} for one")
