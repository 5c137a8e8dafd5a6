"""CBF, EDF and SMV files: their text headers are read here, and checked before anything they ask for is done.

Layouts: imgCIF/CBF (Bernstein and Hammersley 2005) with the headers of DECTRIS detectors, EDF (ESRF), SMV (the .img
files of ADSC detectors). What is compressed is decoded with fabio where it is installed, and so is SMV read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np

from photon_triage.core.common.errors import ErrorKind, MissingError, SourceError
from photon_triage.core.sources.common.file_probe import STABLE, FileState, require_size, translated, waited_for
from photon_triage.core.sources.common.info import ProbeOptions, SourceInfo, StackLayout
from photon_triage.core.sources.common.names import require_frames, run_name
from photon_triage.core.sources.common.text_headers import text_geometry
from photon_triage.core.sources.edf import EdfImage, edf_images

_LONGEST_HEADER = 2**20
_CBF_STARTS_BINARY = b"\x0c\x1a\x04\xd5"
_CBF_ENDS_BINARY = b"\r\n--CIF-BINARY-FORMAT-SECTION----"
_TYPES_OF_CBF = {
    **{f"signed {bits}-bit integer": f"i{bits // 8}" for bits in (8, 16, 32, 64)},
    **{f"unsigned {bits}-bit integer": f"u{bits // 8}" for bits in (8, 16, 32, 64)},
    "signed 32-bit real ieee": "f4",
    "signed 64-bit real ieee": "f8",
}
_PADDING = 16
"""Zero bytes behind a byte-offset stream: each becomes a pixel, so that a stream which ends too early is noticed."""

_BYTES_OF_SMV = {"unsigned_byte": 1, "unsigned_short": 2, "short": 2, "long": 4, "unsigned_long": 4, "float": 4}
_HEADERS = {"CBF": "DECTRIS", "SMV": "SMV", "EDF": "EDF"}


def probe(state: FileState, options: ProbeOptions) -> tuple[SourceInfo, OpenImages]:
    """What a CBF, EDF or SMV file holds; raises SourceError, and NotYetError while it is shorter than it says.

    An EDF file that is named as a dark or a flat field is refused; what crystallographers call a dark run is data.
    """
    require_frames(state.path, any_image=options.any_image or state.format != "EDF")
    images = OpenImages(state)
    with ExitStack() as opened:
        opened.callback(images.close)
        count = len(images)
        geometry, unclear = text_geometry(_HEADERS[state.format], images.header)
        info = SourceInfo(
            path=state.path,
            format=state.format,
            layout=state.format,
            dataset="",
            frames=count,
            available=count,
            complete=count == 1 or state.age >= STABLE,
            shape=images.shape,
            dtype=images.dtype.name,
            compression=images.compression,
            mask=None,
            geometry=geometry,
            simulated=False,
            run=run_name(state.path, one_of_many=count == 1),
            reason=f"every image of the {state.format} file is a frame",
            notes=(*images.notes, *unclear),
        )
        opened.pop_all()
        return info, images


def open_frames(state: FileState, dataset: str = "", layout: StackLayout | None = None) -> OpenImages:
    """The images of a CBF, EDF or SMV file, open until closed."""
    return OpenImages(state)


class OpenImages:
    """The images of a CBF, EDF or SMV file, kept open for reading. header: the text of the first."""

    def __init__(self, state: FileState) -> None:
        self.state = state
        self.compression = "none"
        self.notes: list[str] = []
        self.header = ""
        self.count = 1
        with translated(state.path):
            self._load = _READERS[state.format](self)
            first = self._load(0)
        if first is None or first.ndim != 2 or first.dtype.kind not in "iuf":
            raise SourceError(
                f"Reading {state.path}: there is no image in it.", "It may be damaged.", kind=ErrorKind.DAMAGED
            )
        self._first: np.ndarray = first
        self.dtype: np.dtype[Any] = np.dtype(first.dtype).newbyteorder("=")
        self.shape = (int(first.shape[0]), int(first.shape[1]))

    def __len__(self) -> int:
        return self.count

    def read(self, start: int, stop: int, out: np.ndarray) -> None:
        """Images start .. stop-1 into `out`, (n, height, width)."""
        if stop > len(self):
            raise MissingError(f"Reading {self.state.path}: image {stop - 1} was asked for, it has {len(self)}.")
        with translated(self.state.path):
            for position in range(start, stop):
                image = self._first if position == 0 else self._load(position)
                if image is None or image.shape != self.shape or image.dtype != self._first.dtype:
                    raise SourceError(
                        f"Reading {self.state.path}: image {position} is not of the first one's shape and type."
                    )
                out[position - start] = image

    def present(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Of the images start .. stop-1 those that are in the file, as ranges."""
        return [(start, min(stop, len(self)))] if start < len(self) else []

    def close(self) -> None:
        """Let go of the file."""


_Load = Callable[[int], Any]
"""Gives an image by its number."""


def _cbf(images: OpenImages) -> _Load:
    state = images.state
    header = images.header = _header(state, _CBF_STARTS_BINARY)
    fields = dict(re.findall(r"^(X-Binary-[A-Za-z-]+):\s*(\S.*?)\s*$", header, re.MULTILINE))
    kind = re.search(r'conversions="?x-CBF_([A-Z_0-9]+)', header)
    images.compression = kind[1].replace("_", " ").lower() if kind else "none"
    shape = [_positive(fields.get(f"X-Binary-Size-{name}-Dimension")) for name in ("Second", "Fastest")]
    if not all(shape) or fields.get("X-Binary-Size-Third-Dimension", "1") not in ("0", "1"):
        raise SourceError(
            f"Reading {state.path}: its binary section is no single image.",
            "CBF files of several panels or images are not read: convert them to HDF5 (NXmx).",
        )
    element = fields.get("X-Binary-Element-Type", "signed 32-bit integer").strip("\"'; ").lower()
    code = _TYPES_OF_CBF.get(element)
    if code is None:
        raise SourceError(f"Reading {state.path}: its elements are of an unknown type ({element[:40]}).")
    big = "BIG" in fields.get("X-Binary-Element-Byte-Order", "").upper()
    dtype = np.dtype(code).newbyteorder(">" if big else "<")
    pixels, size = shape[0] * shape[1], require_size("the image", shape, dtype.itemsize, state.path)
    if images.compression not in ("byte offset", "none"):
        raise SourceError(
            f"Reading {state.path}: its image is compressed as {images.compression}, which is not decoded.",
            "Convert it to byte offset, which is what detectors write.",
        )
    stored = _positive(fields.get("X-Binary-Size"))
    elements = _positive(fields.get("X-Binary-Number-of-Elements"))
    least = size if images.compression == "none" else pixels
    if (elements and elements != pixels) or (stored and stored < least):
        told = f"{elements} elements" if elements and elements != pixels else f"{stored} bytes for them"
        raise SourceError(
            f"Reading {state.path}: its header says {shape[0]} x {shape[1]} pixels, and {told}.",
            "It may be damaged.",
            kind=ErrorKind.DAMAGED,
        )
    start = len(header) + len(_CBF_STARTS_BINARY)
    if start + stored > state.size:
        raise waited_for(state.path, "truncated file, its image goes beyond its end", state.age, ErrorKind.TRUNCATED)
    stored = stored or _up_to_end(state, start)
    further = _further_images(state, start + stored)
    if further:
        images.notes.append(f"{further} further images in this file were not read")

    def load(position: int) -> np.ndarray:
        raw = _bytes(state, start, stored)
        if images.compression == "none":
            if len(raw) < size:
                raise _short(state, pixels)
            return np.frombuffer(raw, dtype, pixels).reshape(shape)
        return _from_byte_offset(state, raw, pixels).astype(dtype.newbyteorder("=")).reshape(shape)

    return load


def _from_byte_offset(state: FileState, raw: bytes, pixels: int) -> np.ndarray:
    """The pixels of a byte-offset stream, (n,) int64; SourceError where it holds fewer."""
    try:
        from fabio.compression import decByteOffset
    except ImportError as error:
        raise _without_fabio(state) from error
    decoded = np.asarray(decByteOffset(raw + bytes(_PADDING), pixels + _PADDING))
    if len(decoded) < pixels + _PADDING:
        raise _short(state, pixels)
    return decoded[:pixels]


def _short(state: FileState, pixels: int) -> SourceError:
    return SourceError(
        f"Reading {state.path}: its image has {pixels} pixels by its header, and fewer in its bytes.",
        "It may be damaged.",
        kind=ErrorKind.DAMAGED,
    )


def _up_to_end(state: FileState, start: int) -> int:
    """The bytes of a binary section whose header does not say how many there are."""
    end = _bytes(state, start, state.size - start).find(_CBF_ENDS_BINARY)
    if end < 0:
        raise waited_for(state.path, "truncated file, its image does not end", state.age, ErrorKind.TRUNCATED)
    return end


def _further_images(state: FileState, start: int) -> int:
    """Number of binary sections of a CBF file behind a place."""
    count, at, before = 0, start, b""
    while at < state.size and (raw := _bytes(state, at, _LONGEST_HEADER)):
        count += (before + raw).count(_CBF_STARTS_BINARY)
        before, at = raw[1 - len(_CBF_STARTS_BINARY) :], at + len(raw)
    return count


def _edf(images: OpenImages) -> _Load:
    state = images.state
    found = edf_images(state)
    images.header, images.compression, images.count = found[0].text, found[0].compression, len(found)
    others = sum((one.shape, one.dtype) != (found[0].shape, found[0].dtype) for one in found)
    if others:
        images.notes.append(f"{others} of {len(found)} images are of another shape or type, and cannot be read")
    if any(one.compression != "none" for one in found):
        return _by_fabio(images)

    def load(position: int) -> np.ndarray:
        one: EdfImage = found[position]
        return np.frombuffer(_bytes(state, one.start, one.size), one.dtype).reshape(one.shape)

    return load


def _smv(images: OpenImages) -> _Load:
    state = images.state
    header = images.header = _header(state, b"}")
    fields = dict(re.findall(r"^\s*(\w+)\s*=\s*([^;]*);", header, re.MULTILINE))
    item = _BYTES_OF_SMV.get(str(fields.get("TYPE", fields.get("Data_type", "unsigned_short"))).strip(), 4)
    shape = [_positive(fields.get(name)) for name in ("SIZE2", "SIZE1")]
    size = require_size("the image", shape, item, state.path)
    told = _positive(fields.get("HEADER_BYTES")) + size
    if "COMPRESSION" not in fields and told > state.size:
        raise waited_for(state.path, "truncated file, its image goes beyond its end", state.age, ErrorKind.TRUNCATED)
    if "COMPRESSION" not in fields and state.size - told >= size:
        raise SourceError(
            f"Reading {state.path}: its header says {told} bytes, and the file has {state.size}.",
            "It may be damaged.",
            kind=ErrorKind.DAMAGED,
        )
    return _by_fabio(images)


def _by_fabio(images: OpenImages) -> _Load:
    """The images as fabio reads them, which believes what their headers say."""
    state = images.state
    try:
        if state.format == "EDF":
            from fabio.edfimage import EdfImage as Image
        else:
            from fabio.dtrekimage import DtrekImage as Image
    except ImportError as error:
        raise _without_fabio(state) from error
    file = Image().read(state.path)
    found = int(file.nframes)
    if found != images.count:
        raise SourceError(
            f"Reading {state.path}: it has {images.count} images by its headers, and fabio finds {found}.",
            "It may be damaged.",
            kind=ErrorKind.DAMAGED,
        )
    return lambda position: (file if position == 0 else file.getframe(position)).data


def _without_fabio(state: FileState) -> SourceError:
    return SourceError(
        f"Reading {state.path}: {state.format} files are read with fabio, which is not installed.",
        'Install it: pip install "photon-triage[cbf]"',
    )


def _header(state: FileState, before: bytes) -> str:
    raw = _bytes(state, 0, _LONGEST_HEADER)
    end = raw.find(before)
    if end < 0:
        raise waited_for(state.path, "truncated file, its header does not end", state.age, ErrorKind.TRUNCATED)
    return raw[:end].decode("latin-1")


def _bytes(state: FileState, start: int, count: int) -> bytes:
    """Bytes of a file from a place on, fewer where it ends before."""
    descriptor = os.open(state.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return os.pread(descriptor, count, start)
    finally:
        os.close(descriptor)


_READERS: dict[str, Callable[[OpenImages], _Load]] = {"CBF": _cbf, "SMV": _smv, "EDF": _edf}


def _positive(value: str | None) -> int:
    return int(value) if value and value.strip().isdecimal() and len(value) < 16 else 0
