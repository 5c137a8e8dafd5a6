"""Opening a detector file so that no writer is harmed, no reader blocks, and every failure says what to do."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from photon_triage.core.errors import MissingError, NotYetError, SourceError, TriageError
from photon_triage.core.sources.formats import (
    HDF5_SIGNATURE,
    READ,
    START,
    format_by_name,
    format_of,
    mrc_order,
    other_format,
)
from photon_triage.core.sources.limits import ABANDONED

_SUPERBLOCK = 48
_USER_BLOCKS = tuple(512 << power for power in range(12))
"""Where HDF5 may begin behind a user block: at 512 bytes and at each doubling of that, here up to 1 MiB."""

_RETRY = "It is looked at again."

_NOT_YET = (
    "truncated file",
    "file signature not found",
    "bad object header version number",
    "already open for write",
    "not already open for swmr writing",
    "can't synchronously read data",
    "can't deserialize object header prefix",
    "resource temporarily unavailable",
    "object header chunk",
    "addr overflow",
    "doesn't exist",
    "component not found",
)


@dataclass(frozen=True, slots=True)
class FileState:
    """A file at the moment of a look.

    path: absolute real path. format: "HDF5", "TIFF", "MRC", "CBF", "EDF" or "SMV". age: seconds since the last change
    by this host's clock.
    writing, swmr: what the superblock's status flags say of a writer (version 3 alone has them).
    superblock: version, -1 where there is none. roots: real folders, beside its own, to which its links may lead.
    """

    path: str
    format: str
    size: int
    mtime_ns: int
    device: int
    inode: int
    age: float
    superblock: int = -1
    writing: bool = False
    swmr: bool = False
    roots: tuple[str, ...] = ()

    @property
    def signature(self) -> tuple[int, int, int, int]:
        """What changes when the file does."""
        return (self.device, self.inode, self.size, self.mtime_ns)


def age_of(mtime_ns: int) -> float:
    """Seconds since a file's last change, by this host's clock."""
    return time.time() - mtime_ns / 1e9


def regular_file(path: str | os.PathLike[str]) -> str:
    """The absolute real path of a regular file.

    Raises NotYetError where there is none, SourceError for a folder, a FIFO or a device: a FIFO blocks for ever.
    """
    real = os.path.realpath(path)
    with translated(real):
        mode = os.stat(real).st_mode  # noqa: PTH116 - file names may hold bytes that are no text
    if not stat.S_ISREG(mode):
        raise SourceError(f"Opening {real}: it is no regular file.", "Only regular files are read.")
    return real


def look(path: str | os.PathLike[str], roots: Sequence[str] = ()) -> FileState:
    """What a file is, from its first bytes; raises NotYetError while it is empty or shows no signature.

    roots: folders, beside its own, to which its links may lead.
    """
    real = regular_file(path)
    with translated(real):
        descriptor = os.open(real, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise SourceError(f"Opening {real}: it is no regular file.", "Only regular files are read.")
            start = os.pread(descriptor, START, 0)
            known = format_of(start)
            at, superblock = (0, start[:_SUPERBLOCK]) if known else _behind_user_block(descriptor)
        finally:
            os.close(descriptor)
    facts = (found.st_size, found.st_mtime_ns, found.st_dev, found.st_ino, age_of(found.st_mtime_ns))
    if known not in (None, "HDF5"):
        return FileState(real, str(known), *facts)
    if superblock.startswith(HDF5_SIGNATURE) and len(superblock) == _SUPERBLOCK:
        version, flags = superblock[8], superblock[11] if superblock[8] == 3 else 0
        base, end = (int.from_bytes(superblock[place : place + 8], "little") for place in (12, 28))
        if version in (2, 3) and superblock[9] == 8 and at - base + end > found.st_size:
            raise waited_for(real, "truncated file, it is shorter than it says", facts[-1])
        return FileState(
            real,
            "HDF5",
            *facts,
            superblock=version,
            writing=bool(flags & 1),
            swmr=bool(flags & 4),
            roots=tuple(os.path.realpath(os.path.expanduser(root)) for root in roots),  # noqa: PTH111
        )
    other = other_format(start)
    if other:
        raise SourceError(f"Opening {real}: it is {other}.", f"Read are {READ}.")
    promised = format_by_name(real)
    if promised == "MRC" and mrc_order(start):  # written before the format had its mark at byte 208
        return FileState(real, "MRC", *facts)
    if promised is None:
        raise SourceError(f"Opening {real}: it is of no format that is read.", f"Read are {READ}.")
    if found.st_size and facts[-1] > ABANDONED:
        raise SourceError(
            f"Opening {real}: its name promises {promised}, and it does not begin as {promised} does.",
            f"Read are {READ}; if its writer was killed, or a transfer broke off, it holds nothing to read.",
        )
    reason = "it is empty" if not found.st_size else f"file signature not found, it does not begin as {promised} does"
    raise waited_for(real, reason, facts[-1])


def _behind_user_block(descriptor: int) -> tuple[int, bytes]:
    for at in _USER_BLOCKS:
        superblock = os.pread(descriptor, _SUPERBLOCK, at)
        if superblock.startswith(HDF5_SIGNATURE):
            return at, superblock
        if not superblock:
            break
    return 0, b""


def waited_for(path: str, reason: str, age: float) -> SourceError:
    """The error for a file that is not whole: NotYetError, and SourceError once nobody has changed it for long."""
    if age > ABANDONED:
        return SourceError(
            f"Reading {path}: {reason}, and it has not changed for {age / 60:.0f} minutes.",
            "Its writer may have been killed: repair a copy (HDF5: h5clear -s COPY) or transfer the file again.",
        )
    return NotYetError(f"Reading {path}: {reason}.", _RETRY)


@contextmanager
def translated(path: str) -> Iterator[None]:
    """Any failure of the block as a SourceError, or a NotYetError where a writer explains it.

    The list of what to wait for was found by reading files of eleven kinds of writer while they were written.
    """
    try:
        yield
    except TriageError:
        raise
    except FileNotFoundError as error:
        raise MissingError(f"Opening {path}: there is no such file.", _RETRY) from error
    except MemoryError as error:
        raise SourceError(f"Reading {path}: it asks for more memory than there is.", "It may be damaged.") from error
    except Exception as error:  # h5py and tifffile raise nearly anything for a damaged file
        reason = _reason(error)
        try:
            age = age_of(os.stat(path).st_mtime_ns)  # noqa: PTH116 - see above
        except OSError:
            age = 0.0
        if isinstance(error, (BlockingIOError, KeyError)) or any(sign in reason.lower() for sign in _NOT_YET):
            raise waited_for(path, reason, age) from error
        raise SourceError(f"Reading {path}: {reason}.", "The file may be damaged; the others go on.") from error


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError) and error.args:
        return str(error.args[0])
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
