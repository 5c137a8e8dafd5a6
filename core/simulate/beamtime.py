"""Writes simulated runs as a beamline would: files that grow while the beam is on, and the truth beside them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, TypeVar

from numpy.typing import NDArray

from photon_triage.core.common.errors import UsageError
from photon_triage.core.simulate.cryoet import CryoetRun
from photon_triage.core.simulate.spi import FocusTruth, SpiRun
from photon_triage.core.simulate.tomo import TomoRun
from photon_triage.core.simulate.volume import SliceTruth
from photon_triage.core.simulate.writers import (
    FramesOfRun,
    OpenRun,
    OpenTruth,
    cxi_run,
    data_exchange_run,
    held_truth,
    mask_and_point_truth,
    mask_truth,
    spi_truth,
    tiff_run,
)

FLUSH_S = 0.25

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class SimulatedRun(FramesOfRun, Protocol[T_co]):
    """A simulated run: a frame is the same in whatever order frames are asked for."""

    def frame(self, index: int) -> tuple[NDArray[Any], T_co]:
        """Frame `index` and what it truly shows."""


@dataclass(frozen=True)
class Simulation(Generic[T]):
    """What is simulated: a run for a seed and a number from 1 on, its HDF5 files, and where its truth goes."""

    run: Callable[[int, int], SimulatedRun[T]]
    hdf5: OpenRun
    truth: OpenTruth[T]


def spi(blanks: float = 0.25, singles: float | None = None, drift: str = "usual") -> Simulation[FocusTruth]:
    """Single-particle imaging in CXI files, its truth in truth.csv.

    blanks: mean share of empty frames. singles: share of the hits that are single particles of the right size; None for
    the share that real data showed. drift: what changes between runs, a name in DRIFTS.
    """

    def run(seed: int, number: int) -> SpiRun:
        return SpiRun(seed, number, blanks=blanks, singles=singles, drift=drift)

    return Simulation(run, cxi_run, spi_truth)


def tomo(size: int = 512) -> Simulation[SliceTruth]:
    """Slices of size x size across a degrading implant, in Data Exchange files; the truth is a mask a slice."""
    return Simulation(lambda seed, number: TomoRun(seed, number, size), data_exchange_run, mask_truth)


def cryoet(size: int = 512) -> Simulation[SliceTruth]:
    """Slices of size x size through minicells, in Data Exchange files; the truth is masks and points."""
    return Simulation(lambda seed, number: CryoetRun(seed, number, size), data_exchange_run, mask_and_point_truth)


@dataclass(frozen=True)
class Beamtime:
    """How much is written where.

    rate: frames a second, 0 for as fast as can be.
    """

    folder: Path
    frames: int
    rate: float = 0.0
    runs: int = 1
    seed: int = 0
    format: Literal["hdf5", "tiff"] = "hdf5"


def write_beamtime(
    job: Beamtime, simulation: Simulation[T], progress: Callable[[int, T], None] = lambda count, truth: None
) -> int:
    """Write all runs, calling `progress(frames so far, truth)` after each frame; returns how many frames.

    The truth goes to its place below the same folder and nowhere else. Raises UsageError when a simulation stands there
    already or the folder cannot be written.
    """
    _prepare(job.folder)
    clock = _Pace(job.rate)
    written = 0
    open_run = simulation.hdf5 if job.format == "hdf5" else tiff_run
    with simulation.truth(job.folder) as truth:
        for number in range(1, job.runs + 1):
            run, name = simulation.run(job.seed, number), f"run_{number:04d}"
            count = job.frames // job.runs + (number <= job.frames % job.runs)
            if not count:
                break
            with open_run(job.folder, name, run, count) as writer:
                for index in range(count):
                    frame, what = run.frame(index)
                    clock.wait()
                    key = writer.append(index, frame)
                    truth.write(name, index, key, what)
                    written += 1
                    if clock.due(FLUSH_S):
                        writer.flush()
                        truth.flush()
                    progress(written, what)
                writer.flush()
                truth.flush()
    return written


def _prepare(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"Could not make the folder {folder}: {error.strerror}.", "Choose another one.") from error
    if held := held_truth(folder):
        raise UsageError(
            f"Could not simulate into {folder}: it holds a {held} already.",
            "Choose an empty folder; a simulation never writes over another.",
        )


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
