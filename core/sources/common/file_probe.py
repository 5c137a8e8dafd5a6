"""Opening a detector file so that no writer is harmed, no reader blocks, and every failure says what to do."""

from __future__ import annotations

import errno
import math
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from photon_triage.core.common.errors import ErrorKind, MissingError, NotYetError, SourceError, TriageError

BYTES_LIMIT = 2 * 2**30
"""The largest frame, chunk or single read: an Eiger 16M in int64 has 145 MB, a damaged header asks for terabytes."""

MOST_FRAMES = 10**9
"""Frames of a file that are believed: years of the fastest detector, where a damaged header claims a trillion."""

CHUNK_SETTLES = 0.1
"""Seconds that a chunk must have been seen allocated where the writer is not in SWMR mode."""

RECENT = 30.0
"""Seconds since the last change within which a file may have a writer at this moment."""

STABLE = 10.0
"""Seconds without a change after which a file that no writer has marked as open counts as complete."""

SILENT = 60.0
"""Seconds without a change after which blank frames at the end of a data set count as measured."""

ABANDONED = 600.0
"""Seconds without a change after which nothing more is expected, whatever the file says of itself."""

LONGEST = 64
"""Bytes of a superblock that are read: the end-of-file address of version 1 ends at byte 52."""

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_USER_BLOCKS = (0, *(512 << power for power in range(12)))
"""Where HDF5 may begin: behind a user block of 512 bytes or any doubling of that, here up to 1 MiB."""

_WRITING, _SWMR = 1, 4
_WIDTHS = (2, 4, 8)
_RETRY = "It is looked at again."
_STALE = frozenset({errno.EAGAIN, errno.EBUSY, errno.EINTR, errno.ESTALE})
"""Errors of the system that pass: a lock, and a file that another host of a network file system has replaced."""


def require_count(frames: int, path: str) -> None:
    """SourceError where a file claims more frames than any detector writes."""
    if frames > MOST_FRAMES:
        raise SourceError(
            f"Reading {path}: it claims {frames:,} frames, more than the limit of {MOST_FRAMES:,}.",
            "The file may be damaged; name another data set if it holds one.",
        )


def require_size(what: str, shape: Sequence[int], itemsize: int, path: str) -> int:
    """The bytes of an array of this shape; SourceError where they pass the limit."""
    size = math.prod(shape) * itemsize
    if size > BYTES_LIMIT:
        raise SourceError(
            f"Reading {path}: {what} would need {size / 2**30:.1f} GiB, "
            f"more than the limit of {BYTES_LIMIT / 2**30:.0f} GiB.",
            "The file may be damaged; name another data set if it holds one.",
        )
    return size


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


class CutShortError(Exception):
    """A file ends before what it refers to; the message says before what."""


@dataclass(frozen=True, slots=True)
class FileState:
    """A file at the moment of a look.

    path: absolute real path. format: its name in the registry. age: seconds since the last change by this host's clock.
    writing, swmr: what the superblock's status flags say of a writer (version 3 alone has them).
    superblock: version, -1 where there is none. roots: real folders, beside its own, to which its links may lead.
    notes: what went wrong in telling the format.
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
    notes: tuple[str, ...] = ()

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


def without_blank_end(count: int, is_blank: Callable[[int], bool]) -> int:
    """`count` without the frames at the end that are blank, found by bisection.

    Frames are written in order: before a frame that holds something, all are written.
    """
    low, high, probe = 0, count, count - 1
    while low < high:
        low, high = (low, probe) if is_blank(probe) else (probe + 1, high)
        probe = (low + high) // 2
    return low
