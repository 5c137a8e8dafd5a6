"""Where a simulation's truth goes: beside the data, in forms that no source reads as frames."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from photon_triage.core.frames import FrameKey
from photon_triage.core.simulate.spi import Truth
from photon_triage.core.simulate.volume import SliceTruth
from photon_triage.core.simulate.writers import frame_name

LABEL_COLUMNS = ("file", "dataset", "index", "verdict", "class", "who", "time")
TRUTH_FILE = "truth.csv"
TRUTH_FOLDER = "truth"
MASKS_FOLDER = f"{TRUTH_FOLDER}/masks"
POINTS_FILE = f"{TRUTH_FOLDER}/points.csv"
POINT_CLASS = "particle"

T_contra = TypeVar("T_contra", contravariant=True)


class TruthWriter(Protocol[T_contra]):
    """Where the truth of every frame is told."""

    def write(self, run: str, index: int, key: FrameKey, what: T_contra) -> None:
        """Note what frame `index` of a run shows; `key` is its name for readers."""

    def flush(self) -> None:
        """Let readers see what was noted."""


OpenTruth = Callable[[Path], AbstractContextManager[TruthWriter[T_contra]]]


class _Table:
    """Labels as `photon-triage labels import` reads them, with columns of their own behind."""

    def __init__(self, file: IO[str], columns: Sequence[str]) -> None:
        self._file, self._rows = file, csv.writer(file, lineterminator="\n")
        self._rows.writerow((*LABEL_COLUMNS, *columns))

    def add(self, name: str, key: FrameKey, verdict: str, category: str, *more: object) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._rows.writerow((name, key.dataset, key.index, verdict, category, "simulation", now, *more))

    def flush(self) -> None:
        self._file.flush()


class _SpiTruth:
    def __init__(self, table: _Table) -> None:
        self._table = table
        self.flush = table.flush

    def write(self, run: str, index: int, key: FrameKey, what: Truth) -> None:
        verdict = "accepted" if what.category == "single" else "rejected"
        name = Path(key.file).name
        self._table.add(name, key, verdict, what.category, f"{what.diameter_nm:.2f}", what.photons)


@contextmanager
def spi_truth(folder: Path) -> Iterator[TruthWriter[Truth]]:
    """A label for every frame: truth.csv."""
    with (folder / TRUTH_FILE).open("x", newline="", encoding="utf-8") as file:
        yield _SpiTruth(_Table(file, ("diameter_nm", "photons")))


class _SliceTruths:
    def __init__(self, folder: Path, table: _Table | None) -> None:
        self._masks, self._table = folder / MASKS_FOLDER, table

    def write(self, run: str, index: int, key: FrameKey, what: SliceTruth) -> None:
        Image.fromarray(what.classes).save(self._masks / f"{frame_name(run, index)}.png")
        if self._table:
            for x, y in what.points:
                self._table.add(f"../{Path(key.file).name}", key, "accepted", POINT_CLASS, x, y)

    def flush(self) -> None:
        if self._table:
            self._table.flush()


@contextmanager
def mask_truth(folder: Path) -> Iterator[TruthWriter[SliceTruth]]:
    """A mask for every slice: truth/masks/RUN_INDEX.png, whose values are the places of the classes."""
    (folder / MASKS_FOLDER).mkdir(parents=True)
    yield _SliceTruths(folder, None)


@contextmanager
def mask_and_point_truth(folder: Path) -> Iterator[TruthWriter[SliceTruth]]:
    """The masks, and a label for every object to find: truth/points.csv."""
    (folder / MASKS_FOLDER).mkdir(parents=True)
    with (folder / POINTS_FILE).open("x", newline="", encoding="utf-8") as file:
        yield _SliceTruths(folder, _Table(file, ("x", "y")))


def true_mask(folder: Path, key: FrameKey) -> NDArray[np.uint8]:
    """The classes that a slice of a simulation truly shows, (height, width) uint8.

    folder: what was simulated into. Raises OSError where it holds no mask for that slice.
    """
    stem = Path(key.file).stem
    name = stem if key.dataset == "" else frame_name(stem, key.index)
    with Image.open(folder / MASKS_FOLDER / f"{name}.png") as image:
        return np.asarray(image, np.uint8)


def held_truth(folder: Path) -> str | None:
    """The name of what holds a truth in a folder already, or None."""
    return next((name for name in (TRUTH_FILE, TRUTH_FOLDER) if (folder / name).exists()), None)
