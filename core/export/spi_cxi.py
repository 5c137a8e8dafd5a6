"""The selected frames as CXI in the layout of spi_processing and spi_em_class: virtual data sets, or copies.

Source: README of spi_em_class 0.1.7 (pypi.org/project/spi-em-class), "File format": cxi_version and
/entry_1/image_<k>/{data (n, y, x), mask (y, x), image_center (x, y, z)}, one group for frames that share mask and
centre; 0 in the mask is a good pixel. What else stands in a group is ignored there: scores, sizes, sources.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from photon_triage.core.common.errors import ExportError
from photon_triage.core.export.list_content import SIMULATED, ExportRow, ListContent, looked_at, pixels
from photon_triage.core.export.virtual_cxi import check_virtual, virtual_layout
from photon_triage.core.frames import Geometry
from photon_triage.core.session.store.rows import FileRow
from photon_triage.core.sources import FrameReader, SourceInfo

CXI_VERSION = 160
SIZE = "diameter_nm"
JOULE_PER_EV = 1.602176634e-19


@dataclass(frozen=True, eq=False)
class FilePart:
    """The selected frames of one file."""

    file: FileRow
    info: SourceInfo
    mask: NDArray[np.bool_] | None
    rows: tuple[ExportRow, ...]

    @property
    def indices(self) -> list[int]:
        """Which frames of the file, from 0."""
        return [row.frame.key.index for row in self.rows]

    def group(self) -> tuple[Any, ...]:
        """What frames of one group have in common."""
        return self.info.shape, self.info.dtype, self.file.geometry, None if self.mask is None else self.mask.tobytes()


def write(content: ListContent, path: Path) -> dict[str, Any]:
    """A group image_<k> for all files with the same shape, mask and geometry, in the order of their paths.

    Raises ExportError where nothing is selected, where a file cannot be read, or not stand in a virtual data set.
    """
    if not len(content):
        raise ExportError(
            "Could not write frames as spi-cxi: none is selected.", "Accept some, or lower the threshold."
        )
    with FrameReader(roots=content.recipe.source.roots) as reader:
        groups: dict[tuple[Any, ...], list[FilePart]] = {}
        for file, of_file in content.by_file():
            if len(of_file):
                info, mask = looked_at(reader, file)
                part = FilePart(file, info, mask, tuple(of_file.rows))
                groups.setdefault(part.group(), []).append(part)
        with h5py.File(path, "x", libver="v110") as out:
            out["cxi_version"] = CXI_VERSION
            if content.simulated:
                out.attrs["note"] = SIMULATED
                out["simulated"] = 1
            entry = out.create_group("entry_1")
            centres = []
            for number, parts in enumerate(groups.values(), 1):
                centre, known = _centre(parts[0], content.recipe.geometry.geometry())
                centres.append(known)
                group = entry.create_group(f"image_{number}")
                _put_facts(group, parts, centre, known)
                _put_data(group, parts, reader, content.options.copy)
        if not content.options.copy:
            check_virtual(path, [(f"entry_1/image_{n}", parts) for n, parts in enumerate(groups.values(), 1)], reader)
    unknown = [f"image_{number}" for number, known in enumerate(centres, 1) if not known]
    facts: dict[str, Any] = {"data": "copied" if content.options.copy else "virtual", "groups": len(groups)}
    return facts | ({"image_center_is_the_middle_of_the_frame": unknown} if unknown else {})


def _put_data(group: h5py.Group, parts: Sequence[FilePart], reader: FrameReader, copy: bool) -> None:
    (height, width), dtype = parts[0].info.shape, np.dtype(parts[0].info.dtype)
    count = sum(len(part.rows) for part in parts)
    if not copy:
        group.create_virtual_dataset("data", virtual_layout(parts, (count, height, width), dtype), fillvalue=0)
        return
    data = group.create_dataset(
        "data", (count, height, width), dtype, chunks=(1, height, width), compression="gzip", compression_opts=1,
        shuffle=True,
    )  # fmt: skip
    place = 0
    for part in parts:
        for block in pixels(reader, part.file, part.indices):
            data[place : place + len(block)] = block
            place += len(block)


def _put_facts(group: h5py.Group, parts: Sequence[FilePart], centre: tuple[float, float], known: bool) -> None:
    rows = [row for part in parts for row in part.rows]
    mask, shape = parts[0].mask, parts[0].info.shape
    group["mask"] = np.zeros(shape, np.int32) if mask is None else (~mask).astype(np.int32)
    group["image_center"] = np.array([*centre, 0.0])
    if not known:
        group["image_center"].attrs["note"] = "not known; the middle of the frame"
    group["scores"] = _numbers(row.frame.score for row in rows)
    if any(SIZE in row.frame.measures for row in rows):
        group["sizes"] = _numbers(row.frame.measures.get(SIZE) for row in rows)
        group["sizes"].attrs["units"] = "nm"
    group["source_index"] = np.array([row.frame.key.index for row in rows], np.int64)
    names = h5py.string_dtype()
    group.create_dataset("source_file", data=[_text(row.frame.key.file) for row in rows], dtype=names)
    group.create_dataset("source_dataset", data=[_text(row.frame.key.dataset) for row in rows], dtype=names)
    geometry = parts[0].file.geometry
    for name, value in (
        ("photon_energy", geometry.photon_energy_ev and geometry.photon_energy_ev * JOULE_PER_EV),
        ("detector_distance", geometry.detector_distance),
        ("pixel_size", geometry.pixel_size),
    ):
        if value:
            group[name] = value


def _centre(part: FilePart, recipe: Geometry) -> tuple[tuple[float, float], bool]:
    """The beam's x and y in pixels, and whether they are known; else the middle of the frame."""
    geometry = part.file.geometry.over(part.info.geometry).over(recipe)
    if geometry.beam_center_x is not None and geometry.beam_center_y is not None:
        return (geometry.beam_center_x, geometry.beam_center_y), True
    height, width = part.info.shape
    return ((width - 1) / 2, (height - 1) / 2), False


def _numbers(values: Iterable[float | None]) -> NDArray[np.float64]:
    return np.array([np.nan if value is None else value for value in values], np.float64)


def _text(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode()
