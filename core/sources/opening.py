"""Opening a detector file so that no writer is harmed, no reader blocks, and every failure says what to do."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from photon_triage.core.errors import NotYetError, SourceError, TriageError
from photon_triage.core.sources.limits import ABANDONED

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_SUPERBLOCK = 48
_SIGNATURE_PLACES = (0, 512, 1024, 2048, 4096, 8192)
_HDF5_SUFFIXES = (".h5", ".hdf5", ".hdf", ".nxs", ".nx", ".cxi")
_TIFF_SUFFIXES = (".tif", ".tiff")
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

    path: absolute real path. format: "HDF5" or "TIFF". age: seconds since the last change by this host's clock.
    writing, swmr: what the superblock's status flags say of a writer (version 3 alone has them).
    superblock: version, -1 where there is none.
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


def look(path: str | os.PathLike[str]) -> FileState:
    """What a file is, from its first bytes; raises NotYetError while it is empty or shows no signature."""
    real = regular_file(path)
    with translated(real):
        descriptor = os.open(real, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise SourceError(f"Opening {real}: it is no regular file.", "Only regular files are read.")
            starts = [(at, os.pread(descriptor, _SUPERBLOCK, at)) for at in _SIGNATURE_PLACES]
        finally:
            os.close(descriptor)
    facts = (found.st_size, found.st_mtime_ns, found.st_dev, found.st_ino, age_of(found.st_mtime_ns))
    if starts[0][1].startswith(_TIFF_STARTS):
        return FileState(real, "TIFF", *facts)
    for at, start in starts:
        if start.startswith(HDF5_SIGNATURE) and len(start) == _SUPERBLOCK:
            if start[8] in (2, 3) and start[9] == 8 and at + int.from_bytes(start[28:36], "little") > found.st_size:
                raise waited_for(real, "truncated file, it is shorter than it says", facts[-1])
            flags = start[11] if start[8] == 3 else 0
            return FileState(real, "HDF5", *facts, superblock=start[8], writing=bool(flags & 1), swmr=bool(flags & 4))
    suffix = os.path.splitext(real)[1].lower()  # noqa: PTH122 - see above
    if suffix not in _HDF5_SUFFIXES + _TIFF_SUFFIXES:
        raise SourceError(f"Opening {real}: it is neither HDF5 nor TIFF.", "Name HDF5 or TIFF files.")
    wanted = "TIFF" if suffix in _TIFF_SUFFIXES else "HDF5"
    reason = "it is empty" if not found.st_size else f"file signature not found, it does not begin as {wanted} does"
    raise waited_for(real, reason, facts[-1])


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
        raise NotYetError(f"Opening {path}: there is no such file.", _RETRY) from error
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
