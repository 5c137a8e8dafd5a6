"""Masks as a TIFF stack or as HDF5, of the shape of the file that they are of.

A pixel has its class's number; NO_CLASS stands outside the region that was segmented, and on every frame that is not
selected or has no mask.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_triage.core.common.errors import ExportError
from photon_triage.core.export.list_content import SIMULATED, ListContent
from photon_triage.core.session.store.rows import ClassMap, FileRow

NO_CLASS = 255
DATASET = "masks"
LEVEL = 3
"""Of zlib: a mask of few classes gains nothing from more."""


def write_tiff(content: ListContent, path: Path) -> dict[str, Any]:
    """A page a frame, 8 bit, zlib; what the numbers mean stands in the first page's description, as JSON.

    Raises ExportError where no selected frame has a mask.
    """
    import tifffile

    file, facts = content.only_file("mask-tiff"), _facts(content)
    with tifffile.TiffWriter(path, bigtiff=_pixels(file) >= 2**32 - 2**20) as tiff:
        tiff.write(
            (mask for mask, _ in _masks(content)),
            shape=_shape(file),
            dtype=np.uint8,
            photometric="minisblack",
            compression="zlib",
            compressionargs={"level": LEVEL},
            description=json.dumps(facts),
            metadata=None,
            software="photon-triage",
        )
    return facts


def write_hdf5(content: ListContent, path: Path) -> dict[str, Any]:
    """The data set /masks, (frames, height, width) uint8; beside it /selected and /scores, one number a frame.

    Raises ExportError where no selected frame has a mask.
    """
    import h5py

    file, facts = content.only_file("mask-hdf5"), _facts(content)
    with h5py.File(path, "x") as out:
        shape = _shape(file)
        data = out.create_dataset(
            DATASET, shape, np.uint8, chunks=(1, *shape[1:]), compression="gzip", compression_opts=LEVEL,
            fillvalue=NO_CLASS,
        )  # fmt: skip
        has_mask = np.zeros(shape[0], bool)
        for index, (mask, found) in enumerate(_masks(content)):
            if found:
                data[index], has_mask[index] = mask, True
        scores = np.full(shape[0], np.nan)
        for row in content.every:
            scores[row.frame.key.index] = np.nan if row.frame.score is None else row.frame.score
        out["selected"], out["scores"] = has_mask, scores
        for name, value in facts.items():
            data.attrs[name] = value if isinstance(value, int | str) else json.dumps(value)
    return facts


def _facts(content: ListContent) -> dict[str, Any]:
    """What the numbers in the masks mean; raises ExportError where there are no masks, or they are of other classes."""
    file = next(iter(content.files.values()))
    known = [mask for row in content.rows if (mask := content.results.mask(row.frame.frame_id)) is not None]
    if not known:
        raise ExportError(
            f"Could not write masks of {file.path}: no selected frame of it has one.",
            "Accept frames, or export with --select all; frames that an earlier stage held back have no mask.",
        )
    if len({(mask.classes, mask.background) for mask in known}) > 1:
        raise ExportError(
            f"Could not write masks of {file.path}: they come from models with different classes.",
            "Score the session with one model first.",
        )
    facts: dict[str, Any] = {
        "source": file.path.encode("utf-8", "backslashreplace").decode(),
        "dataset": file.dataset,
        "classes": list(known[0].classes),
        "background": known[0].background,
        "no_class": NO_CLASS,
        "masks": len(known),
    }
    return facts | ({"note": SIMULATED} if content.simulated else {})


def _shape(file: FileRow) -> tuple[int, int, int]:
    return file.frames, file.height, file.width


def _pixels(file: FileRow) -> int:
    return file.frames * file.height * file.width


def _masks(content: ListContent) -> Iterator[tuple[NDArray[np.uint8], bool]]:
    """The mask of every frame of the file, whole, and whether there is one."""
    file = next(iter(content.files.values()))
    frames = {row.frame.key.index: row.frame.frame_id for row in content.rows}
    for index in range(file.frames):
        whole = np.full((file.height, file.width), NO_CLASS, np.uint8)
        mask = content.results.mask(frames[index]) if index in frames else None
        if mask is not None:
            _paste(whole, mask)
        yield whole, mask is not None


def _paste(whole: NDArray[np.uint8], mask: ClassMap) -> None:
    height, width = mask.values.shape
    whole[mask.top : mask.top + height, mask.left : mask.left + width] = mask.values
