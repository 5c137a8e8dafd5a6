"""Formats of detector files, and the one way to open a file: engine, commands and screens all come through here.

`look` tells the format of a file, `probe` what it holds, `open_frames` opens its frames; `inspect`, `read_frames` and
`read_mask` do so in this process, for scripts and tests, where an engine reads through `FrameReader`. The code of a
format is loaded when a file of it is met. Formats of other packages are entry points (see `OtherFormat`), whose code is
loaded by these functions alone, so that it runs in reader processes.
"""

from __future__ import annotations

import os
import re
import stat
import struct
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint
from typing import Protocol, cast, runtime_checkable

import numpy as np

from photon_triage.core.common.errors import ErrorKind, SourceError
from photon_triage.core.sources.common.file_probe import (
    ABANDONED,
    HDF5_SIGNATURE,
    FileState,
    age_of,
    find_superblock,
    parse_superblock,
    regular_file,
    require_count,
    require_size,
    translated,
    waited_for,
)
from photon_triage.core.sources.common.info import OpenFrames, ProbeOptions, SourceInfo, StackLayout

GROUP = "photon_triage.formats"
"""Entry points of formats of other packages."""

START = 1024
"""Bytes of a file's start that tell its format: those of an MRC header."""

READ = "HDF5, TIFF and MRC; CBF, EDF and SMV with the extra `cbf`"

COMPRESSED = (".gz", ".bz2", ".xz", ".zst")
"""Endings of files that are compressed as a whole: they are named with what to do, not read."""

_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_EDF_FIELD = re.compile(rb"^[\s{]*[\w:.-]+\s*=[^;]*;", re.MULTILINE)
"""A field of an EDF header, which no JSON text has: a name without quotes, a value, a semicolon."""

_MRC_MODES = frozenset({0, 1, 2, 3, 4, 6, 7, 12, 16, 101})
_MRC_MAP_AT = 208
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


class SourceFormat(Protocol):
    """The code of a format, most simply a module with these functions."""

    def probe(self, state: FileState, options: ProbeOptions) -> tuple[SourceInfo, OpenFrames | None]:
        """What a file holds, and its frames where they are open already; raises SourceError, NotYetError."""

    def open_frames(self, state: FileState, dataset: str, layout: StackLayout | None) -> OpenFrames:
        """The frames of a file, open until closed. dataset, layout: as `probe` reported them."""


@runtime_checkable
class MaskedFormat(SourceFormat, Protocol):
    """A format whose files may hold a mask."""

    def read_mask(self, state: FileState, info: SourceInfo) -> np.ndarray:
        """The mask, (height, width) bool, True where a pixel is valid."""


class OtherFormat(SourceFormat, Protocol):
    """A format of another package: an object, or a module, that an entry point of the group `GROUP` names.

    The name of the entry point is the format's name and the suffixes of its files, "NAME.suffix.suffix": so that they
    are listed without loading the package.
    """

    def recognises(self, start: bytes) -> bool:
        """True where the first `START` bytes are those of this format; called for files of its suffixes."""


def _begins_as_mrc(start: bytes) -> bool:
    return start[_MRC_MAP_AT : _MRC_MAP_AT + 3] == b"MAP" and mrc_order(start) is not None


def _begins_as_smv(start: bytes) -> bool:
    text = start[:64].lstrip()
    return text.startswith(b"{") and text[1:].lstrip().startswith(b"HEADER_BYTES")


def _begins_as_edf(start: bytes) -> bool:
    return start[:64].lstrip().startswith(b"{") and _EDF_FIELD.search(start) is not None


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


@dataclass(frozen=True, slots=True)
class RegisteredFormat:
    """A format that is built in.

    suffixes: the endings of its files' names; a file's bytes decide, the name only what is waited for. module: its
    code, a SourceFormat. begins: whether a file's first `START` bytes are those of this format.
    """

    name: str
    suffixes: tuple[str, ...]
    module: str
    begins: Callable[[bytes], bool]


FORMATS = (
    RegisteredFormat(
        "HDF5",
        (".h5", ".hdf5", ".hdf", ".he5", ".nxs", ".nx", ".nx5", ".nexus", ".cxi", ".emd"),
        "hdf5.source",
        lambda start: start.startswith(HDF5_SIGNATURE),
    ),
    RegisteredFormat(
        "TIFF",
        (".tif", ".tiff", ".btf", ".tf8", ".lsm", ".stk", ".mccd"),
        "tiff.source",
        lambda start: start.startswith(_TIFF_STARTS),
    ),
    RegisteredFormat(
        "MRC", (".mrc", ".mrcs", ".st", ".rec", ".map", ".ccp4", ".ali", ".preali"), "mrc", _begins_as_mrc
    ),
    RegisteredFormat("CBF", (".cbf",), "cbf", lambda start: start.startswith(b"###CBF")),
    RegisteredFormat("SMV", (".img",), "cbf", _begins_as_smv),
    RegisteredFormat("EDF", (".edf",), "cbf", _begins_as_edf),
)
"""One line a format, in the order in which they are tried."""

_BUILT_IN = {format.name: format for format in FORMATS}
_SUFFIXES = tuple(suffix for format in FORMATS for suffix in format.suffixes)


@cache
def other_formats() -> dict[str, tuple[tuple[str, ...], EntryPoint]]:
    """Formats of other packages by name, with the suffixes of their files; nothing of them is loaded.

    Names and suffixes of formats that are built in cannot be taken.
    """
    from importlib.metadata import entry_points

    formats = {}
    for entry in entry_points(group=GROUP):
        name, *endings = entry.name.split(".")
        suffixes = tuple(f".{ending.lower()}" for ending in endings)
        if (free := tuple(suffix for suffix in suffixes if suffix not in _SUFFIXES)) and name not in _BUILT_IN:
            formats[name] = free, entry
    return formats


@cache
def _loaded(name: str) -> SourceFormat:
    """The code of a format; SourceError where that of another package cannot be loaded."""
    if name in _BUILT_IN:
        return cast(SourceFormat, import_module(f"{__package__}.{_BUILT_IN[name].module}"))
    entry = other_formats()[name][1]
    try:
        return cast(SourceFormat, entry.load())
    except (Exception, SystemExit) as error:
        raise SourceError(
            f"Loading the format {name} ({entry.value}): {error or type(error).__name__}.",
            "Repair or remove the package that provides it.",
        ) from error


def suffixes() -> tuple[str, ...]:
    """The endings of the names of detector files, also of those that are compressed as a whole."""
    plain = (*_SUFFIXES, *(suffix for endings, _ in other_formats().values() for suffix in endings))
    return (*plain, *(suffix + ending for suffix in plain for ending in COMPRESSED))


def format_of(start: bytes) -> str | None:
    """The built-in format that a file's first bytes show, None for none (HDF5 may begin further on)."""
    return next((format.name for format in FORMATS if format.begins(start)), None)


def _format_by_name(path: str) -> str | None:
    """The format that a file's name promises, also where it is compressed as a whole."""
    lower = path.lower()
    for ending in COMPRESSED:
        lower = lower.removesuffix(ending)
    if lower.endswith(_SUFFIXES):
        return next(format.name for format in FORMATS if lower.endswith(format.suffixes))
    return next((name for name, (endings, _) in other_formats().items() if lower.endswith(endings)), None)


def _recognised_by_other(name: str, start: bytes) -> tuple[bool, str]:
    """True where a format of another package recognises a file's first bytes, and why it could not be called."""
    try:
        return bool(cast(OtherFormat, _loaded(name)).recognises(start)), ""
    except SourceError as error:
        return False, error.message.rstrip(".")
    except Exception as error:
        return False, f"the format {name} could not be asked: {type(error).__name__}: {error}"


def look(path: str | os.PathLike[str], roots: Sequence[str] = ()) -> FileState:
    """What a file is, from its first bytes; raises NotYetError while it is empty or shows no signature.

    roots: folders, beside its own, to which its links may lead.
    """
    real = regular_file(path)
    with translated(real):
        descriptor = os.open(real, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise SourceError(f"Opening {real}: it is no regular file.", "Only regular files are read.")
            start = os.pread(descriptor, START, 0)
            known = format_of(start)
            at, raw = (0, start) if known else find_superblock(descriptor)
        finally:
            os.close(descriptor)
    facts = (found.st_size, found.st_mtime_ns, found.st_dev, found.st_ino, age_of(found.st_mtime_ns))
    promised = _format_by_name(real)
    note = ""
    if promised is not None and promised not in _BUILT_IN:
        recognised, note = _recognised_by_other(promised, start)
        if recognised:
            return FileState(real, promised, *facts)
    notes = (note,) if note else ()
    if known not in (None, "HDF5"):
        return FileState(real, str(known), *facts, notes=notes)
    if raw.startswith(HDF5_SIGNATURE):
        superblock = parse_superblock(raw, at)
        if superblock is None or superblock.end > found.st_size:
            raise waited_for(real, "truncated file, it is shorter than it says", facts[-1], ErrorKind.TRUNCATED)
        return FileState(
            real,
            "HDF5",
            *facts,
            superblock=superblock.version,
            writing=superblock.writing,
            swmr=superblock.swmr,
            roots=tuple(os.path.realpath(os.path.expanduser(root)) for root in roots),  # noqa: PTH111
            notes=notes,
        )
    other = next((name for signature, name in _OTHERS.items() if start.startswith(signature)), None)
    if other:
        raise SourceError(f"Opening {real}: it is {other}.", f"Read are {READ}.")
    if note:
        raise SourceError(f"Opening {real}: {note}.", "Repair or remove the package that provides this format.")
    if promised == "MRC" and mrc_order(start):  # written before the format had its mark at byte 208
        return FileState(real, "MRC", *facts)
    if promised is None:
        raise SourceError(f"Opening {real}: it is of no format that is read.", f"Read are {READ}.")
    if found.st_size and facts[-1] > ABANDONED:
        raise SourceError(
            f"Opening {real}: its name promises {promised}, and it does not begin as {promised} does.",
            f"Read are {READ}; if its writer was killed, or a transfer broke off, it holds nothing to read.",
            kind=ErrorKind.DAMAGED,
        )
    reason = f"it does not begin as {promised} does" if found.st_size else "it is empty"
    raise waited_for(real, reason, facts[-1])


def probe(state: FileState, options: ProbeOptions = ProbeOptions()) -> tuple[SourceInfo, OpenFrames | None]:  # noqa: B008 - frozen
    """What a file holds, see `inspect`, and its frames where they are open already; the caller closes them."""
    with translated(state.path):
        info, frames = _loaded(state.format).probe(state, options)
        try:
            require_count(info.frames, info.path)
        except BaseException:
            if frames is not None:
                frames.close()
            raise
    return (replace(info, notes=(*info.notes, *state.notes)) if state.notes else info), frames


def open_frames(state: FileState, dataset: str, layout: StackLayout | None = None) -> OpenFrames:
    """The frames of a file, open until closed.

    layout: where those of an HDF5 file were found before; reading raises StaleLayoutError where they are there no more.
    """
    with translated(state.path):
        return _loaded(state.format).open_frames(state, dataset, layout)


def inspect(
    path: str | os.PathLike[str],
    dataset: str | None = None,
    *,
    explain: bool = False,
    around: bool = False,
    any_image: bool = False,
    roots: Sequence[str] = (),
) -> SourceInfo:
    """What a file holds; `dataset` names one where the file has several.

    explain, around, any_image: see ProbeOptions. roots: folders, beside its own, to which its links may lead.
    Raises NotYetError where the file is worth another look, SourceError where it is not.
    """
    info, frames = probe(look(path, roots), ProbeOptions(dataset, explain, around, any_image))
    if frames is not None:
        frames.close()
    return info


def require_range(start: int, stop: int, path: str) -> None:
    """SourceError where start .. stop-1 names no frames."""
    if not 0 <= start < stop:
        raise SourceError(f"Reading {path}: expected a range of frames, got {start} to {stop}.")


def read_frames(
    path: str | os.PathLike[str], dataset: str, start: int, stop: int, *, roots: Sequence[str] = ()
) -> np.ndarray:
    """Frames start .. stop-1, (n, height, width) in the file's dtype, native byte order.

    Raises NotYetError where one of them is not written yet, SourceError where one cannot be read.
    """
    state = look(path, roots)
    require_range(start, stop, state.path)
    frames = open_frames(state, dataset)
    with translated(state.path), closing(frames):
        shape = (stop - start, *frames.shape)
        require_size("the frames asked for", shape, frames.dtype.itemsize, state.path)
        out = np.empty(shape, frames.dtype)
        frames.read(start, stop, out)
        return out


def read_mask(info: SourceInfo, *, roots: Sequence[str] = ()) -> np.ndarray | None:
    """The mask of a file, (height, width) bool, True where a pixel is valid; None where the file has none."""
    if info.mask is None:
        return None
    state = look(info.path, roots)
    code = _loaded(state.format)
    with translated(state.path):
        return code.read_mask(state, info) if isinstance(code, MaskedFormat) else None
