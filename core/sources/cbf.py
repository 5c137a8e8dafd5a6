"""CBF, EDF and SMV files, read with fabio where it is installed.

What they ask for is taken from their text headers first: fabio believes it. Layouts: imgCIF/CBF (Bernstein and
Hammersley 2005) with the headers of DECTRIS detectors, EDF (ESRF), SMV (the .img files of ADSC detectors).
"""

from __future__ import annotations

import os
import re
from typing import Any

import numpy as np

from photon_triage.core.errors import ErrorKind, MissingError, SourceError
from photon_triage.core.sources.headers import text_geometry
from photon_triage.core.sources.info import SourceInfo
from photon_triage.core.sources.limits import STABLE, require_size
from photon_triage.core.sources.names import run_name
from photon_triage.core.sources.opening import FileState, translated, waited_for

_LONGEST_HEADER = 2**20
_CBF_STARTS_BINARY = b"\x0c\x1a\x04\xd5"
_BYTES_OF_CBF = {"8": 1, "16": 2, "32": 4, "64": 8}
_BYTES_OF_SMV = {"unsigned_byte": 1, "unsigned_short": 2, "short": 2, "long": 4, "unsigned_long": 4, "float": 4}
_HEADERS = {"CBF": "DECTRIS", "SMV": "SMV", "EDF": "EDF"}


def inspect_image(state: FileState) -> SourceInfo:
    """What a CBF, EDF or SMV file holds; raises SourceError, and NotYetError while it is shorter than it says."""
    images = OpenImages(state)
    try:
        count = len(images)
        return SourceInfo(
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
            geometry=text_geometry(_HEADERS[state.format], images.header),
            simulated=False,
            run=run_name(state.path, one_of_many=count == 1),
            reason=f"every image of the {state.format} file is a frame",
        )
    finally:
        images.close()


class OpenImages:
    """The images of a CBF, EDF or SMV file, kept open for reading. header: the text of the first."""

    def __init__(self, state: FileState) -> None:
        self.state = state
        self.compression = "none"
        self.header = _header(state)
        _CHECKS[state.format](self)
        with translated(state.path):
            self._file = _opened(state)
            first = self._file.data
            if first is None or first.ndim != 2 or first.dtype.kind not in "iuf":
                raise SourceError(
                    f"Reading {state.path}: fabio finds no image in it.", "It may be damaged.", kind=ErrorKind.DAMAGED
                )
            self._first: np.ndarray = first
        self.dtype: np.dtype[Any] = np.dtype(first.dtype).newbyteorder("=")
        self.shape = (int(first.shape[0]), int(first.shape[1]))

    def __len__(self) -> int:
        return int(self._file.nframes)

    def read(self, start: int, stop: int, out: np.ndarray) -> None:
        """Images start .. stop-1 into `out`, (n, height, width)."""
        if stop > len(self):
            raise MissingError(f"Reading {self.state.path}: image {stop - 1} was asked for, it has {len(self)}.")
        with translated(self.state.path):
            for position in range(start, stop):
                image = self._first if position == 0 else self._file.getframe(position).data
                if image is None or image.shape != self.shape:
                    raise SourceError(f"Reading {self.state.path}: image {position} is not of the first one's shape.")
                out[position - start] = image

    def present(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Of the images start .. stop-1 those that are in the file, as ranges."""
        return [(start, min(stop, len(self)))] if start < len(self) else []

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def _opened(state: FileState) -> Any:
    try:
        match state.format:
            case "CBF":
                from fabio.cbfimage import CbfImage as Image
            case "EDF":
                from fabio.edfimage import EdfImage as Image
            case _:
                from fabio.dtrekimage import DtrekImage as Image
    except ImportError as error:
        raise SourceError(
            f"Reading {state.path}: {state.format} files are read with fabio, which is not installed.",
            'Install it: pip install "photon-triage[cbf]"',
        ) from error
    return Image().read(state.path)


def _header(state: FileState) -> str:
    with translated(state.path):
        descriptor = os.open(state.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            raw = os.pread(descriptor, _LONGEST_HEADER, 0)
        finally:
            os.close(descriptor)
    end = raw.find(_CBF_STARTS_BINARY if state.format == "CBF" else b"}")
    if end < 0:
        raise waited_for(state.path, "truncated file, its header does not end", state.age, ErrorKind.TRUNCATED)
    return raw[:end].decode("latin-1")


def _check_cbf(images: OpenImages) -> None:
    state, header = images.state, images.header
    fields = dict(re.findall(r"^(X-Binary-[A-Za-z-]+):\s*(\S.*?)\s*$", header, re.MULTILINE))
    kind = re.search(r'conversions="?x-CBF_([A-Z_0-9]+)', header)
    images.compression = kind[1].replace("_", " ").lower() if kind else "none"
    bits = re.search(r"(\d+)-bit", fields.get("X-Binary-Element-Type", ""))
    shape = [_positive(fields.get(f"X-Binary-Size-{name}-Dimension")) for name in ("Second", "Fastest")]
    if not all(shape) or fields.get("X-Binary-Size-Third-Dimension", "1") not in ("0", "1"):
        raise SourceError(
            f"Reading {state.path}: its binary section is no single image.",
            "CBF files of several panels or images are not read: convert them to HDF5 (NXmx).",
        )
    require_size("the image", shape, _BYTES_OF_CBF.get(bits[1] if bits else "32", 8), state.path)
    if images.compression not in ("byte offset", "none"):
        raise SourceError(
            f"Reading {state.path}: its image is compressed as {images.compression}, which fabio does not decode.",
            "Convert it to byte offset, which is what detectors write.",
        )
    if len(header) + len(_CBF_STARTS_BINARY) + _positive(fields.get("X-Binary-Size")) > state.size:
        raise waited_for(state.path, "truncated file, its image goes beyond its end", state.age, ErrorKind.TRUNCATED)


def _check_smv(images: OpenImages) -> None:
    state, header = images.state, images.header
    fields = dict(re.findall(r"^\s*(\w+)\s*=\s*([^;]*);", header, re.MULTILINE))
    item = _BYTES_OF_SMV.get(str(fields.get("TYPE", fields.get("Data_type", "unsigned_short"))).strip(), 4)
    shape = [_positive(fields.get(name)) for name in ("SIZE2", "SIZE1")]
    size = require_size("the image", shape, item, state.path)
    if "COMPRESSION" not in fields and _positive(fields.get("HEADER_BYTES")) + size > state.size:
        raise waited_for(state.path, "truncated file, its image goes beyond its end", state.age, ErrorKind.TRUNCATED)


def _check_edf(images: OpenImages) -> None:
    state, header = images.state, images.header
    fields = {name.lower(): value for name, value in re.findall(r"^\s*(\w+)\s*=\s*([^;]*?)\s*;", header, re.MULTILINE)}
    if "edf_binaryfilename" in fields:
        raise SourceError(f"Reading {state.path}: it keeps its pixels in another file (EDF_BinaryFileName).")
    images.compression = fields.get("compression", "none").lower()
    shape = [_positive(fields.get(name)) for name in ("dim_2", "dim_1")]
    size = require_size("the image", shape, 8, state.path)
    told = _positive(fields.get("edf_binarysize", fields.get("size"))) or (size // 8 if size else 0)
    if len(header) + told > state.size:
        raise waited_for(state.path, "truncated file, its image goes beyond its end", state.age, ErrorKind.TRUNCATED)


_CHECKS = {"CBF": _check_cbf, "SMV": _check_smv, "EDF": _check_edf}


def _positive(value: str | None) -> int:
    return int(value) if value and value.strip().isdecimal() and len(value) < 16 else 0
