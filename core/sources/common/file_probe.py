"""Opening a detector file so that no writer is harmed, no reader blocks, and every failure says what to do."""

from __future__ import annotations

import errno
import os
import re
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from photon_triage.core.common.errors import ErrorKind, MissingError, NotYetError, SourceError, TriageError
from photon_triage.core.sources.common.formats import (
    HDF5_SIGNATURE,
    READ,
    START,
    format_by_name,
    format_of,
    mrc_order,
    other_format,
)
from photon_triage.core.sources.common.limits import ABANDONED

NUMBERS = re.compile(r"(\d+)")

LONGEST = 64
"""Bytes of a superblock that are read: the end-of-file address of version 1 ends at byte 52."""

_USER_BLOCKS = (0, *(512 << power for power in range(12)))
"""Where HDF5 may begin: behind a user block of 512 bytes or any doubling of that, here up to 1 MiB."""

_WRITING, _SWMR = 1, 4
_WIDTHS = (2, 4, 8)


@dataclass(frozen=True, slots=True)
class Superblock:
    """end: bytes that the file must have. writing, swmr: flags of a writer, which version 3 alone has."""

    version: int
    end: int
    writing: bool
    swmr: bool


def parse_superblock(raw: bytes, at: int = 0) -> Superblock | None:
    """The superblock that begins `raw`, found at byte `at` of a file; None where it is cut short or not understood.

    Versions 0 and 1 have eight numbers before their addresses, 2 and 3 have none.
    """
    if not raw.startswith(HDF5_SIGNATURE) or len(raw) < 16:
        return None
    version = raw[8]
    if version > 3:
        return None
    width = raw[13] if version < 2 else raw[9]
    first = {0: 24, 1: 28}.get(version, 12)
    if width not in _WIDTHS or len(raw) < first + 3 * width:
        return None
    base, _, end = (int.from_bytes(raw[first + n * width : first + (n + 1) * width], "little") for n in range(3))
    flags = raw[11] if version == 3 else 0
    return Superblock(version, at - base + end, bool(flags & _WRITING), bool(flags & _SWMR))


def find_superblock(descriptor: int) -> tuple[int, bytes]:
    """Where an open file's superblock begins, and its bytes, b"" where there is none."""
    for at in _USER_BLOCKS:
        raw = os.pread(descriptor, LONGEST, at)
        if raw.startswith(HDF5_SIGNATURE):
            return at, raw
        if not raw:
            break
    return 0, b""


_RETRY = "It is looked at again."
_STALE = frozenset({errno.EAGAIN, errno.EBUSY, errno.EINTR, errno.ESTALE})
"""Errors of the system that pass: a lock, and a file that another host of a network file system has replaced."""


class CutShortError(Exception):
    """A file ends before what it refers to; the message says before what."""


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
            at, raw = (0, start) if known else find_superblock(descriptor)
        finally:
            os.close(descriptor)
    facts = (found.st_size, found.st_mtime_ns, found.st_dev, found.st_ino, age_of(found.st_mtime_ns))
    if known not in (None, "HDF5"):
        return FileState(real, str(known), *facts)
    if raw.startswith(HDF5_SIGNATURE):
        superblock = parse_superblock(raw, at)
        if superblock is None or superblock.end > found.st_size:
            raise waited_for(real, "truncated file, it is shorter than it says", facts[-1], ErrorKind.TRUNCATED)
        return FileState(
            real,
            "HDF5",
            *facts,
            superblock=superblock.version,
            writing=superblock.writing,
            swmr=superblock.swmr,
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
            kind=ErrorKind.DAMAGED,
        )
    reason = f"it does not begin as {promised} does" if found.st_size else "it is empty"
    raise waited_for(real, reason, facts[-1])


def waited_for(path: str, reason: str, age: float, kind: ErrorKind = ErrorKind.NOT_YET) -> SourceError:
    """The error for a file that is not whole: NotYetError, and SourceError once nobody has changed it for long."""
    if age > ABANDONED:
        return SourceError(
            f"Reading {path}: {reason}, and it has not changed for {age / 60:.0f} minutes.",
            "Its writer may have been killed: repair a copy (HDF5: h5clear -s COPY) or transfer the file again.",
            kind=ErrorKind.DAMAGED if kind is ErrorKind.NOT_YET else kind,
        )
    return NotYetError(f"Reading {path}: {reason}.", _RETRY, kind=kind)


@contextmanager
def translated(path: str) -> Iterator[None]:
    """Any failure of the block as a SourceError, or a NotYetError where a writer explains it."""
    try:
        yield
    except TriageError:
        raise
    except FileNotFoundError as error:
        raise MissingError(f"Opening {path}: there is no such file.", _RETRY) from error
    except MemoryError as error:
        raise SourceError(f"Reading {path}: it asks for more memory than there is.", "It may be damaged.") from error
    except PermissionError as error:
        raise SourceError(f"Reading {path}: {_reason(error)}.", "Ask its owner for the right to read it.") from error
    except Exception as error:  # h5py and tifffile raise nearly anything for a damaged file
        reason, kind, age = _reason(error), _kind_of(error, path), 0.0
        if kind is ErrorKind.DAMAGED:
            hint = "The file may be damaged; the others go on."
            raise SourceError(f"Reading {path}: {reason}.", hint, kind=kind) from error
        with suppress(OSError):
            age = age_of(os.stat(path).st_mtime_ns)  # noqa: PTH116 - see above
        raise waited_for(path, reason, age, kind) from error


def _kind_of(error: Exception, path: str) -> ErrorKind:
    """The reason of a library's error, from its type and from the file as it is now, never from its text.

    HDF5's own errors come as OSError, RuntimeError or KeyError. A writer explains any of them: metadata reach a file
    in no order, and a chunk may be there before its last bytes.
    """
    if isinstance(error, CutShortError):
        return ErrorKind.TRUNCATED
    if isinstance(error, BlockingIOError) or (isinstance(error, OSError) and error.errno in _STALE):
        return ErrorKind.NOT_YET
    if not isinstance(error, OSError | RuntimeError | KeyError):
        return ErrorKind.DAMAGED
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ErrorKind.DAMAGED
    try:
        at, raw = find_superblock(descriptor)
        size = os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)
    if not raw:
        return ErrorKind.DAMAGED
    superblock = parse_superblock(raw, at)
    return ErrorKind.TRUNCATED if superblock is None or superblock.end > size else ErrorKind.NOT_YET


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError) and error.args:
        return str(error.args[0])
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def natural_order(text: str) -> list[tuple[int, str]]:
    """A sorting key under which frame_9 comes before frame_10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in NUMBERS.split(text)]
