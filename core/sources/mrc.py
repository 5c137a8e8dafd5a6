"""MRC files: image stacks, tilt series and volumes, a frame a section.

Layout: MRC2014 (Cheng et al. 2015, J. Struct. Biol. 192, 146), and IMOD's mark of unsigned bytes.
"""

from __future__ import annotations

import io
import os
import struct
import warnings
from contextlib import ExitStack
from typing import Any

import mrcfile.utils
import numpy as np
from mrcfile.mrcinterpreter import MrcInterpreter

from photon_triage.core.common.errors import ErrorKind, MissingError, SourceError
from photon_triage.core.frames import Geometry
from photon_triage.core.sources.common.file_probe import (
    ABANDONED,
    SILENT,
    STABLE,
    CutShortError,
    FileState,
    require_size,
    translated,
    waited_for,
    without_blank_end,
)
from photon_triage.core.sources.common.info import ProbeOptions, SourceInfo, StackLayout
from photon_triage.core.sources.common.names import require_frames, run_name
from photon_triage.core.sources.registry import START

_NOT_READ = {3: "complex numbers", 4: "complex numbers", 7: "32-bit integers", 16: "colours", 101: "4-bit integers"}
_EXTENDED_AT = slice(92, 96)
_IMOD_AT = 152
_IMOD_STAMP = 1146047817
_SIGNED = 1
_MOST_LACKING = 1_000_000
"""Sections: no run of a microscope has so many."""


def probe(state: FileState, options: ProbeOptions) -> tuple[SourceInfo, OpenSections]:
    """What an MRC file holds; raises SourceError, and NotYetError while it has no whole section."""
    require_frames(state.path, any_image=options.any_image)
    with translated(state.path), ExitStack() as opened:
        sections = OpenSections(state)
        opened.callback(sections.close)
        sections.require_size_of_file()
        available = sections.available()
        if not available:
            raise waited_for(
                state.path, "truncated file, its first section is not whole", state.age, ErrorKind.TRUNCATED
            )
        whole = available == len(sections)
        info = SourceInfo(
            path=state.path,
            format="MRC",
            layout="MRC volume" if sections.is_volume else "MRC stack",
            dataset="",
            frames=len(sections),
            available=available,
            complete=(whole and state.age >= STABLE) or state.age >= ABANDONED,
            shape=sections.shape,
            dtype=sections.dtype.name,
            compression="none",
            mask=None,
            geometry=Geometry(),
            simulated=False,
            run=run_name(state.path, one_of_many=len(sections) == 1),
            reason="every section of the MRC file is a frame",
            notes=sections.notes(),
        )
        opened.pop_all()  # the file stays open, for reading
        return info, sections


def open_frames(state: FileState, dataset: str = "", layout: StackLayout | None = None) -> OpenSections:
    """The sections of an MRC file, open until closed."""
    return OpenSections(state)


class OpenSections:
    """The sections of an MRC file, kept open for reading.

    A section is read when it is asked for, so a file of any size costs the memory of what is read.
    """

    def __init__(self, state: FileState) -> None:
        self.state = state
        self._descriptor = os.open(state.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            with translated(state.path):
                raw = os.pread(self._descriptor, START, 0)
                self._header = _parsed(raw)
                self._stored = self._dtype(raw)
        except BaseException:
            self.close()
            raise
        header = self._header
        self._count = max(0, int(header.nz))
        self._start = START + max(0, int(header.nsymbt))
        self.shape = (int(header.ny), int(header.nx))
        self._bytes = require_size("one section", self.shape, self._stored.itemsize, state.path)

    def __len__(self) -> int:
        return self._count

    @property
    def dtype(self) -> np.dtype[Any]:
        """The sections' dtype, native byte order."""
        return self._stored.newbyteorder("=")

    @property
    def is_volume(self) -> bool:
        """Whether the sections are slices of a volume (or of several), not images of a stack."""
        return int(self._header.ispg) != 0

    def notes(self) -> tuple[str, ...]:
        """What else the header says."""
        header, told = self._header, []
        depth = int(header.mz)
        if mrcfile.utils.spacegroup_is_volume_stack(int(header.ispg)) and depth > 0 and len(self) > depth:
            told.append(f"{len(self) // depth} volumes of {depth} sections each")
        if int(header.nsymbt) > 0:
            kind = bytes(header.exttyp).decode("ascii", "replace").strip("\0 ") or "of no named kind"
            told.append(f"an extended header of {int(header.nsymbt)} bytes ({kind}) is passed over")
        if header.cella.x > 0 and header.mx > 0:
            told.append(f"voxels of {float(header.cella.x) / int(header.mx):.4g} angstrom")
        return tuple(told)

    def require_size_of_file(self) -> None:
        """SourceError where the header contradicts the file's size; NotYetError while the file may be growing.

        A file that is longer than its header says begins elsewhere, or holds sections that the header does not count.
        One that is shorter is growing or was cut short, unless what it lacks is beyond all measure.
        """
        rest = self.state.size - self._start - self._count * self._bytes
        if rest <= 0 and -rest // max(1, self._bytes) < _MOST_LACKING:
            return
        header = self._header
        raise waited_for(
            self.state.path,
            f"its header says {self._count} sections of {header.ny} x {header.nx} pixels (mode {header.mode}) behind "
            f"{self._start} bytes, {self._start + self._count * self._bytes} bytes in all, and the file has "
            f"{self.state.size}",
            self.state.age,
        )

    def available(self) -> int:
        """The sections that are written: those within the file, but no blank ones at the end of one that changes.

        A memory-mapped file has its final size from its first section on.
        """
        within = min(self._count, max(0, self.state.size - self._start) // max(1, self._bytes))
        if self.state.age >= SILENT:
            return within
        return without_blank_end(within, lambda section: not np.any(self._section(section)))

    def read(self, start: int, stop: int, out: np.ndarray) -> None:
        """Sections start .. stop-1 into `out`, (n, height, width)."""
        with translated(self.state.path):
            for section in range(start, stop):
                out[section - start] = self._section(section)

    def present(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Of the sections start .. stop-1 those that are in the file, as ranges."""
        stop = min(stop, self._count, max(0, self.state.size - self._start) // max(1, self._bytes))
        return [(start, stop)] if start < stop else []

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._descriptor)

    def _section(self, section: int) -> np.ndarray:
        raw = os.pread(self._descriptor, self._bytes, self._start + section * self._bytes)
        if section >= self._count or len(raw) < self._bytes:
            raise MissingError(f"Reading {self.state.path}: section {section} was asked for, and is not in the file.")
        return np.frombuffer(raw, self._stored).reshape(self.shape)

    def _dtype(self, raw: bytes) -> np.dtype[Any]:
        header, path = self._header, self.state.path
        mode = int(header.mode)
        if min(int(header.nx), int(header.ny)) <= 0:
            raise SourceError(f"Reading {path}: its sections have {header.ny} x {header.nx} pixels.")
        try:
            told: np.dtype[Any] = mrcfile.utils.data_dtype_from_header(header)
        except ValueError as error:
            what = _NOT_READ.get(mode, "numbers of no known kind")
            raise SourceError(
                f"Reading {path}: it holds {what} (MRC mode {mode}).", "Read are modes 0, 1, 2, 6 and 12."
            ) from error
        if told.kind == "c":
            what = f"complex numbers ({header.ny} x {header.nx} {told.name}, MRC mode {mode})"
            raise SourceError(f"Reading {path}: it holds {what}.", "Convert it.")
        stamp, flags = struct.unpack_from(f"{header.dtype['mode'].str[0]}2i", raw, _IMOD_AT)
        if mode == 0 and stamp == _IMOD_STAMP and not flags & _SIGNED:
            return np.dtype(np.uint8)
        return told


def _parsed(raw: bytes) -> Any:
    """The header, as mrcfile reads it: of either byte order, and forgiving; what is behind it is left alone."""
    if len(raw) < START:
        raise CutShortError("truncated file, it ends within its header")
    alone = bytearray(raw)
    alone[_EXTENDED_AT] = bytes(4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        header = MrcInterpreter(io.BytesIO(alone), permissive=True, header_only=True).header
    return np.frombuffer(raw, header.dtype).reshape(()).view(np.recarray)
