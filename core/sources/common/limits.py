"""How much a file may ask for, and how long it is waited for."""

from __future__ import annotations

import math
from collections.abc import Sequence

from photon_triage.core.common.errors import SourceError

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
