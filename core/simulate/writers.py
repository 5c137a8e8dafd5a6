"""The files of a simulated run: HDF5 that grows as at a beamline, or one TIFF a frame, and the truth beside them."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Protocol, TypeVar

import h5py
import hdf5plugin
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from photon_triage.core.common.atomic import atomic_path
from photon_triage.core.frames import FrameKey
from photon_triage.core.simulate.spi import NOMINAL, FocusTruth
from photon_triage.core.simulate.volume import SliceTruth

JOULE_PER_EV = 1.602176634e-19
CXI_DATASET = "/entry_1/data_1/data"
DATA_EXCHANGE_DATASET = "/exchange/data"

LABEL_COLUMNS = ("file", "dataset", "index", "verdict", "class", "who", "time")
TRUTH_FILE = "truth.csv"
TRUTH_FOLDER = "truth"
MASKS_FOLDER = f"{TRUTH_FOLDER}/masks"
POINTS_FILE = f"{TRUTH_FOLDER}/points.csv"
POINT_CLASS = "particle"

T_contra = TypeVar("T_contra", contravariant=True)


class FramesOfRun(Protocol):
    """What a file tells of its frames."""

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width)."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the pixels."""

    @property
    def bad(self) -> NDArray[Any] | None:
        """(height, width), nonzero where a pixel is bad; None where none is."""

    @property
    def facts(self) -> dict[str, Any]:
        """What is said of the frames beside their pixels."""


class RunWriter(Protocol):
    """An open run."""

    def append(self, index: int, frame: NDArray[Any]) -> FrameKey:
        """Write frame `index`, the next one; returns its key."""

    def flush(self) -> None:
        """Let readers see what was written."""


OpenRun = Callable[[Path, str, FramesOfRun, int], AbstractContextManager[RunWriter]]
"""Opens the files of a run: folder, name of the run, what it holds, how many frames it will have."""


class _Hdf5Run:
    """One HDF5 file that is written frame by frame in SWMR mode."""

    def __init__(self, data: h5py.Dataset, path: Path) -> None:
        self._data, self._path = data, str(path.resolve())

    def append(self, index: int, frame: NDArray[Any]) -> FrameKey:
        if index >= len(self._data):
            self._data.resize(index + 1, axis=0)
        self._data[index] = frame
        return FrameKey(self._path, self._data.name, index)

    def flush(self) -> None:
        self._data.flush()


@contextmanager
def cxi_run(folder: Path, name: str, run: FramesOfRun, frames: int) -> Iterator[RunWriter]:
    """The CXI layout (Maia 2012): data set and file grow, and `end_time` completes them when the run is over."""
    path = folder / f"{name}.cxi"
    with h5py.File(path, "w", libver="latest") as file:
        file["cxi_version"] = 160
        file.attrs["simulated"] = 1
        entry = file.create_group("entry_1")
        entry["experiment_identifier"] = name
        entry["start_time"] = _now()
        # Written once before SWMR begins, or readers would not see it change.
        end_time = entry.create_dataset("end_time", data=np.bytes_(b""), dtype="S40")
        entry["instrument_1/source_1/energy"] = (NOMINAL.photon_energy_ev or 0.0) * JOULE_PER_EV
        detector = entry.create_group("instrument_1/detector_1")
        detector["distance"] = NOMINAL.detector_distance
        detector["x_pixel_size"] = detector["y_pixel_size"] = NOMINAL.pixel_size
        detector["beam_center_x"] = NOMINAL.beam_center_x
        detector["beam_center_y"] = NOMINAL.beam_center_y
        detector.create_dataset("mask", data=run.bad, **hdf5plugin.Bitshuffle(cname="lz4"))
        data = _create_frames(file, CXI_DATASET, run, 0, None)
        data.parent["mask"] = h5py.SoftLink("/entry_1/instrument_1/detector_1/mask")
        file.swmr_mode = True
        yield _Hdf5Run(data, path)
        end_time[()] = _now().encode()


@contextmanager
def data_exchange_run(folder: Path, name: str, run: FramesOfRun, frames: int) -> Iterator[RunWriter]:
    """A volume in Data Exchange (De Carlo et al. 2014), as a reconstruction writes it.

    The data set has its final shape from the start, and the file grows by the slices that are done; it is complete when
    none is missing.
    """
    path = folder / f"{name}.h5"
    with h5py.File(path, "w", libver="latest") as file:
        file["implements"] = "exchange"
        file.attrs["simulated"] = 1
        data = _create_frames(file, DATA_EXCHANGE_DATASET, run, frames, frames)
        data.attrs["axes"] = "z:y:x"
        for fact, value in run.facts.items():
            data.attrs[fact] = value
        file.swmr_mode = True
        yield _Hdf5Run(data, path)


class _TiffRun:
    """One TIFF file a frame, bad pixels -1, complete when it takes its name."""

    def __init__(self, folder: Path, name: str, run: FramesOfRun) -> None:
        self._folder, self._name = folder, name
        self._bad = None if run.bad is None else run.bad != 0
        self._description = json.dumps({"photon_triage_simulated": True, "run": name, **run.facts})

    def append(self, index: int, frame: NDArray[Any]) -> FrameKey:
        path = self._folder / f"{frame_name(self._name, index)}.tif"
        pixels = frame if self._bad is None else np.where(self._bad, frame.dtype.type(-1), frame)
        with atomic_path(path, durable=False) as partial:  # simulated frames can be made again
            tifffile.imwrite(partial, pixels, compression="zlib", description=self._description, metadata=None)
        return FrameKey(str(path.resolve()), "", 0)

    def flush(self) -> None:
        """Nothing to do: a file is complete when it has its name."""


@contextmanager
def tiff_run(folder: Path, name: str, run: FramesOfRun, frames: int) -> Iterator[RunWriter]:
    """One TIFF a frame, named after run and index."""
    yield _TiffRun(folder, name, run)


def frame_name(run: str, index: int) -> str:
    """The name of a frame's own files, without suffix."""
    return f"{run}_{index:05d}"


class TruthWriter(Protocol[T_contra]):
    """Where the truth of every frame is told."""

    def write(self, run: str, index: int, key: FrameKey, what: T_contra) -> None:
        """Note what frame `index` of a run shows; `key` is its name for readers."""

    def flush(self) -> None:
        """Let readers see what was noted."""


OpenTruth = Callable[[Path], AbstractContextManager[TruthWriter[T_contra]]]


class _LabelTable:
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
    def __init__(self, table: _LabelTable) -> None:
        self._table = table
        self.flush = table.flush

    def write(self, run: str, index: int, key: FrameKey, what: FocusTruth) -> None:
        verdict = "accepted" if what.category == "single" else "rejected"
        name = Path(key.file).name
        self._table.add(name, key, verdict, what.category, f"{what.diameter_nm:.2f}", what.photons)


@contextmanager
def spi_truth(folder: Path) -> Iterator[TruthWriter[FocusTruth]]:
    """A label for every frame: truth.csv."""
    with (folder / TRUTH_FILE).open("x", newline="", encoding="utf-8") as file:
        yield _SpiTruth(_LabelTable(file, ("diameter_nm", "photons")))


class _SliceTruths:
    def __init__(self, folder: Path, table: _LabelTable | None) -> None:
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
        yield _SliceTruths(folder, _LabelTable(file, ("x", "y")))


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


def _create_frames(file: h5py.File, name: str, run: FramesOfRun, frames: int, most: int | None) -> h5py.Dataset:
    height, width = run.shape
    return file.create_dataset(
        name,
        shape=(frames, height, width),
        maxshape=(most, height, width),
        chunks=(1, height, width),
        dtype=run.dtype,
        **hdf5plugin.Bitshuffle(cname="lz4"),
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
