"""Writes simulated runs as a beamline would: files that grow while the beam is on, and the truth beside them."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, Protocol

import h5py
import hdf5plugin
import numpy as np
import tifffile
from numpy.typing import NDArray

from photon_triage.core.errors import UsageError
from photon_triage.core.frames import FrameKey
from photon_triage.core.simulate.spi import HEIGHT, NOMINAL, WIDTH, SpiRun, Truth

JOULE_PER_EV = 1.602176634e-19
TRUTH_FILE = "truth.csv"
TRUTH_COLUMNS = ("file", "dataset", "index", "verdict", "class", "who", "time", "diameter_nm", "photons")
FLUSH_S = 0.25


@dataclass(frozen=True)
class SpiBeamtime:
    """What `simulate spi` is asked for.

    rate: frames a second, 0 for as fast as can be. blanks: mean share of empty frames. singles: share of the hits that
    are single particles of the right size; None for the share that real data showed.
    """

    folder: Path
    frames: int
    rate: float = 0.0
    runs: int = 1
    seed: int = 0
    format: Literal["hdf5", "tiff"] = "hdf5"
    blanks: float = 0.25
    singles: float | None = None


class _RunWriter(Protocol):
    def append(self, index: int, frame: NDArray[np.int16]) -> FrameKey: ...
    def flush(self) -> None: ...


def write_spi(job: SpiBeamtime, progress: Callable[[int, Truth], None] = lambda count, truth: None) -> int:
    """Write all runs, calling `progress(frames so far, truth)` after each frame; returns how many frames.

    The truth goes to truth.csv in the same folder and nowhere else. Raises UsageError when runs of that name stand
    there already or the folder cannot be written.
    """
    try:
        job.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"Could not make the folder {job.folder}: {error.strerror}.", "Choose another one.") from error
    if (job.folder / TRUTH_FILE).exists():
        raise UsageError(
            f"Could not simulate into {job.folder}: it holds a {TRUTH_FILE} already.",
            "Choose an empty folder; a simulation never writes over another.",
        )
    clock = _Pace(job.rate)
    written = 0
    with (job.folder / TRUTH_FILE).open("x", newline="", encoding="utf-8") as file:
        truth = csv.writer(file, lineterminator="\n")
        truth.writerow(TRUTH_COLUMNS)
        for number in range(1, job.runs + 1):
            run = SpiRun(job.seed, number, blanks=job.blanks, singles=job.singles)
            count = job.frames // job.runs + (number <= job.frames % job.runs)
            with _RUN_WRITERS[job.format](job.folder, f"run_{number:04d}", run) as writer:
                for index in range(count):
                    frame, what = run.frame(index)
                    clock.wait()
                    key = writer.append(index, frame)
                    truth.writerow(_truth_row(key, what))
                    written += 1
                    if clock.due(FLUSH_S):
                        writer.flush()
                        file.flush()
                    progress(written, what)
                writer.flush()
                file.flush()
    return written


def _truth_row(key: FrameKey, what: Truth) -> list[object]:
    verdict = "accepted" if what.category == "single" else "rejected"
    name = Path(key.file).name
    return [
        name,
        key.dataset,
        key.index,
        verdict,
        what.category,
        "simulation",
        datetime.now(UTC).isoformat(timespec="milliseconds"),
        f"{what.diameter_nm:.2f}",
        what.photons,
    ]


class _Pace:
    """Keeps a rate of frames, and says when something is due again."""

    def __init__(self, rate: float) -> None:
        self._step = 1 / rate if rate > 0 else 0.0
        self._next = self._last = time.monotonic()

    def wait(self) -> None:
        if self._step:
            self._next += self._step
            time.sleep(max(0.0, self._next - time.monotonic()))

    def due(self, seconds: float) -> bool:
        now = time.monotonic()
        if now - self._last < seconds:
            return False
        self._last = now
        return True


class _CxiRun:
    """One CXI file that grows frame by frame in SWMR mode."""

    DATASET = "/entry_1/data_1/data"

    def __init__(self, file: h5py.File, path: Path) -> None:
        self._data, self._end_time = file[self.DATASET], file["entry_1/end_time"]
        self._path = str(path.resolve())

    def append(self, index: int, frame: NDArray[np.int16]) -> FrameKey:
        self._data.resize(index + 1, axis=0)
        self._data[index] = frame
        return FrameKey(self._path, self.DATASET, index)

    def flush(self) -> None:
        self._data.flush()

    def end(self) -> None:
        self._end_time[()] = datetime.now(UTC).isoformat(timespec="milliseconds").encode()


@contextmanager
def _cxi_run(folder: Path, name: str, run: SpiRun) -> Iterator[_RunWriter]:
    """The CXI layout (Maia 2012), completed by `end_time` when the run is over."""
    path = folder / f"{name}.cxi"
    with h5py.File(path, "w", libver="latest") as file:
        file["cxi_version"] = 160
        file.attrs["simulated"] = 1
        entry = file.create_group("entry_1")
        entry["experiment_identifier"] = name
        entry["start_time"] = datetime.now(UTC).isoformat(timespec="milliseconds")
        # Written once before SWMR begins, or readers would not see it change.
        entry.create_dataset("end_time", data=np.bytes_(b""), dtype="S40")
        entry["instrument_1/source_1/energy"] = (NOMINAL.photon_energy_ev or 0.0) * JOULE_PER_EV
        detector = entry.create_group("instrument_1/detector_1")
        detector["distance"] = NOMINAL.detector_distance
        detector["x_pixel_size"] = detector["y_pixel_size"] = NOMINAL.pixel_size
        detector["beam_center_x"] = NOMINAL.beam_center_x
        detector["beam_center_y"] = NOMINAL.beam_center_y
        detector.create_dataset("mask", data=run.mask, **hdf5plugin.Bitshuffle(cname="lz4"))
        data = entry.create_group("data_1")
        data["mask"] = h5py.SoftLink("/entry_1/instrument_1/detector_1/mask")
        data.create_dataset(
            "data",
            shape=(0, HEIGHT, WIDTH),
            maxshape=(None, HEIGHT, WIDTH),
            chunks=(1, HEIGHT, WIDTH),
            dtype=np.int16,
            **hdf5plugin.Bitshuffle(cname="lz4"),
        )
        file.swmr_mode = True
        writer = _CxiRun(file, path)
        yield writer
        writer.end()


class _TiffRun:
    """One TIFF file a frame, bad pixels -1, complete when it takes its name."""

    def __init__(self, folder: Path, name: str, run: SpiRun) -> None:
        self._folder, self._name = folder, name
        self._bad = run.mask != 0
        self._description = json.dumps({"photon_triage_simulated": True, "run": name, **asdict(NOMINAL)})

    def append(self, index: int, frame: NDArray[np.int16]) -> FrameKey:
        path = self._folder / f"{self._name}_{index:05d}.tif"
        partial = path.with_suffix(".partial")
        pixels = np.where(self._bad, np.int16(-1), frame)
        tifffile.imwrite(partial, pixels, compression="zlib", description=self._description, metadata=None)
        partial.replace(path)
        return FrameKey(str(path.resolve()), "", 0)

    def flush(self) -> None:
        """Nothing to do: a file is complete when it has its name."""


@contextmanager
def _tiff_run(folder: Path, name: str, run: SpiRun) -> Iterator[_RunWriter]:
    yield _TiffRun(folder, name, run)


_RUN_WRITERS = {"hdf5": _cxi_run, "tiff": _tiff_run}
