"""Which format a file has, from its first bytes."""

from __future__ import annotations

import re
import struct

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
START = 1024
"""Bytes of a file's start that tell its format: those of an MRC header."""

SUFFIXES_OF = {
    "HDF5": (".h5", ".hdf5", ".hdf", ".he5", ".nxs", ".nx", ".nx5", ".nexus", ".cxi", ".emd"),
    "TIFF": (".tif", ".tiff", ".btf", ".tf8", ".lsm", ".stk", ".mccd"),
    "MRC": (".mrc", ".mrcs", ".st", ".rec", ".map", ".ccp4", ".ali", ".preali"),
    "CBF": (".cbf",),
    "EDF": (".edf",),
    "SMV": (".img",),
}
"""The endings of the names that each format's files have; a file's bytes decide, the name only what is waited for."""

READ = "HDF5, TIFF and MRC; CBF, EDF and SMV with the extra `cbf`"

_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_OTHERS = {
    b"\x0e\x03\x13\x01": "HDF4, which HDF5 readers cannot open: convert it (h4toh5)",
    b"\x1f\x8b": "compressed as a whole (gzip): decompress it",
    b"BZh": "compressed as a whole (bzip2): decompress it",
    b"\xfd7zXZ\0": "compressed as a whole (xz): decompress it",
    b"\x28\xb5\x2f\xfd": "compressed as a whole (Zstandard): decompress it",
    b"PK\x03\x04": "a ZIP archive: unpack it",
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"\x93NUMPY": "a NumPy array",
    b"\0\0\0\x03\0\0\0": "Digital Micrograph DM3",
    b"\0\0\0\x04\0\0\0": "Digital Micrograph DM4",
    b"II\x97\x01": "a FEI/TIA SER file",
    b"SIMPLE  =": "FITS",
    b"CDF\x01": "netCDF-3",
    b"CDF\x02": "netCDF-3",
}
_EDF_FIELD = re.compile(rb"^[\s{]*[\w:.-]+\s*=[^;]*;", re.MULTILINE)
"""A field of an EDF header, which no JSON text has: a name without quotes, a value, a semicolon."""

COMPRESSED = (".gz", ".bz2", ".xz", ".zst")
"""Endings of files that are compressed as a whole: they are named with what to do, not read."""

_MRC_MODES = frozenset({0, 1, 2, 3, 4, 6, 7, 12, 16, 101})
_MRC_MAP_AT = 208


def format_of(start: bytes) -> str | None:
    """The format that a file's first bytes show, None where it is none that is read (HDF5 may begin further on)."""
    if start.startswith(HDF5_SIGNATURE):
        return "HDF5"
    if start.startswith(_TIFF_STARTS):
        return "TIFF"
    if start.startswith(b"###CBF"):
        return "CBF"
    text = start[:64].lstrip()
    if text.startswith(b"{"):
        if text[1:].lstrip().startswith(b"HEADER_BYTES"):
            return "SMV"
        return "EDF" if _EDF_FIELD.search(start) else None
    return "MRC" if start[_MRC_MAP_AT : _MRC_MAP_AT + 3] == b"MAP" and mrc_order(start) else None


def mrc_order(header: bytes) -> str | None:
    """The byte order, "<" or ">", under which the first words are those of an MRC file; None where they are not.

    MRC2014 (Cheng et al. 2015): columns, rows, sections, mode. Mode 7 is 32-bit integers in old files.
    """
    if len(header) < START:
        return None
    for order in "<>":
        columns, rows, sections, mode = struct.unpack_from(f"{order}4i", header)
        if min(columns, rows) > 0 and sections >= 0 and mode in _MRC_MODES:
            return order
    return None


def other_format(start: bytes) -> str | None:
    """What a file is that is not read, where its first bytes tell."""
    return next((name for signature, name in _OTHERS.items() if start.startswith(signature)), None)


def format_by_name(name: str) -> str | None:
    """The format that a file's name promises, also where it is compressed as a whole."""
    lower = name.lower()
    for ending in COMPRESSED:
        lower = lower.removesuffix(ending)
    return next((format for format, endings in SUFFIXES_OF.items() if lower.endswith(endings)), None)
