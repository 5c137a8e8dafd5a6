"""The pages of a TIFF file as frames.

A file may hold more than its frames: thumbnails, pyramid levels, a label. And fewer pages than frames: ImageJ and
MetaMorph keep the further images of a stack behind the first, without pages of their own.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tifffile

from photon_triage.core.common.errors import ErrorKind, MissingError, SourceError
from photon_triage.core.sources.common.file_probe import (
    ABANDONED,
    SILENT,
    FileState,
    require_size,
    translated,
    waited_for,
    without_blank_end,
)
from photon_triage.core.sources.common.info import Alternative

_MOST_PAGES = 1_000_000
_MOST_NAMED = 5
_CUT_SHORT = (tifffile.TiffFileError, struct.error, IndexError, TypeError)
"""What tifffile raises where the file ends too early."""
_REDUCED, _MASK = 1, 4
"""Bits of a page's NewSubfileType: a smaller copy of another page, a transparency mask (TIFF 6.0, section 8)."""
_PLANES_OF_STK = 33629
"""MetaMorph's tag UIC2, which has one entry for each image."""
_GREY = (0, 1, 3)
"""PhotometricInterpretation: white is zero, black is zero, a colour table (which ImageJ writes for false colours)."""
_ALPHA = (1, 2)
"""ExtraSamples: transparency of two kinds."""


def whole_chain(path: str, size: int) -> bool:
    """Whether every page's directory lies in the file's `size` bytes, and the last one says that it is the last."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        head = os.pread(descriptor, 16, 0)
        order = "<" if head[:2] == b"II" else ">"
        big = head[2:4] in (b"+\0", b"\0+")
        count_kind, offset_kind, entry = (f"{order}Q", f"{order}Q", 20) if big else (f"{order}H", f"{order}I", 12)
        (at,) = struct.unpack_from(offset_kind, head, 8 if big else 4)
        seen: set[int] = set()
        while at:
            if at in seen or at >= size:
                return False
            seen.add(at)
            (entries,) = struct.unpack(count_kind, os.pread(descriptor, struct.calcsize(count_kind), at))
            link = at + struct.calcsize(count_kind) + entries * entry
            if link >= size:
                return False
            (at,) = struct.unpack(offset_kind, os.pread(descriptor, struct.calcsize(offset_kind), link))
    except struct.error:
        return False
    finally:
        os.close(descriptor)
    return bool(seen)


@dataclass(slots=True)
class Group:
    """The pages of one shape and dtype. planes: the frames in each page. refused: why they are no frames."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    pages: list[Any]
    planes: int
    refused: str = ""

    @property
    def pixels(self) -> int:
        """Pixels of all pages together."""
        return len(self.pages) * int(np.prod(self.shape, dtype=np.int64))

    @property
    def counted(self) -> str:
        """How many pages of which shape and type."""
        pages = f"{len(self.pages)} page{'s' if len(self.pages) > 1 else ''}"
        return f"{pages} of {' x '.join(str(side) for side in self.shape)} {self.dtype}"

    def told(self) -> Alternative:
        """These pages as something that was not taken."""
        first, count = self.pages[0].index, len(self.pages)
        name = f"page {first}" if count == 1 else f"{count} pages from {first}"
        return Alternative(name, self.shape, str(self.dtype), self.refused or "fewer pixels than the frames taken")


class OpenPages:
    """The pages of a TIFF file, kept open for reading."""

    def __init__(self, state: FileState) -> None:
        self.state = state
        with translated(state.path):
            try:
                self.file = tifffile.TiffFile(state.path, _multifile=False)
            except _CUT_SHORT as error:
                raise waited_for(state.path, f"truncated file ({error})", state.age, ErrorKind.TRUNCATED) from error
            try:
                self.groups = self._grouped()
                self.group = self._chosen()
                self._virtual = self._images_without_pages()
            except _CUT_SHORT as error:
                self.file.close()
                raise waited_for(state.path, f"truncated file ({error})", state.age, ErrorKind.TRUNCATED) from error
            except BaseException:
                self.file.close()
                raise
        self.first = self.group.pages[0]
        self._kept: tuple[int, np.ndarray] | None = None

    def __len__(self) -> int:
        return self._virtual or len(self.group.pages) * self.group.planes

    @property
    def dtype(self) -> np.dtype[Any]:
        """The frames' dtype, native byte order."""
        stored = self.group.dtype
        return np.dtype(np.uint8) if stored.kind == "b" else stored.newbyteorder("=")

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width)."""
        axes, shape = self.first.axes, self.group.shape
        return int(shape[axes.index("Y")]), int(shape[axes.index("X")])

    @property
    def description(self) -> str:
        """The first page's description, "" where it has none."""
        return self.first.description or ""

    @property
    def compression(self) -> str:
        """The compression's name, "none" where there is none."""
        code = self.first.compression
        name = getattr(code, "name", str(code))
        return "none" if int(code) == 1 else {"ADOBE_DEFLATE": "deflate", "DEFLATE": "deflate"}.get(name, name)

    @property
    def has_own_pages(self) -> bool:
        """Whether every frame has a page, so that the last page must be there."""
        return not self._virtual

    @property
    def promised(self) -> int:
        """How many images the description of the first page promises; 1 where it promises none."""
        return _promised_images(self.file, self.group.pages[0])

    def left_out(self) -> list[str]:
        """Notes on the pages that are no frames, by kind."""
        others = [group for group in self.groups if group is not self.group]
        notes = [f"{group.counted} were not read: {group.refused or 'another shape or type'}" for group in others]
        if len(notes) > _MOST_NAMED:
            pages = sum(len(group.pages) for group in others[_MOST_NAMED:])
            notes[_MOST_NAMED:] = [f"{pages} pages of {len(notes) - _MOST_NAMED} more kinds were not read"]
        return notes

    def available(self) -> int:
        """The frames that are written: blank ones at the end of an uncompressed file that changed just now are not.

        A memory-mapped TIFF has its final size from its first page on.
        """
        count = len(self)
        if self._virtual:
            count = min(count, (self.state.size - int(self.first.dataoffsets[0])) // self.first.nbytes)
        if self.state.age >= SILENT or self.compression != "none":
            return count
        return without_blank_end(count, lambda position: not np.any(self._frame(position)))

    def read(self, start: int, stop: int, out: np.ndarray) -> None:
        """Frames start .. stop-1 into `out`, (n, height, width)."""
        if stop > len(self):
            raise MissingError(f"Reading {self.state.path}: page {stop - 1} was asked for, it has {len(self)}.")
        with translated(self.state.path):
            for position in range(start, stop):
                out[position - start] = self._frame(position)

    def present(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Of the frames start .. stop-1 those that are in the file, as ranges."""
        stop = min(stop, len(self))
        return [(start, stop)] if start < stop else []

    def close(self) -> None:
        """Let go of the file."""
        self.file.close()

    def _frame(self, position: int) -> np.ndarray:
        if self._virtual:
            return self._image_without_page(position)
        number, plane = divmod(position, self.group.planes)
        if self._kept is None or self._kept[0] != number:
            page = self.group.pages[number]
            pixels = page.asarray(maxworkers=1)
            if pixels is None or pixels.shape != self.group.shape:
                raise SourceError(
                    f"Reading {self.state.path}: page {page.index} cannot be decoded.", kind=ErrorKind.DAMAGED
                )
            self._kept = (number, np.asarray(pixels))
        pixels = self._kept[1]
        if pixels.ndim == 2:
            self._kept = None
            return pixels
        return np.asarray(pixels[..., plane] if self.first.axes[-1] == "S" else pixels[plane])

    def _image_without_page(self, position: int) -> np.ndarray:
        size = int(self.first.nbytes)
        self.file.filehandle.seek(int(self.first.dataoffsets[0]) + position * size)
        raw = self.file.filehandle.read(size)
        if len(raw) < size:
            raise MissingError(f"Reading {self.state.path}: image {position} goes beyond the file's end.")
        return np.frombuffer(raw, self.first.dtype.newbyteorder(self.file.byteorder)).reshape(self.shape)

    def _grouped(self) -> list[Group]:
        path = self.state.path
        groups: dict[Any, Group] = {}
        pages: Iterable[Any] = self.file.pages
        seen: set[int] = set()
        for page in pages:
            if page.offset in seen or len(seen) >= _MOST_PAGES:
                how = "pages that go in a circle" if page.offset in seen else f"more than {_MOST_PAGES} pages"
                raise SourceError(f"Reading {path}: it has {how}.", "It may be damaged.", kind=ErrorKind.DAMAGED)
            seen.add(page.offset)
            dtype = np.dtype(page.dtype or "V1")
            key = (page.shape, dtype, page.subfiletype & (_REDUCED | _MASK))
            group = groups.get(key)
            if group is None:
                refused, planes = _frames_in(page)
                group = groups[key] = Group(page.shape, dtype, [], planes, refused)
            group.pages.append(page)
        if not groups:
            raise waited_for(path, "it has no page", self.state.age)
        return list(groups.values())

    def _chosen(self) -> Group:
        path, groups = self.state.path, self.groups
        own = [group for group in groups if group.pages[0].subfiletype & (_REDUCED | _MASK) == 0] or groups
        for group in groups:
            if all(group is not other for other in own) and not group.refused:
                reduced = group.pages[0].subfiletype & _REDUCED
                group.refused = "a smaller copy of another page" if reduced else "a transparency mask"
        chosen = max(own, key=lambda group: (group.pixels, not group.refused))
        if chosen.refused:
            page = chosen.pages[0]
            raise SourceError(
                f"Reading {path}: page {page.index} holds {chosen.refused} (shape {page.shape}, dtype {page.dtype}).",
                "Expected one grey value of up to 64 bits a pixel: convert the file, or write the detector's counts.",
            )
        _require_decoder(chosen.pages[0], path)
        for page in chosen.pages:
            self._require_whole(page)
        return chosen

    def _require_whole(self, page: Any) -> None:
        path, item = self.state.path, np.dtype(page.dtype).itemsize
        require_size(f"page {page.index}", page.shape, item, path)
        require_size(f"a tile of page {page.index}", page.chunks, item, path)
        ends = (offset + count for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False))
        if max(ends, default=0) > self.state.size or not page.dataoffsets:
            raise waited_for(
                path, f"truncated file, page {page.index} goes beyond its end", self.state.age, ErrorKind.TRUNCATED
            )
        parts, expected = len(page.databytecounts), int(np.prod(page.chunked, dtype=np.int64))
        if min(parts, len(page.dataoffsets)) < expected or 0 in page.databytecounts[:expected]:
            lacking = expected - sum(count > 0 for count in page.databytecounts[:expected])
            raise waited_for(
                path,
                f"page {page.index} should have {expected} strips or tiles, {lacking} are not there",
                self.state.age,
                ErrorKind.TRUNCATED,
            )
        stored = sum(page.databytecounts)
        if int(page.compression) == 1 and stored < -(-page.size * int(page.bitspersample) // 8):
            raise SourceError(
                f"Reading {path}: page {page.index} says {' x '.join(map(str, page.shape))} pixels of "
                f"{page.bitspersample} bits, and keeps {stored} bytes.",
                "It may be damaged.",
                kind=ErrorKind.DAMAGED,
            )

    def _images_without_pages(self) -> int:
        """How many images the only page stands for; 0 where each frame has its page."""
        first = self.group.pages[0]
        plain = len(first.shape) == 2 and int(first.compression) == 1 and first.is_contiguous
        if len(self.group.pages) > 1 or not plain or first.bitspersample != 8 * np.dtype(first.dtype).itemsize:
            return 0
        images = _promised_images(self.file, first)
        fitting = (self.state.size - int(first.dataoffsets[0])) // first.nbytes
        if not 1 < images <= _MOST_PAGES or (fitting < 2 and self.state.age >= ABANDONED):
            return 0
        return images


def _require_decoder(page: Any, path: str) -> None:
    """SourceError naming a compression that cannot be decoded here."""
    try:
        tifffile.TIFF.DECOMPRESSORS[page.compression]
    except KeyError:
        name = getattr(page.compression, "name", page.compression)
        raise SourceError(
            f"Reading {path}: {name} (compression {int(page.compression)}) packs its pages and is not decoded here.",
            "Write the file with LZW, deflate or Zstandard, or convert it.",
        ) from None


def _frames_in(page: Any) -> tuple[str, int]:
    """Why a page holds no frames, "" where it does, and how many."""
    axes, shape = str(page.axes), page.shape
    if page.dtype is None or np.dtype(page.dtype).kind not in "iufb":
        is_complex = page.dtype is not None and np.dtype(page.dtype).kind == "c"
        return "complex numbers" if is_complex else "no numbers that are read", 0
    if 0 in shape or "Y" not in axes or "X" not in axes:
        return "no pixels", 0
    samples, extra = int(page.samplesperpixel), [int(kind) for kind in page.extrasamples]
    if int(page.photometric) not in _GREY or (int(page.photometric) == 3 and samples > 1):
        return f"a colour picture ({getattr(page.photometric, 'name', page.photometric)})", 0
    if len(shape) == 2:
        return "", 1
    if len(shape) == 3 and (axes[-1] == "S" or axes[0] in "SZ"):
        planes = int(shape[-1] if axes[-1] == "S" else shape[0])
        alpha = sum(kind in _ALPHA for kind in extra)
        return "", max(1, planes - alpha) if planes == samples else planes
    return "an array of more than three axes", 0


def _promised_images(file: tifffile.TiffFile, page: Any) -> int:
    """How many images the description of a file's first page promises."""
    if page.is_imagej:
        told = (file.imagej_metadata or {}).get("images", 1)
        return told if isinstance(told, int) else 1
    if page.is_stk:
        return int(page.tags[_PLANES_OF_STK].count) if _PLANES_OF_STK in page.tags else 1
    if page.is_shaped:
        facts = (file.shaped_metadata or ({},))[0]
        shape = facts.get("shape", ()) if facts.get("truncated") else ()
        return int(np.prod(shape[:-2], dtype=np.int64)) if len(shape) > 2 else 1
    return 1
