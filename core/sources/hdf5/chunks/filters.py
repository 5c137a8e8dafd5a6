"""HDF5 filters: their names, whether they can be decoded here, and whether a chunk may be handed to the decoder."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import h5py
import hdf5plugin  # noqa: F401 - registers the filters

from photon_triage.core.common.errors import SourceError

_NAMES = {
    1: "gzip",
    4: "szip",
    5: "n-bit",
    6: "scale-offset",
    257: "hzip",
    258: "fpzip",
    305: "LZO",
    307: "bzip2",
    32000: "LZF",
    32001: "Blosc",
    32002: "MAFISC",
    32003: "Snappy",
    32004: "LZ4",
    32005: "APAX",
    32006: "CBF",
    32007: "JPEG-XR",
    32008: "bitshuffle",
    32009: "SPDP",
    32010: "LPC-Rice",
    32011: "CCSDS-123",
    32012: "JPEG-LS",
    32013: "zfp",
    32014: "fpzip",
    32015: "Zstandard",
    32016: "B3D",
    32017: "SZ",
    32018: "FCIDECOMP",
    32019: "JPEG",
    32020: "VBZ",
    32021: "FAPEC",
    32022: "BitGroom",
    32023: "Granular BitRound",
    32024: "SZ3",
    32025: "Delta-Rice",
    32026: "Blosc2",
    32027: "FLAC",
    32028: "SPERR",
    32029: "TERSE/PROLIX",
    32030: "FFMPEG",
}
"""The registry of HDF5 filters (HDF Group, Registered Filter Plugins, 2026), and HDF5's own."""

GZIP, SHUFFLE, FLETCHER32, LZ4, BITSHUFFLE, ZSTANDARD = 1, 2, 3, 32004, 32008, 32015
_BITSHUFFLE_CODECS = {0: "bitshuffle", 2: "bitshuffle/LZ4", 3: "bitshuffle/Zstandard"}


@dataclass(frozen=True, slots=True)
class ChunkFilter:
    """One filter of a data set's pipeline: number, name stored in the file, parameters."""

    number: int
    stored_name: str
    values: tuple[int, ...]

    @property
    def name(self) -> str:
        """A name an operator may know."""
        if self.number == BITSHUFFLE:
            return _BITSHUFFLE_CODECS.get(self.values[4] if len(self.values) > 4 else 0, "bitshuffle")
        return _NAMES.get(self.number, self.stored_name or f"filter {self.number}")


def known_filters() -> dict[int, str]:
    """The names of HDF5's filters by their number: HDF5's own and the registered ones."""
    return dict(_NAMES)


def pipeline(dataset: Any) -> tuple[ChunkFilter, ...]:
    """The filters of an h5py data set, in the order of writing."""
    properties = dataset.id.get_create_plist()
    filters = []
    for position in range(properties.get_nfilters()):
        number, _, values, name = properties.get_filter(position)
        filters.append(ChunkFilter(number, name.decode("utf-8", "replace").split(";")[0], tuple(values)))
    return tuple(filters)


def compression(filters: tuple[ChunkFilter, ...]) -> str:
    """What compresses a data set, "none" where nothing does; checksums and byte shuffling are not counted."""
    return "+".join(f.name for f in filters if f.number not in (SHUFFLE, FLETCHER32)) or "none"


def require_decoders(filters: tuple[ChunkFilter, ...], path: str) -> None:
    """SourceError naming the filter that cannot be decoded here."""
    for one in filters:
        if not h5py.h5z.filter_avail(one.number):
            raise SourceError(
                f"Reading {path}: {one.name} (filter {one.number}) compresses its frames and is not decoded here.",
                "Write the file with bitshuffle/LZ4, gzip or Zstandard, or repack it (h5repack).",
            )


@dataclass(frozen=True, slots=True)
class Blocks:
    """The first blocks of a raw chunk, or all of them.

    size: decoded bytes of a block. bounds: where each begins, with its length before it, and where the last one ends.
    stored: whether one of them has its decoded size. tail: bytes behind the last block of a chunk that are not
    compressed.
    """

    size: int
    bounds: list[int]
    stored: bool
    tail: int


class ChunkCheck:
    """Walks the block lengths of a raw chunk before the decoder sees it.

    bitshuffle's decompressor does not check the lengths it is told, and a damaged chunk ends the process. The framing
    (bitshuffle and HDF5's LZ4 filter alike): 8 bytes big-endian decoded size, 4 bytes big-endian block size, then every
    block with its 4-byte big-endian length before it. bitshuffle blocks are whole groups of eight elements; what is
    left over follows uncompressed.
    """

    def __init__(self, filters: tuple[ChunkFilter, ...], chunk_bytes: int) -> None:
        self.chunk_bytes = chunk_bytes
        kept = [(position, one) for position, one in enumerate(filters) if one.number != FLETCHER32]
        self.trailer = 4 * (len(filters) - len(kept))
        self.position, last = kept[-1] if kept else (-1, ChunkFilter(0, "", ()))
        self.framed = last.number == LZ4 or (last.number == BITSHUFFLE and last.name != "bitshuffle")
        self.element = 8 * last.values[2] if last.number == BITSHUFFLE and len(last.values) > 2 else 1

    def problem(self, filter_mask: int, raw: bytes) -> str | None:
        """Why this chunk must not be decoded, None where it may be."""
        if not self.framed or filter_mask >> self.position & 1:
            return None
        found = self.blocks(memoryview(raw)[: max(0, len(raw) - self.trailer)])
        return found if isinstance(found, str) else None

    def blocks(self, raw: memoryview, needed: int | None = None) -> Blocks | str:
        """The blocks of a chunk without its checksum; why it must not be decoded, where that is so.

        needed: leading bytes of the decoded chunk that are asked for, all left open; no block behind them is looked at.
        """
        end = len(raw)
        if end < 12:
            return "its chunk is shorter than its header"
        total, block = struct.unpack_from(">QI", raw)
        if total != self.chunk_bytes:
            return f"its chunk decodes to {total} bytes where {self.chunk_bytes} are expected"
        if block == 0 or block % self.element:
            return f"its chunk has blocks of {block} bytes"
        tail = total % block % self.element
        compressed = total - tail
        wanted = compressed if needed is None else min(needed, compressed)
        longest = block + block // 255 + 16  # LZ4_compressBound, and above Zstandard's for these sizes
        position, stored, bounds = 12, False, [12]
        length_at = struct.Struct(">I").unpack_from
        try:
            for _ in range(-(-wanted // block)):
                (length,) = length_at(raw, position)
                if not 0 < length <= longest:
                    return f"its chunk has a block of {length} bytes"
                if length == block:
                    stored = True
                position += 4 + length
                bounds.append(position)
        except struct.error:
            return "its chunk ends before its last block"
        if position + (tail if wanted == compressed else 0) > end:
            return "its chunk ends before its last block"
        if len(bounds) * block > compressed and len(bounds) > 1:
            stored |= bounds[-1] - bounds[-2] - 4 == compressed - (len(bounds) - 2) * block
        return Blocks(block, bounds, stored, tail)
