"""Detector files written as facilities write them, small."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import tifffile

JOULE_PER_EV = 1.602176634e-19
HEIGHT, WIDTH = 48, 64


def frames_of(count: int, *, first: int = 0, shape: tuple[int, int] = (HEIGHT, WIDTH), dtype: str = "i2") -> Any:
    """Frames that can be told apart: every pixel of frame n is n + 1, its first pixel 100."""
    numbers = np.arange(first + 1, first + count + 1).astype(dtype)
    frames = np.broadcast_to(numbers[:, None, None], (count, *shape)).copy()
    frames[:, 0, 0] = 100
    return frames


def make_old(path: Path, seconds: float = 3600.0) -> Path:
    """The file, as if its last change was long ago."""
    then = time.time() - seconds
    os.utime(path, (then, then))
    return path


class GrowingCxi:
    """A CXI file that is written frame by frame in SWMR mode, as the simulator does."""

    def __init__(self, path: Path, *, shape: tuple[int, int] = (HEIGHT, WIDTH)) -> None:
        self.file = h5py.File(path, "w", libver="latest")
        self.file.attrs["simulated"] = 1
        entry = self.file.create_group("entry_1")
        entry["experiment_identifier"] = "run_0007"
        self.data = entry.create_dataset(
            "data_1/data", (0, *shape), "i2", maxshape=(None, *shape), chunks=(1, *shape), **hdf5plugin.Bitshuffle()
        )
        mask = np.zeros(shape, "u4")
        mask[3, 5] = 8
        entry["data_1/mask"] = mask
        detector = entry.create_group("instrument_1/detector_1")
        detector["mask"] = mask
        detector["distance"] = 0.13
        detector["x_pixel_size"] = detector["y_pixel_size"] = 7.5e-5
        detector["beam_center_x"], detector["beam_center_y"] = 31.5, 23.5
        entry["instrument_1/source_1/energy"] = 1700 * JOULE_PER_EV
        # Written once before SWMR begins: space allocated later would not be seen by readers until the file is closed.
        self.end = entry.create_dataset("end_time", data=np.zeros((), "S32"))
        self.file.swmr_mode = True

    def append(self, frames: Any) -> None:
        """Write frames and flush them."""
        start = len(self.data)
        self.data.resize(start + len(frames), 0)
        self.data[start:] = frames
        self.data.flush()

    def finish(self) -> None:
        """Say that the run is over."""
        self.end[()] = b"2026-01-01T00:00:00"
        self.end.flush()

    def __enter__(self) -> GrowingCxi:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.file.close()


def write_cxi(path: Path, frames: Any) -> Path:
    """A finished CXI file."""
    with GrowingCxi(path, shape=frames.shape[1:]) as file:
        file.append(frames)
        file.finish()
    return path


def write_nxmx(path: Path, frames: Any, *, signal: str = "data", **options: Any) -> Path:
    """An NXmx file as PILATUS and new EIGER detectors leave it."""
    with h5py.File(path, "w") as file:
        file.attrs["default"] = "entry"
        entry = file.create_group("entry")
        entry.attrs.update({"NX_class": "NXentry", "default": "data"})
        entry["definition"] = "NXmx"
        data = entry.create_group("data")
        data.attrs.update({"NX_class": "NXdata", "signal": signal})
        data.create_dataset(signal, data=frames, **{"chunks": (1, *frames.shape[1:])} | options)
        _nexus_instrument(entry, frames.shape[-2:])
    return path


def _nexus_instrument(entry: Any, shape: tuple[int, int]) -> None:
    detector = entry.create_group("instrument/detector")
    entry["instrument"].attrs["NX_class"] = "NXinstrument"
    detector.attrs["NX_class"] = "NXdetector"
    mask = np.zeros(shape, "u4")
    mask[1, 2] = 1
    detector["pixel_mask"] = mask
    detector["x_pixel_size"] = 0.075
    detector["x_pixel_size"].attrs["units"] = "mm"
    detector["distance"] = 0.2
    detector["beam_center_x"], detector["beam_center_y"] = 30.0, 20.0
    entry["instrument/beam/incident_wavelength"] = 1.0


def write_eiger_legacy(folder: Path, frames: Any, *, per_file: int, written: int | None = None) -> Path:
    """A master file with external links data_000001 ..., of whose targets `written` (all) are there."""
    master = folder / "lyso_1_master.h5"
    parts = [frames[start : start + per_file] for start in range(0, len(frames), per_file)]
    with h5py.File(master, "w") as file:
        entry = file.create_group("entry")
        entry.attrs["NX_class"] = "NXentry"
        data = entry.create_group("data")
        for number in range(1, len(parts) + 1):
            data[f"data_{number:06}"] = h5py.ExternalLink(f"lyso_1_data_{number:06}.h5", "/entry/data/data")
        _nexus_instrument(entry, frames.shape[-2:])
        entry["instrument/detector/detectorSpecific/nimages"] = len(frames)
    for number, part in list(enumerate(parts, 1))[:written]:
        write_segment(folder / f"lyso_1_data_{number:06}.h5", part)
    return master


def write_segment(path: Path, frames: Any) -> Path:
    """One of the data files that a master file links to."""
    with h5py.File(path, "w") as file:
        file.create_dataset(
            "entry/data/data", data=frames, chunks=(1, *frames.shape[1:]), **hdf5plugin.Bitshuffle(cname="lz4")
        )
    return path


def write_virtual(path: Path, sources: list[Path], frames: Any) -> Path:
    """A virtual data set of modules: four axes, one source file a module, as `write_segment` writes them."""
    count, height, width = frames.shape
    layout = h5py.VirtualLayout((count, len(sources), height, width), frames.dtype)
    for module, source in enumerate(sources):
        layout[:, module] = h5py.VirtualSource(source.name, "entry/data/data", (count, height, width))
    with h5py.File(path, "w", libver="latest") as file:
        entry = file.create_group("entry")
        entry.attrs["NX_class"] = "NXentry"
        entry.create_group("data").create_virtual_dataset("data", layout)
    return path


def write_plain(path: Path, name: str, data: Any, **options: Any) -> Path:
    """An HDF5 file of one data set."""
    with h5py.File(path, "w") as file:
        file.create_dataset(name, data=data, **options)
    return path


def write_simulated_tiff(path: Path, frame: Any) -> Path:
    """One frame as the simulator writes it: under another name first, then renamed."""
    description = {
        "photon_triage_simulated": True,
        "run": "run_0001",
        "photon_energy_ev": 1700,
        "detector_distance": 0.13,
        "pixel_size": 7.5e-5,
        "beam_center_x": 31.5,
        "beam_center_y": 23.5,
    }
    temporary = path.with_name(f".{path.name}.tmp")
    tifffile.imwrite(temporary, frame, description=json.dumps(description), metadata=None)
    return temporary.rename(path)
