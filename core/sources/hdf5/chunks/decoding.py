"""Decoding a chunk's bytes without HDF5, with decoders that let other threads work.

Whatever is not known here exactly is left to HDF5. Every decoder gets a buffer of the size that the chunk must have, so
that a chunk which decodes to more is refused, whatever its bytes claim.
"""

from __future__ import annotations

import ctypes
import struct
import threading
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import hdf5plugin
import numpy as np

from photon_triage.core.sources.hdf5.chunks.filters import (
    BITSHUFFLE,
    FLETCHER32,
    GZIP,
    LZ4,
    SHUFFLE,
    ZSTANDARD,
    ChunkCheck,
    ChunkFilter,
)

BitshuffleDecoder = Callable[[memoryview, memoryview, int, int], int]
"""Decodes blocks (source, writable) into a target: size of a number in bytes, numbers a block. Returns how many bytes
of the source it used, below 0 where they are none of its own."""

_LZ4_OF_BITSHUFFLE = 2
_CACHED = 2**18
"""Bytes that are still in the processor's cache when the second step of decoding comes to them."""

_ORDERS = {SHUFFLE: 0, GZIP: 1, LZ4: 1, BITSHUFFLE: 1, ZSTANDARD: 1, FLETCHER32: 2}


@cache
def bitshuffle_decoder() -> BitshuffleDecoder | None:
    """The function `bshuf_decompress_lz4` of bitshuffle (Masui et al. 2015), None where it cannot be had."""
    for library in sorted(Path(hdf5plugin.PLUGIN_PATH).glob("*h5bshuf*")):
        try:
            function = ctypes.CDLL(str(library)).bshuf_decompress_lz4
        except (OSError, AttributeError):
            continue
        function.restype = ctypes.c_int64
        function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_size_t]
        return partial(_decode, function)
    return None


def _decode(function: Callable[..., int], source: memoryview, target: memoryview, itemsize: int, block: int) -> int:
    return function(_address(source), _address(target), len(target) // itemsize, itemsize, block)


def _address(memory: memoryview) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


class DamagedError(Exception):
    """A chunk that is not what its data set says; the message says why."""


class LeftToHdf5Error(Exception):
    """A chunk that only HDF5 can decode."""


class Decoder:
    """Decodes the chunks of a data set: shuffled or not, one compressor or none, with or without a checksum."""

    def __init__(self, filters: tuple[ChunkFilter, ...], chunk_bytes: int, itemsize: int) -> None:
        self.chunk_bytes, self._itemsize, self._filters = chunk_bytes, itemsize, filters
        self._check = ChunkCheck(filters, chunk_bytes)

    @staticmethod
    def knows(filters: tuple[ChunkFilter, ...], itemsize: int) -> bool:
        """Whether chunks written through these filters can be decoded here."""
        orders = [_ORDERS.get(one.number, -1) for one in filters]
        if -1 in orders or sorted(set(orders)) != orders:
            return False
        numbers = {one.number: one.values for one in filters}
        if SHUFFLE in numbers and (numbers[SHUFFLE] or (itemsize,))[0] != itemsize:
            return False
        told = numbers.get(BITSHUFFLE)
        return told is None or (len(told) > 4 and told[2] == itemsize and told[4] == _LZ4_OF_BITSHUFFLE)

    @property
    def stored_plainly(self) -> bool:
        """Whether a chunk's bytes are its pixels."""
        return not self._filters

    @property
    def has_parts(self) -> bool:
        """Whether a part of a chunk can be decoded without the rest."""
        numbers = {one.number: one.values for one in self._filters}
        if LZ4 in numbers:
            return 0 < (numbers[LZ4] or (0,))[0] < self.chunk_bytes and SHUFFLE not in numbers
        return not numbers or (BITSHUFFLE in numbers and SHUFFLE not in numbers)

    def decode(self, mask: int, raw: memoryview, low: int, high: int, out: memoryview | None = None) -> Any:
        """The bytes low .. high-1 of a decoded chunk; into `out` if there is one.

        mask: the filters that were not used on this chunk, a bit for each. raw: is written to.
        Raises DamagedError, LeftToHdf5Error. What is returned is good until the thread's next call.
        """
        used = {one.number: one.values for place, one in enumerate(self._filters) if not mask >> place & 1}
        data = raw
        if FLETCHER32 in used:
            data = _checked(data)
        shuffled = SHUFFLE in used
        if shuffled:
            low_needed, high_needed, target = 0, self.chunk_bytes, None
        else:
            low_needed, high_needed, target = low, high, out
        compressor = next((number for number in used if number not in (SHUFFLE, FLETCHER32)), None)
        if compressor in (LZ4, BITSHUFFLE):
            plain = self._framed(data, compressor == BITSHUFFLE, low_needed, high_needed, target)
        elif compressor is not None:
            plain = self._stream(data, compressor, low_needed, high_needed, target)
        elif len(data) != self.chunk_bytes:
            raise DamagedError(f"its chunk has {len(data)} bytes where {self.chunk_bytes} are expected")
        else:
            plain = data[low_needed:high_needed]
        if shuffled:
            plain = memoryview(self._unshuffled(plain))[low:high]
        if out is None or plain is out:
            return plain
        out[:] = plain
        return out

    def _stream(self, data: memoryview, compressor: int, low: int, high: int, out: memoryview | None) -> memoryview:
        decode = _codecs().deflate_decode if compressor == GZIP else _codecs().zstd_decode
        whole = high - low == self.chunk_bytes
        target = out if out is not None and whole else scratch("stream", self.chunk_bytes)
        try:
            length = len(decode(data, out=target))
        except RuntimeError as error:
            raise DamagedError(f"its chunk cannot be decoded to {self.chunk_bytes} bytes ({error})") from error
        if length != self.chunk_bytes:
            raise DamagedError(f"its chunk decodes to {length} bytes where {self.chunk_bytes} are expected")
        return target if whole else target[low:high]

    def _framed(self, data: memoryview, bitshuffled: bool, low: int, high: int, out: memoryview | None) -> memoryview:
        """Decode the blocks of an LZ4 or bitshuffle chunk that hold the bytes low .. high-1."""
        blocks = self._check.blocks(data, high)
        if isinstance(blocks, str):
            raise DamagedError(blocks)
        compressed = self.chunk_bytes - blocks.tail
        first, last = low // blocks.size, len(blocks.bounds) - 1
        start, stop = first * blocks.size, min(last * blocks.size, compressed)
        tail = blocks.tail if high > compressed else 0
        exact = (start, stop + tail) == (low, high)
        target = out if out is not None and exact else scratch("blocks", stop + tail - start)
        if bitshuffled and (unshuffle := bitshuffle_decoder()) is not None:
            end = blocks.bounds[last] + tail
            used = unshuffle(data[blocks.bounds[first] : end], target, self._itemsize, blocks.size // self._itemsize)
            if used != end - blocks.bounds[first]:
                raise DamagedError("its chunk cannot be decoded: its blocks are no LZ4")
            return target if exact else target[low - start : high - start]
        if bitshuffled and blocks.stored:
            raise LeftToHdf5Error  # only HDF5's LZ4 filter keeps such a block as it is
        together = max(1, _CACHED // blocks.size) if bitshuffled else max(1, last - first)
        for block in range(first, last, together):
            behind = min(block + together, last)
            size = min(behind * blocks.size, compressed) - block * blocks.size
            place = target[block * blocks.size - start :][:size]
            # The framing again for these blocks alone, written over what is before them.
            begin, end = blocks.bounds[block] - 12, blocks.bounds[behind]
            struct.pack_into(">QI", data, begin, size, min(blocks.size, size))
            try:
                if not bitshuffled:
                    _codecs().lz4h5_decode(data[begin:end], out=place)
                    continue
                bits = _codecs().lz4h5_decode(data[begin:end], out=scratch("bits", size))
                elements = blocks.size // self._itemsize
                _codecs().bitshuffle_decode(bits, itemsize=self._itemsize, blocksize=elements, out=place)
            except (RuntimeError, ValueError) as error:
                raise DamagedError(f"its chunk cannot be decoded ({error})") from error
        if tail:
            at = blocks.bounds[-1]
            target[stop - start :] = data[at : at + tail]
        return target if exact else target[low - start : high - start]

    def _unshuffled(self, data: memoryview) -> memoryview:
        """Bytes in their order, of a chunk with all first bytes of its numbers before all second ones, and so on."""
        target = np.frombuffer(scratch("bytes", self.chunk_bytes), np.uint8)
        planes = np.frombuffer(data, np.uint8).reshape(self._itemsize, -1)
        for place, plane in enumerate(planes):
            target[place :: self._itemsize] = plane
        return target.data


def _checked(data: memoryview) -> memoryview:
    """A chunk without its checksum, which HDF5 keeps little-endian behind it (before 1.6.3 with swapped bytes)."""
    if len(data) < 4:
        raise DamagedError("its chunk is shorter than its checksum")
    data, stored = data[:-4], int.from_bytes(data[-4:], "little")
    found = int(_codecs().h5checksum_fletcher32(data)) if len(data) else 0
    swapped = (found & 0x00FF00FF) << 8 | (found & 0xFF00FF00) >> 8
    if stored not in (found, swapped):
        raise DamagedError("its chunk does not have the checksum that it was written with")
    return data


def _codecs() -> Any:
    import imagecodecs

    return imagecodecs


_local = threading.local()


def scratch(name: str, size: int) -> memoryview:
    """Memory of this thread that is used again and again."""
    kept: bytearray | None = getattr(_local, name, None)
    if kept is None or len(kept) < size:
        kept = bytearray(size)
        setattr(_local, name, kept)
    return memoryview(kept)[:size]
