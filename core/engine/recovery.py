"""HDF5 files that a killed writer left marked as open: read from a copy whose mark is taken off.

Layout: HDF5 File Format Specification 3.0, section II.A (superblock versions 2 and 3); its checksum is Jenkins'
lookup3.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import struct
import time
from collections.abc import Callable
from pathlib import Path

from photon_triage.core.common.atomic import atomic_path
from photon_triage.core.common.containment import make_folder
from photon_triage.core.common.errors import SourceError
from photon_triage.core.sources import FrameReader

SIGNATURE = b"\x89HDF\r\n\x1a\n"
PLACES = (0, 512, 1024, 2048, 4096, 8192)
"""Where a superblock may stand; each next place is twice as far (a file may have a block of the user's before it)."""
QUIET_S = 10.0
"""Seconds without a change before a writer counts as dead."""
_VERSION, _FLAGS, _CHECKSUM, _SIZE = 8, 11, 44, 48
_BLOCK = 16 * 2**20
_WORD = 0xFFFFFFFF


def recover(path: Path, folder: Path, advance: Callable[[int, int], None] = lambda done, total: None) -> Path:
    """A copy in `folder` that can be read of a file whose writer died; the file itself is not touched.

    advance: called with bytes copied and bytes in all. Raises SourceError where no writer has left the file marked,
    where one seems to be alive, where there is no space, and where the copy cannot be read either.
    """
    try:
        told = path.stat()
        if time.time() - told.st_mtime < QUIET_S:
            raise SourceError(
                f"Could not recover {path}: it changed {max(time.time() - told.st_mtime, 0):.0f} s ago.",
                "Its writer may be alive: wait until it has not changed for 10 s.",
            )
        at, superblock = _marked_superblock(path)
        make_folder(folder, folder.parent)
        if shutil.disk_usage(folder).free < told.st_size:
            raise SourceError(
                f"Could not recover {path}: its copy needs {told.st_size / 2**30:.1f} GiB in {folder}.",
                "Free space on that disk.",
            )
        copy = copy_of(path, folder)
        with atomic_path(copy) as partial:
            _copy(path, partial, at, superblock, advance)
            os.utime(partial, ns=(told.st_atime_ns, told.st_mtime_ns))
            _require_readable(path, partial)
    except OSError as error:
        raise SourceError(f"Could not recover {path}: {error.strerror or error}.", "Check the disk's space.") from error
    return copy


def copy_of(path: Path, folder: Path) -> Path:
    """Where the copy of a file is, or the one that a previous version of the program has made."""
    digest = hashlib.blake2b(os.fsencode(path), digest_size=4).digest()
    previous = folder / f"{path.stem}-{digest.hex()}{path.suffix}"
    # Digits alone: letters could make a word, such as df, which says that the file is a dark.
    return previous if previous.exists() else folder / f"{path.stem}-{int.from_bytes(digest)}{path.suffix}"


def cleared(superblock: bytes) -> bytes:
    """A superblock of version 2 or 3 that says that nobody has the file open."""
    body = superblock[:_FLAGS] + b"\0" + superblock[_FLAGS + 1 : _CHECKSUM]
    return body + struct.pack("<I", lookup3(body))


def lookup3(data: bytes) -> int:
    """Jenkins' lookup3 hash of some bytes, `hashlittle` with 0 to begin with (Bob Jenkins, 2006, public domain)."""
    a: int
    b: int
    c: int
    a = b = c = (0xDEADBEEF + len(data)) & _WORD
    while len(data) > 12:
        x, y, z = struct.unpack_from("<III", data)
        a, b, c = (a + x) & _WORD, (b + y) & _WORD, (c + z) & _WORD
        for shift in (4, 6, 8, 16, 19, 4):
            a = (a - c) & _WORD ^ _rotated(c, shift)
            c = (c + b) & _WORD
            a, b, c = b, c, a
        data = data[12:]
    if not data:
        return c
    x, y, z = struct.unpack("<III", data.ljust(12, b"\0"))
    a, b, c = (a + x) & _WORD, (b + y) & _WORD, (c + z) & _WORD
    for shift in (14, 11, 25, 16, 4, 14, 24):
        c = ((c ^ b) - _rotated(b, shift)) & _WORD
        a, b, c = b, c, a
    return b


def _rotated(value: int, bits: int) -> int:
    return (value << bits | value >> 32 - bits) & _WORD


def _marked_superblock(path: Path) -> tuple[int, bytes]:
    """(place, superblock) of a file that is marked as open; SourceError where it is not."""
    with path.open("rb") as file:
        for at in PLACES:
            file.seek(at)
            superblock = file.read(_SIZE)
            if superblock.startswith(SIGNATURE) and len(superblock) == _SIZE:
                sound = superblock[_CHECKSUM:] == struct.pack("<I", lookup3(superblock[:_CHECKSUM]))
                if superblock[_VERSION] in (2, 3) and superblock[_VERSION + 1] == 8 and superblock[_FLAGS] and sound:
                    return at, superblock
                break
    raise SourceError(
        f"Could not recover {path}: no writer has left it marked as open, so what is wrong with it is something else.",
        "Transfer it again, or repair it with the program that wrote it.",
    )


def _copy(path: Path, copy: Path, at: int, superblock: bytes, advance: Callable[[int, int], None]) -> None:
    total, done = path.stat().st_size, 0
    with path.open("rb") as source, copy.open("xb") as target:
        while block := source.read(_BLOCK):
            target.write(block)
            done += len(block)
            advance(done, total)
        target.seek(at)
        target.write(cleared(superblock))
        target.flush()
        os.fsync(target.fileno())


def _require_readable(path: Path, copy: Path) -> None:
    with FrameReader() as reader:
        try:
            reader.inspect(copy)
        except SourceError as error:
            raise SourceError(
                f"Could not recover {path}: a copy without the mark cannot be read either ({error.message})",
                "Its writer died before it had written enough.",
            ) from error
