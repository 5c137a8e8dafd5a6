"""Files opened only where they are regular ones: no named pipe, device or socket, and no more bytes than expected."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


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
