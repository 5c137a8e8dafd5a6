"""Where the chunks of a data set lie in its file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

ASKED_SINGLY = 4
MOST_LISTED = 500_000


@dataclass(frozen=True, slots=True)
class StoredChunk:
    """A chunk's filters that were not used, as bits, and its place and length in the file, in bytes."""

    mask: int
    offset: int
    length: int


class ChunkTable:
    """The chunks of a data set that is open, by the coordinates of their first element.

    HDF5 goes through all chunks to find one, so after a few questions they are listed, once.
    """

    def __init__(self, dataset: Any) -> None:
        self._id = dataset.id
        self._asked = 0
        self._listed: dict[tuple[int, ...], StoredChunk] | None = None

    def find(self, corner: tuple[int, ...]) -> StoredChunk | None:
        """A chunk, None where it is not in the file."""
        if self._listed is None:
            self._asked += 1
            if self._asked <= ASKED_SINGLY or self._id.get_num_chunks() > MOST_LISTED:
                found = self._id.get_chunk_info_by_coord(corner)
                return StoredChunk(found.filter_mask, found.byte_offset, found.size) if _is_stored(found) else None
            listed: dict[tuple[int, ...], StoredChunk] = {}

            def note(chunk: Any) -> None:
                if _is_stored(chunk):
                    listed[chunk.chunk_offset] = StoredChunk(chunk.filter_mask, chunk.byte_offset, chunk.size)

            self._id.chunk_iter(note)
            self._listed = listed
        return self._listed.get(corner)


def _is_stored(chunk: Any) -> bool:
    return chunk.byte_offset is not None and bool(chunk.size)
