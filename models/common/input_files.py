"""Input files opened safely: regular ones only, with bounds on bytes, on nesting of JSON and on unpacked archives."""

from __future__ import annotations

import errno
import json
import os
import stat
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

DEEPEST = 64
"""Levels of lists and tables within each other; what this program writes has fewer than ten."""
HIGHEST_RATIO = 200
"""Unpacked bytes for each packed one. PyTorch does not pack; NumPy reaches a few tens on arrays of equal numbers."""
SMALL = 2**24
"""Bytes that an archive may unpack to at any ratio."""
MOST_ENTRIES = 100_000


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text; raises ValueError, also where it is nested more than DEEPEST levels deep."""
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError(f"it is nested more than {DEEPEST} levels deep") from None
    brackets = ("[", "{") if isinstance(text, str) else (b"[", b"{")
    if sum(map(text.count, brackets)) <= DEEPEST:  # type: ignore[arg-type]
        return value  # fewer brackets than levels: most texts are short, and there are many of them
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(DEEPEST):
        if not level:
            break
        inside = (each.values() if isinstance(each, dict) else each for each in level)
        level = [each for part in inside for each in part if isinstance(each, dict | list)]
    if level:
        raise ValueError(f"it is nested more than {DEEPEST} levels deep")
    return value


class RefusedError(OSError):
    """An entry that is not opened; `strerror` says why, `filename` which one."""


def open_regular(path: str | Path, flags: int = os.O_RDONLY, mode: int = 0o666) -> int:
    """A descriptor of a regular file; raises RefusedError for anything else, OSError where it cannot be opened.

    flags, mode: those of os.open. The kind is looked at before the file is opened, because opening a device can act on
    it, and once more behind the descriptor. O_NONBLOCK: a pipe that takes the file's place meanwhile holds up nobody.
    """
    try:
        _require_regular(Path(path).stat(), path)
    except FileNotFoundError:
        if not flags & os.O_CREAT:
            raise
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, mode)
    try:
        _require_regular(status := os.fstat(descriptor), path)
        if flags & (os.O_WRONLY | os.O_RDWR) and status.st_nlink > 1:
            # A hard link: what is written here would change a file somewhere else.
            raise refused(path, "it is the same file as another name elsewhere (a hard link)")
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def require_size(descriptor: int, path: str | Path, largest: int) -> None:
    """Raise RefusedError for a file of more than `largest` bytes."""
    size = os.fstat(descriptor).st_size
    if size > largest:
        raise refused(path, f"it has {size:,} bytes, at most {largest:,} are read", errno.EFBIG)


def read_regular(path: str | Path, largest: int, flags: int = 0) -> bytes:
    """The content of a regular file of at most `largest` bytes; raises RefusedError or OSError."""
    descriptor = open_regular(path, os.O_RDONLY | flags)
    with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor has no path
        require_size(descriptor, path, largest)
        return file.read(largest)


def refused(path: str | Path, reason: str, number: int = errno.EPERM) -> RefusedError:
    """The error for an entry that is not opened for this reason."""
    return RefusedError(number, reason, str(path))


def _require_regular(status: os.stat_result, path: str | Path) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise refused(path, f"it is a {_kind(status.st_mode)}, not a regular file")


def _kind(mode: int) -> str:
    kinds = {
        stat.S_IFDIR: "folder",
        stat.S_IFIFO: "named pipe",
        stat.S_IFSOCK: "socket",
        stat.S_IFBLK: "block device",
        stat.S_IFCHR: "character device",
    }
    return kinds.get(stat.S_IFMT(mode), "special file")


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
