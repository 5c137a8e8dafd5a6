"""Superblock of an HDF5 file: where the file ends, and whether a writer has it open.

Layout: HDF5 File Format Specification 3.0, section II.A.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from photon_triage.core.sources.common.formats import HDF5_SIGNATURE

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
