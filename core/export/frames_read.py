"""The pixels of frames that go into an export, read in a process of their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from photon_triage.core.common.errors import ExportError, SourceError
from photon_triage.core.session.store.rows import FileRow
from photon_triage.core.sources import FrameReader, SourceInfo

AT_ONCE = 64 * 2**20
"""Bytes that are read in one go."""


def looked_at(reader: FrameReader, file: FileRow) -> tuple[SourceInfo, np.ndarray | None]:
    """What a file holds now and its mask, (height, width) bool, true where valid; raises ExportError.

    It must still be what was triaged: the same shape.
    """
    try:
        info = reader.inspect(file.path, file.dataset or None)
        mask = reader.mask(info)
    except SourceError as error:
        raise ExportError(f"Could not read {file.path} for the export: {error.message}", error.hint) from error
    if info.shape != (file.height, file.width):
        raise ExportError(
            f"Could not export frames of {file.path}: they were {file.height} x {file.width} pixels when they were "
            f"triaged, and are {info.shape[0]} x {info.shape[1]} now.",
            "Triage it again in a new session.",
        )
    return info, mask


def pixels(reader: FrameReader, file: FileRow, indices: Sequence[int]) -> Iterator[np.ndarray]:
    """Frames of a file in the order of the indices, some at a time, (n, height, width); raises ExportError."""
    each = file.height * file.width * np.dtype(file.dtype).itemsize
    step = max(1, AT_ONCE // max(1, each))
    for start in range(0, len(indices), step):
        try:
            yield reader.read_indices(file.path, file.dataset, indices[start : start + step])
        except SourceError as error:
            raise ExportError(f"Could not read {file.path} for the export: {error.message}", error.hint) from error
