"""TIFF files of one page in the plainest form, read without tifffile: most detectors that write a file per frame do so.

Plain: one page of one grey sample per pixel in whole bytes, in strips, uncompressed or deflate, and only tags that
change nothing else. tifffile reads whatever is not exactly that, and whatever is damaged, so that it alone decides what
such a file means. Layout: TIFF 6.0 (Adobe 1992), section 2, the BigTIFF extension, and Adobe's Technical Note 3 of 2002
(deflate).
"""

from __future__ import annotations

import json
import os
import struct
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import imagecodecs
import numpy as np

from photon_triage.core.common.errors import MissingError
from photon_triage.core.frames import Window
from photon_triage.core.sources.common.file_probe import BYTES_LIMIT, SILENT, FileState, translated

_HEADERS = {
    b"II*\0": ("<", False),
    b"MM\0*": (">", False),
    b"II+\0\x08\0\0\0": ("<", True),
    b"MM\0+\0\x08\0\0": (">", True),
}
_READ_WHOLE = 2**16
"""Files up to this many bytes are read in one go."""
_START = 2**12
_LARGEST_FILE = 2**62
_MOST_TAGS, _MOST_STRIPS, _LONGEST_TEXT = 200, 2**16, 2**20

_SUBFILE, _WIDTH, _LENGTH, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER = 254, 256, 257, 258, 259, 262, 266
_DESCRIPTION, _OFFSETS, _SAMPLES, _ROWS, _COUNTS, _PLANAR = 270, 273, 277, 278, 279, 284
_SOFTWARE, _PREDICTOR, _FORMAT = 305, 317, 339
_PLAIN_VALUES = {_SUBFILE: 0, _PHOTOMETRIC: 1, _FILL_ORDER: 1, _SAMPLES: 1, _PLANAR: 1, _PREDICTOR: 1}
"""Tags that must have this value, where they are there: the page is no copy of another, black is zero, one sample."""
_NUMBERS = frozenset(_PLAIN_VALUES) | {_WIDTH, _LENGTH, _BITS, _COMPRESSION, _OFFSETS, _ROWS, _COUNTS, _FORMAT}
_REMARKS = frozenset({269, 271, 272, 274, 280, 281, 282, 283, 285, 296, 306, 315, 316, 700, 33432})
"""Tags that are passed over, as tifffile does: document, make, model, orientation, range, resolution, page name,
date, artist, host, XMP, copyright."""
_ATTRIBUTES = range(65000, 65400)
"""Tags of EPICS areaDetector: time stamps, and attributes as texts."""

_KINDS = {3: "H", 4: "I", 16: "Q"}
"""Types of numbers: SHORT, LONG, LONG8."""
_ASCII = 2
_DTYPES = {
    **{(1, bits): f"u{bits // 8}" for bits in (8, 16, 32, 64)},
    **{(2, bits): f"i{bits // 8}" for bits in (8, 16, 32, 64)},
    **{(3, bits): f"f{bits // 8}" for bits in (16, 32, 64)},
}
"""By SampleFormat (unsigned, signed, IEEE float) and bits."""
_COMPRESSIONS = {1: "none", 8: "deflate", 32946: "deflate"}
_OTHER_MEANING = ("ImageJ=", "OME>", "truncated")
"""In a description: the page may stand for further images, or its layout has a name."""
_OTHER_SOFTWARE = b"IndicaLabs"
"""Writes floats without saying so."""
_SHAPED = '{"shape":'


@dataclass(frozen=True, slots=True)
class _Strip:
    row: int
    rows: int
    offset: int
    length: int


class PlainPage:
    """The only page of a plain TIFF file, open for reading. description: its text, "" where it has none."""

    def __init__(
        self,
        state: FileState,
        descriptor: int,
        start: bytes,
        shape: tuple[int, int],
        stored: np.dtype[Any],
        compression: str,
        strips: list[_Strip],
        description: str,
    ) -> None:
        self.state, self.shape, self.compression, self.description = state, shape, compression, description
        self.dtype: np.dtype[Any] = stored.newbyteorder("=")
        self._descriptor, self._start, self._stored, self._strips = descriptor, start, stored, strips
        self._kept: np.ndarray | None = None

    def __len__(self) -> int:
        return 1

    def available(self) -> int:
        """1, or 0 for a blank uncompressed frame of a file that changed just now: it may be written yet."""
        if self.state.age >= SILENT or self.compression != "none":
            return 1
        with translated(self.state.path):
            self._kept = np.empty(self.shape, self.dtype)
            self._decode(self._kept)
        return int(bool(np.any(self._kept[:1]) or np.any(self._kept)))

    @property
    def cuts(self) -> bool:
        """Whether reading a window of the frame saves the work for the rest."""
        return self.compression == "none" or len(self._strips) > 1

    def read(self, start: int, stop: int, out: np.ndarray) -> None:
        """The frame into `out`, (1, height, width) C-contiguous, if `start`, `stop` are 0, 1."""
        self._require_page(stop)
        with translated(self.state.path):
            if self._kept is not None:
                out[0] = self._kept
            else:
                self._decode(out[0])

    def read_window(self, start: int, stop: int, out: np.ndarray, window: Window) -> None:
        """A window of the frame into `out`, (1, *window.shape), if `start`, `stop` are 0, 1."""
        self._require_page(stop)
        with translated(self.state.path):
            if self._kept is not None:
                out[0] = self._kept[window.rows, window.columns]
            else:
                rows = np.empty((window.height, self.shape[1]), self.dtype)
                self._decode(rows, window.top)
                out[0] = rows[:, window.columns]

    def _require_page(self, stop: int) -> None:
        if stop > 1:
            raise MissingError(f"Reading {self.state.path}: page {stop - 1} was asked for, it has 1.")

    def present(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Of the frames start .. stop-1 those that are in the file, as ranges."""
        return [(0, 1)] if start == 0 < stop else []

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._descriptor)

    def _decode(self, rows: np.ndarray, top: int = 0) -> None:
        """Rows of the frame, from `top` on, into an array of their shape and dtype, C-contiguous."""
        bottom, row = top + len(rows), self.shape[1] * self.dtype.itemsize
        target = rows.reshape(-1).view(np.uint8).data
        try:
            for strip in self._strips:
                low, high = max(strip.row, top), min(strip.row + strip.rows, bottom)
                if low < high:
                    self._decode_strip(strip, low - strip.row, target[(low - top) * row : (high - top) * row], row)
        except (RuntimeError, ValueError):
            self._decode_with_tifffile(rows, top)
            return
        if not self._stored.isnative:
            rows.byteswap(inplace=True)

    def _decode_strip(self, strip: _Strip, first: int, place: memoryview, row: int) -> None:
        """Rows of a strip, from its row `first` on, as bytes into `place`; row: bytes of each."""
        if self.compression == "none":
            place[:] = _bytes_at(self._descriptor, self._start, strip.offset + first * row, len(place))
            return
        size = strip.rows * row
        whole = place if len(place) == size else memoryview(bytearray(size))
        raw = _bytes_at(self._descriptor, self._start, strip.offset, strip.length)
        if len(imagecodecs.deflate_decode(raw, out=whole)) != size:
            raise ValueError(f"a strip at byte {strip.offset} is too short")
        if whole is not place:
            place[:] = whole[first * row : first * row + len(place)]

    def _decode_with_tifffile(self, rows: np.ndarray, top: int) -> None:
        from photon_triage.core.sources.tiff.pages import OpenPages

        frame = np.empty((1, *self.shape), self.dtype)
        pages = OpenPages(self.state)
        try:
            pages.read(0, 1, frame)
        finally:
            pages.close()
        rows[...] = frame[0, top : top + len(rows)]


def plain_page(state: FileState) -> PlainPage | None:
    """The only page of a TIFF file, None where the file is not as plain as that."""
    descriptor = os.open(state.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    page = None
    try:
        page = _parsed(state, descriptor)
    except (struct.error, ValueError, KeyError, RecursionError):  # it is cut short, or not plain
        return None
    finally:
        if page is None:
            os.close(descriptor)
    return page


def _parsed(state: FileState, descriptor: int) -> PlainPage:
    """The page; ValueError, KeyError or struct.error where the file is not plain."""
    start = os.pread(descriptor, state.size if state.size <= _READ_WHOLE else _START, 0)
    order, big = _HEADERS.get(start[:4]) or _HEADERS[start[:8]]
    word, number, entry, inline = ("Q", "Q", 20, 8) if big else ("H", "I", 12, 4)
    (at,) = struct.unpack_from(f"{order}{number}", start, 8 if big else 4)
    (tags,) = struct.unpack(f"{order}{word}", _bytes_at(descriptor, start, at, struct.calcsize(word)))
    if tags > _MOST_TAGS:
        raise ValueError("more tags than a plain page has")
    at += struct.calcsize(word)
    raw = _bytes_at(descriptor, start, at, tags * entry + struct.calcsize(number))
    if any(raw[tags * entry :]):
        raise ValueError("another page")
    values: dict[int, tuple[int, ...]] = {}
    texts: list[str] = []
    for tag, kind, count, value in struct.iter_unpack(f"{order}HH{number}{inline}s", raw[: tags * entry]):
        if tag in _NUMBERS:
            letter = _KINDS[kind]
            size = count * struct.calcsize(letter)
            if tag in values or not 0 < count <= _MOST_STRIPS:
                raise ValueError("a tag twice, or empty")
            content = value if size <= inline else _bytes_behind(descriptor, start, value, size, order + number)
            values[tag] = struct.unpack_from(f"{order}{count}{letter}", content)
        elif tag in (_DESCRIPTION, _SOFTWARE):
            if kind != _ASCII or count > _LONGEST_TEXT:
                raise ValueError("a description that is no text")
            content = value if count <= inline else _bytes_behind(descriptor, start, value, count, order + number)
            text = content[:count].rstrip(b"\0")
            if b"\0" in text or text.startswith(_OTHER_SOFTWARE):
                raise ValueError("several texts in one, or a program with numbers of its own")
            if tag == _DESCRIPTION:
                texts.append(text.decode())
        elif tag not in _REMARKS and tag not in _ATTRIBUTES:
            raise ValueError("a tag that may change what the page means")
    if any(mark in text for text in texts for mark in _OTHER_MEANING):
        raise ValueError("a description with a meaning")
    if any(text.startswith(_SHAPED) and not isinstance(json.loads(text).get("shape"), list) for text in texts):
        raise ValueError("a description of tifffile that is damaged")
    return _page(state, descriptor, start, order, values, texts[0] if texts else "")


def _page(
    state: FileState, descriptor: int, start: bytes, order: str, values: dict[int, tuple[int, ...]], description: str
) -> PlainPage:
    if any(values.get(tag, (plain,)) != (plain,) for tag, plain in _PLAIN_VALUES.items()) or _PHOTOMETRIC not in values:
        raise ValueError("a page that is not plain")
    (width,), (length,), (bits,) = values[_WIDTH], values[_LENGTH], values[_BITS]
    (code,), (rows,) = values[_COMPRESSION], values.get(_ROWS, (length,))
    (sample_format,) = values.get(_FORMAT, (1,))
    stored = np.dtype(f"{order}{_DTYPES[sample_format, bits]}")
    offsets, counts, rows = values[_OFFSETS], values[_COUNTS], min(rows, length)
    size = width * length * stored.itemsize
    if not 0 < size <= BYTES_LIMIT or not rows or len(offsets) != len(counts) or len(counts) != -(-length // rows):
        raise ValueError("strips that do not make up the page")
    strips = [
        _Strip(number * rows, min(rows, length - number * rows), offset, count)
        for number, (offset, count) in enumerate(zip(offsets, counts, strict=True))
    ]
    if min(counts) == 0 or min(offsets) == 0 or max(map(sum, zip(offsets, counts, strict=True))) > state.size:
        raise ValueError("strips that are not in the file")
    compression = _COMPRESSIONS[code]
    if compression == "none":
        row = width * stored.itemsize
        if any(strip.length != strip.rows * row for strip in strips):
            raise ValueError("strips of another length than their rows")
        strips = _joined(strips)
    return PlainPage(state, descriptor, start, (length, width), stored, compression, strips, description)


def _joined(strips: list[_Strip]) -> list[_Strip]:
    """Strips of rows as they are, where they lie one behind the other as one strip."""
    first = strips[0]
    if any(after.offset != before.offset + before.length for before, after in pairwise(strips)):
        return strips
    return [_Strip(0, sum(strip.rows for strip in strips), first.offset, sum(strip.length for strip in strips))]


def _bytes_behind(descriptor: int, start: bytes, value: bytes, size: int, kind: str) -> bytes:
    """The content of a tag that keeps its place in the file."""
    return _bytes_at(descriptor, start, struct.unpack(kind, value)[0], size)


def _bytes_at(descriptor: int, start: bytes, at: int, size: int) -> bytes:
    """Bytes of the file, of which `start` is known; struct.error where they are not all there."""
    if at + size <= len(start):
        return start[at : at + size]
    raw = os.pread(descriptor, size, at) if at < _LARGEST_FILE else b""
    if len(raw) < size:
        raise struct.error(f"{size} bytes at {at} are not all in the file")
    return raw
