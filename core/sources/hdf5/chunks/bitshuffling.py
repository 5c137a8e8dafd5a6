"""The decoder of bitshuffle itself, out of the library that hdf5plugin brings; it lets other threads work.

It undoes LZ4 and the shuffling block by block within the processor's cache, twice as fast as one after the other.
It does not check the lengths of its blocks: whoever calls it must have.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import hdf5plugin

BitshuffleDecoder = Callable[[memoryview, memoryview, int, int], int]
"""Decodes blocks (source, writable) into a target: size of a number in bytes, numbers a block. Returns how many bytes
of the source it used, below 0 where they are none of its own."""


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
