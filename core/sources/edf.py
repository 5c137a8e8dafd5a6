"""The images of an EDF file by its text headers: their shapes, types and places, before anything is read.

Layout: EDF, the format of the ESRF (Boesecke 2007; the headers that fabio reads): a header in braces before each image.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from photon_triage.core.common.errors import ErrorKind, SourceError
from photon_triage.core.sources.common.file_probe import FileState, require_size, waited_for

LONGEST_HEADER = 2**20
_MOST_IMAGES = 1_000_000
_FIRST_READ = 2**12
_END = re.compile(rb"\}\r?\n|\}$")
_FIELD = re.compile(r"^[\s{]*([\w:.-]+)\s*=\s*([^;]*?)\s*;", re.MULTILINE)
_TYPES = {
    **dict.fromkeys(("signedbyte", "signed8", "signedchar"), "i1"),
    **dict.fromkeys(("unsignedbyte", "unsigned8", "unsignedchar"), "u1"),
    **dict.fromkeys(("signedshort", "short", "signed16"), "i2"),
    **dict.fromkeys(("unsignedshort", "unsigned16"), "u2"),
    **dict.fromkeys(("signedinteger", "integer", "signedlong", "long", "signed32"), "i4"),
    **dict.fromkeys(("unsignedinteger", "unsignedlong", "unsigned32"), "u4"),
    "signed64": "i8",
    "unsigned64": "u8",
    **dict.fromkeys(("float", "floatvalue", "floatieee32", "float32", "real"), "f4"),
    **dict.fromkeys(("double", "doublevalue", "doubleieee64", "float64"), "f8"),
}
_ORDERS = {"lowbytefirst": "<", "highbytefirst": ">"}


@dataclass(frozen=True, slots=True)
class EdfImage:
    """An image: (rows, columns), its type, and where its bytes lie in the file. text: its header."""

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    compression: str
    start: int
    size: int
    text: str


def edf_images(state: FileState) -> list[EdfImage]:
    """All images of an EDF file, in order.

    Raises SourceError where a header contradicts itself or the file's size, NotYetError while the file may be growing.
    """
    images: list[EdfImage] = []
    descriptor = os.open(state.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        at = 0
        while len(images) < _MOST_IMAGES:
            header = _header(descriptor, at)
            if header is None:
                rest = os.pread(descriptor, _FIRST_READ, at)
                if images and not rest.strip(b"\0 \r\n"):
                    return images
                what = "its header does not end" if rest.lstrip().startswith(b"{") else "no header follows"
                raise waited_for(
                    state.path,
                    f"truncated file, {what} behind {len(images)} images, at byte {at} of {state.size}",
                    state.age,
                    ErrorKind.TRUNCATED,
                )
            text, start = header
            image = _image(state, text, start, len(images))
            if start + image.size > state.size:
                raise waited_for(
                    state.path,
                    f"truncated file, image {len(images)} needs {image.size} bytes from byte {start} on, and the file "
                    f"has {state.size}",
                    state.age,
                    ErrorKind.TRUNCATED,
                )
            images.append(image)
            at = start + image.size
    finally:
        os.close(descriptor)
    raise SourceError(
        f"Reading {state.path}: it has more than {_MOST_IMAGES} images.", "It may be damaged.", kind=ErrorKind.DAMAGED
    )


def _header(descriptor: int, at: int) -> tuple[str, int] | None:
    """The text of the header at a place, and where it ends; None where there is none."""
    size = _FIRST_READ
    while True:
        raw = os.pread(descriptor, size, at)
        if not raw.lstrip(b"\0 \r\n").startswith(b"{"):
            return None
        end = _END.search(raw)
        if end is not None and (end.end() < len(raw) or len(raw) < size):
            return raw[: end.end()].decode("latin-1"), at + end.end()
        if len(raw) < size or size > LONGEST_HEADER:
            return None
        size *= 4


def _image(state: FileState, text: str, start: int, number: int) -> EdfImage:
    fields = {name.lower(): value for name, value in _FIELD.findall(text)}
    if "edf_binaryfilename" in fields:
        raise SourceError(f"Reading {state.path}: it keeps its pixels in another file (EDF_BinaryFileName).")
    shape = _positive(fields.get("dim_2")), _positive(fields.get("dim_1"))
    kind, order = fields.get("datatype", ""), fields.get("byteorder", "")
    code = _TYPES.get(kind.lower())
    if code is None or not all(shape) or (order.lower() not in _ORDERS and not code.endswith("1")):
        facts = {name: fields.get(name.lower(), "missing") for name in ("Dim_1", "Dim_2", "DataType", "ByteOrder")}
        raise SourceError(
            f"Reading {state.path}: image {number} is not understood: "
            f"{', '.join(f'{name} = {value}' for name, value in facts.items())}.",
            "Read are images of two axes of the types that EDF names.",
        )
    dtype: np.dtype[Any] = np.dtype(f"{_ORDERS.get(order.lower(), '<')}{code}")
    if _positive(fields.get("dim_3")) > 1:
        raise SourceError(
            f"Reading {state.path}: image {number} has {fields['dim_3']} planes (Dim_3), which are not read.",
            "Write each plane as an image of its own.",
        )
    pixels = require_size("the image", shape, dtype.itemsize, state.path)
    told = _positive(fields.get("edf_binarysize")) or _positive(fields.get("size"))
    compression = fields.get("compression", "none").lower()
    if compression not in ("none", "") and told:
        return EdfImage(shape, dtype, compression, start, told, text)
    if told and told != pixels:
        raise SourceError(
            f"Reading {state.path}: image {number} says {shape[0]} x {shape[1]} pixels of {kind}, {pixels} bytes, and "
            f"a size of {told} bytes.",
            "It may be damaged; or its header was edited.",
            kind=ErrorKind.DAMAGED,
        )
    return EdfImage(shape, dtype, "none", start, pixels, text)


def _positive(value: str | None) -> int:
    return int(value) if value and value.strip().isdecimal() and len(value) < 16 else 0
