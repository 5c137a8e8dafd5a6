"""TIFF files: what is in them, and their pages as frames."""

from __future__ import annotations

import json
import math
import struct
from typing import Any

import numpy as np
import tifffile

from photon_triage.core.errors import NotYetError, SourceError
from photon_triage.core.frames import GEOMETRY_FIELDS, Geometry
from photon_triage.core.sources.info import SourceInfo
from photon_triage.core.sources.limits import SILENT, STABLE, require_size
from photon_triage.core.sources.names import run_name
from photon_triage.core.sources.opening import FileState, translated, waited_for
from photon_triage.core.sources.tiff_chain import whole_chain

_MOST_PAGES = 1_000_000
_CUT_SHORT = (tifffile.TiffFileError, struct.error, IndexError, TypeError)
"""What tifffile raises where the file ends too early."""

_SIMULATED = "photon_triage_simulated"


def inspect_tiff(state: FileState, *, explain: bool = False) -> SourceInfo:
    """What a TIFF file holds; raises SourceError, and NotYetError while it is shorter than its pages say."""
    with translated(state.path):
        pages = OpenPages(state)
        try:
            if not whole_chain(state.path, state.size):
                raise waited_for(state.path, "truncated file, its last page is missing", state.age)
            facts = pages.description
            available = pages.available()
            run = facts.get("run")
            return SourceInfo(
                path=state.path,
                format="TIFF",
                layout="TIFF",
                dataset="",
                frames=len(pages),
                available=available,
                complete=available == len(pages) and (len(pages) == 1 or state.age >= STABLE),
                shape=pages.shape,
                dtype=pages.dtype.name,
                compression=pages.compression,
                mask=None,
                geometry=_geometry(facts),
                simulated=bool(facts.get(_SIMULATED)),
                run=run if isinstance(run, str) and run else run_name(state.path, one_of_many=len(pages) == 1),
            )
        finally:
            pages.close()


class OpenPages:
    """The pages of a TIFF file, kept open for reading."""

    def __init__(self, state: FileState) -> None:
        self.state = state
        with translated(state.path):
            try:
                self._file = tifffile.TiffFile(state.path)
            except _CUT_SHORT as error:
                raise waited_for(state.path, f"truncated file ({error})", state.age) from error
            try:
                self._pages = self._require_pages()
            except _CUT_SHORT as error:
                self._file.close()
                raise waited_for(state.path, f"truncated file ({error})", state.age) from error
            except BaseException:
                self._file.close()
                raise

    def __len__(self) -> int:
        return len(self._pages)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The pages' dtype, native byte order."""
        own: np.dtype[Any] = np.dtype(self._pages[0].dtype)
        return own.newbyteorder("=")

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width)."""
        height, width = self._pages[0].shape
        return int(height), int(width)

    @property
    def compression(self) -> str:
        """The compression's name, "none" where there is none."""
        code = self._pages[0].compression
        name = getattr(code, "name", str(code))
        return "none" if int(code) == 1 else {"ADOBE_DEFLATE": "deflate", "DEFLATE": "deflate"}.get(name, name)

    @property
    def description(self) -> dict[str, Any]:
        """The JSON object in the first page's description, empty where it is something else."""
        try:
            facts = json.loads(self._pages[0].description or "{}")
        except (ValueError, RecursionError):
            return {}
        return facts if isinstance(facts, dict) else {}

    def available(self) -> int:
        """The pages that are written: blank pages at the end of an uncompressed file that changed just now are not.

        A memory-mapped TIFF has its final size from its first page on.
        """
        if self.state.age >= SILENT or self.compression != "none":
            return len(self)
        low, high, probe = 0, len(self), len(self) - 1
        while low < high:
            low, high = (probe + 1, high) if np.any(self._page(probe)) else (low, probe)
            probe = (low + high) // 2
        return low

    def read(self, start: int, stop: int, out: np.ndarray) -> None:
        """Pages start .. stop-1 into `out`, (n, height, width)."""
        if stop > len(self):
            raise NotYetError(f"Reading {self.state.path}: page {stop - 1} was asked for, it has {len(self)}.")
        with translated(self.state.path):
            for position in range(start, stop):
                out[position - start] = self._page(position)

    def present(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Of the pages start .. stop-1 those that are in the file, as ranges."""
        return [(start, min(stop, len(self)))] if start < len(self) else []

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _page(self, position: int) -> np.ndarray:
        page = self._pages[position]
        pixels = page.asarray(maxworkers=1)
        if pixels is None or pixels.shape != self.shape:
            raise SourceError(f"Reading {self.state.path}: page {position} cannot be decoded.")
        return np.asarray(pixels)

    def _require_pages(self) -> list[Any]:
        path = self.state.path
        pages: list[Any] = []
        for page in self._file.pages:
            if len(pages) >= _MOST_PAGES:
                raise SourceError(f"Reading {path}: it has more than {_MOST_PAGES} pages.", "It may be damaged.")
            if pages and getattr(page, "is_reduced", False):
                continue
            pages.append(page)
            self._require_page(page, len(pages) - 1, pages[0])
        if not pages:
            raise waited_for(path, "it has no page", self.state.age)
        return pages

    def _require_page(self, page: Any, position: int, leader: Any) -> None:
        path = self.state.path
        if page.dtype is None or np.dtype(page.dtype).kind not in "iuf" or len(page.shape) != 2 or 0 in page.shape:
            raise SourceError(
                f"Reading {path}: page {position} is no plain image (shape {page.shape}, dtype {page.dtype}).",
                "Expected one sample of up to 64 bits a pixel.",
            )
        if page.shape != leader.shape or page.dtype != leader.dtype:
            raise SourceError(
                f"Reading {path}: page {position} is {page.shape} of {page.dtype}, expected {leader.shape} of "
                f"{leader.dtype} as in its first page."
            )
        require_size(f"page {position}", page.shape, np.dtype(page.dtype).itemsize, path)
        require_size(f"a tile of page {position}", page.chunks, np.dtype(page.dtype).itemsize, path)
        ends = (offset + count for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False))
        if max(ends, default=0) > self.state.size or not page.dataoffsets:
            raise waited_for(path, f"truncated file, page {position} goes beyond its end", self.state.age)


def _geometry(facts: dict[str, Any]) -> Geometry:
    values = {}
    for name in GEOMETRY_FIELDS:
        value = facts.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
            values[name] = float(value)
    return Geometry(**values)
