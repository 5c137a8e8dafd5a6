"""TIFF files as cameras and programs write them, small."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

PILATUS_DESCRIPTION = """# Detector: PILATUS 1M, 10-0005, PSI
# Pixel_size 172e-6 m x 172e-6 m
# Wavelength 0.9763 A
# Detector_distance 0.18700 m
# Beam_xy (489.10, 525.00) pixels
"""


def write_with_thumbnails(path: Path, frames: Any) -> Path:
    """Every frame followed by a small copy that is marked as one, as in an LSM file."""
    facts = struct.pack("<I", 0x0400494C).ljust(1000, b"\0")
    with tifffile.TiffWriter(path) as file:
        for frame in frames:
            tags = [(34412, 1, len(facts), facts, True)]
            file.write(frame, photometric="minisblack", metadata=None, extratags=tags)
            file.write(frame[::4, ::4], photometric="minisblack", metadata=None, subfiletype=1)
    return path


def write_ome(path: Path, frames: Any, *, label: Any = None) -> Path:
    """An OME-TIFF with a pyramid below each plane, and a second series of one small picture, the slide's label."""
    with tifffile.TiffWriter(path, ome=True) as file:
        file.write(frames, subifds=1, photometric="minisblack", metadata={"axes": "TYX"})
        file.write(frames[:, ::2, ::2], subfiletype=1, photometric="minisblack", metadata=None)
        if label is not None:
            file.write(label, photometric="minisblack", metadata={"axes": "YX"})
    return path


def write_imagej_virtual(path: Path, frames: Any) -> Path:
    """A hyperstack as ImageJ writes large ones: one page, the images behind it."""
    count = len(frames)
    text = f"ImageJ=1.53t\nimages={count}\nframes={count}\nhyperstack=true\n"
    first = frames[0]
    tifffile.imwrite(path, first, photometric="minisblack", description=text, metadata=None, byteorder=">")
    return _append(path, frames, ">")


def write_stk(path: Path, frames: Any) -> Path:
    """A MetaMorph stack: one page with the tag UIC2 of one entry an image, the images behind it."""
    count = len(frames)
    entries = np.zeros(6 * count, "<u4").tobytes()
    # UIC2 says n, and holds six integers for each of the n images: tifffile is told the rest afterwards.
    tags = [(33628, 5, 1, (0, 0), True), (33629, 4, 6 * count, entries, True)]
    tifffile.imwrite(path, frames[0], photometric="minisblack", metadata=None, extratags=tags, byteorder="<")
    _append(path, frames, "<")
    raw = bytearray(path.read_bytes())
    at = raw.index(struct.pack("<HHI", 33629, 4, 6 * count))
    raw[at + 2 : at + 8] = struct.pack("<HI", 5, count)
    path.write_bytes(raw)
    return path


def _append(path: Path, frames: Any, order: str) -> Path:
    """The file with its first image moved to its end, and the others behind that."""
    with tifffile.TiffFile(path) as file:
        tag = file.pages.first.tags[273]
        place, kind = tag.valueoffset, "I"
    raw = bytearray(path.read_bytes())
    raw[place : place + 4] = struct.pack(f"{order}{kind}", len(raw))
    path.write_bytes(raw + np.ascontiguousarray(frames, frames.dtype.newbyteorder(order)).tobytes())
    return path


def write_packed(path: Path, frame: Any, bits: int) -> Path:
    """A page whose pixels have fewer bits than a byte, or twelve, without gaps between them."""
    height, width = frame.shape
    rows = [np.unpackbits(row.astype(">u2").view("u1").reshape(-1, 2), axis=1)[:, 16 - bits :] for row in frame]
    data = b"".join(np.packbits(row.ravel()).tobytes() for row in rows)
    fields = {256: width, 257: height, 258: bits, 259: 1, 262: 1, 273: 8, 277: 1, 278: height, 279: len(data)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(fields.items()))
    directory = struct.pack("<H", len(fields)) + entries + bytes(4)
    path.write_bytes(b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory)
    return path
