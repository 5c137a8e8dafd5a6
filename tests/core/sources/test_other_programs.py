"""Files that other programs write, and that lie beside a detector's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from photon_triage.core.common.errors import SourceError
from photon_triage.core.sources import inspect, read_frames
from tests.builders.detector_files import frames_of, make_old, write_plain, write_segment

MATRIX = np.ones((128, 64), "f4")


def write_keras(file: h5py.File) -> None:
    file.attrs["keras_version"] = "2.15.0"
    file["model_weights/dense/dense/kernel:0"] = MATRIX


def write_keras_3(file: h5py.File) -> None:
    file["layers/dense/vars/0"] = MATRIX
    file.create_group("vars")


def write_anndata(file: h5py.File) -> None:
    file.attrs["encoding-type"] = "anndata"
    file["X"] = MATRIX


def write_loom(file: h5py.File) -> None:
    file["matrix"] = MATRIX
    file.create_group("row_attrs")


def write_monitor(file: h5py.File) -> None:
    file["entry1/monitor/data"] = MATRIX
    file["entry1/monitor"].attrs["NX_class"] = "NXmonitor"


def write_map_of_spectra(file: h5py.File) -> None:
    group = file.create_group("entry1/map")
    group["data"] = np.ones((48, 64, 40))
    group.attrs["signal"], group.attrs["axes"] = "data", ["y", "x", "."]


def write_spectra_of_a_group(file: h5py.File) -> None:
    group = file.create_group("entry1/map")
    group["data"] = MATRIX
    group.attrs["signal"], group.attrs["interpretation"] = "data", "spectrum"


def write_times_of_flight(file: h5py.File) -> None:
    file["entry1/bank/counts"] = MATRIX
    file["entry1/bank/time_of_flight"] = np.arange(65.0)


def write_radial(file: h5py.File) -> None:
    file["sasentry/sasdata/I"] = MATRIX
    file["sasentry/sasdata/Q"] = np.arange(64.0)


def write_picture(file: h5py.File) -> None:
    file["entry_micro/data/data"] = np.ones((4, 64, 48), "i2")
    file["entry_micro/data/data"].attrs["interpretation"] = "rgba-image"


def write_records(file: h5py.File) -> None:
    file["stack"] = np.zeros((3, 64, 64), [("R", "u1"), ("G", "u1")])


def write_complex(file: h5py.File) -> None:
    file["wave"] = np.zeros((3, 64, 64), "c8")


def write_truths(file: h5py.File) -> None:
    file["lit"] = np.zeros((64, 64), bool)


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (write_keras, "weights of a network"),
        (write_keras_3, "weights of a network"),
        (write_anndata, "AnnData"),
        (write_loom, "Loom"),
        (write_monitor, "a monitor"),
        (write_map_of_spectra, "behind those of a map"),
        (write_spectra_of_a_group, "its interpretation"),
        (write_times_of_flight, "time_of_flight"),
        (write_radial, "its last axis is Q"),
        (write_picture, "a colour picture"),
        (write_records, "records of R, G"),
        (write_complex, "complex numbers"),
        (write_truths, "true and false"),
    ],
)
def test_what_is_no_frames_is_told(tmp_path: Path, write: Any, reason: str) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        write(file)

    with pytest.raises(SourceError, match=f"no frames.*{reason}"):
        inspect(make_old(tmp_path / "x.h5"))


def test_a_type_that_numpy_has_not_costs_its_data_set_alone(tmp_path: Path) -> None:
    path = write_plain(tmp_path / "x.h5", "images", frames_of(2))
    with h5py.File(path, "a") as file:
        quad = h5py.h5t.IEEE_F64LE.copy()
        quad.set_size(16)
        quad.set_precision(128)
        quad.set_fields(127, 112, 15, 0, 112)
        quad.set_ebias(16383)
        h5py.h5d.create(file.id, b"quad", quad, h5py.h5s.create_simple((64, 64)))

    info = inspect(make_old(path), explain=True)

    assert (info.dataset, info.frames) == ("/images", 2)
    assert [other.refused for other in info.alternatives] == ["numbers of a type that is not read"]


@pytest.mark.parametrize("dtype", ["f2", "u8", "i1", ">i4"])
def test_numbers_of_every_kind(tmp_path: Path, dtype: str) -> None:
    frames = frames_of(3).astype(dtype)
    path = make_old(write_plain(tmp_path / "x.h5", "images", frames))

    assert inspect(path).dtype == np.dtype(dtype).name
    np.testing.assert_array_equal(read_frames(path, "/images", 0, 3), frames)


def test_frames_behind_a_link_are_found_where_the_file_has_other_arrays(tmp_path: Path) -> None:
    write_segment(tmp_path / "scan_000001.hdf5", frames_of(3))
    with h5py.File(tmp_path / "000001.h5", "w") as file:
        file["entry/measurement/pseudo"] = np.zeros((100, 2))
        file["entry/measurement/eiger1m/frames"] = h5py.ExternalLink("scan_000001.hdf5", "/entry/data/data")

    info = inspect(make_old(tmp_path / "000001.h5"))

    assert (info.dataset, info.frames, info.available) == ("/entry/measurement/eiger1m/frames", 3, 3)


def test_frames_behind_a_link_beside_a_mask(tmp_path: Path) -> None:
    write_segment(tmp_path / "other.hdf5", frames_of(3))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["detector/pixel_mask"] = np.ones((64, 64), "u1")
        file["detector/counts"] = h5py.ExternalLink("other.hdf5", "/entry/data/data")

    info = inspect(make_old(tmp_path / "a.h5"), explain=True)

    assert (info.dataset, info.frames) == ("/detector/counts", 3)
    assert [other.path for other in info.alternatives] == ["/detector/pixel_mask"]


def test_a_jungfrau_of_the_swissfel(tmp_path: Path) -> None:
    frames = frames_of(4)
    path = write_plain(tmp_path / "run.JF07T32V02.h5", "data/JF07T32V02/data", frames)
    with h5py.File(path, "a") as file:
        file["data/JF07T32V02/pulse_id"] = np.arange(4)
        file["data/JF07T32V02/is_good_frame"] = np.array([1, 1, 0, 1], "u1")

    info = inspect(make_old(path))

    assert (info.layout, info.frames, info.dataset) == ("SwissFEL", 3, "/data/JF07T32V02/data")
    assert "is_good_frame excludes 1 frames" in info.notes
    np.testing.assert_array_equal(read_frames(path, info.dataset, 0, 3), frames[[0, 1, 3]])


@pytest.mark.parametrize("filled", [3, 4])
def test_events_that_cheetah_has_not_written_are_no_frames(tmp_path: Path, filled: int) -> None:
    with h5py.File(tmp_path / "a.cxi", "w") as file:
        stack = file.create_dataset(
            "entry_1/data_1/data", (10, 48, 64), "i2", chunks=(1, 48, 64), maxshape=(None, 48, 64)
        )
        stack[:filled] = frames_of(filled)
        stack.attrs["numEvents"] = 3

    info = inspect(make_old(tmp_path / "a.cxi"))

    assert (info.frames, info.available, info.complete) == (filled, filled, True)


@pytest.mark.parametrize("place", ["entry_1/data_1/data", "exchange/data", "entry/data/data"])
def test_narrow_frames_of_a_convention_are_not_turned(tmp_path: Path, place: str) -> None:
    path = make_old(write_plain(tmp_path / "x.h5", place, frames_of(40, shape=(64, 20))))

    assert (inspect(path).frames, inspect(path).shape) == (40, (64, 20))


def test_further_scans_of_a_file_are_told(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "sample.h5", "w") as file:
        for scan in ("1.1", "2.1"):
            entry = file.create_group(scan)
            entry.attrs["NX_class"] = "NXentry"
            entry["measurement/eiger"] = frames_of(2)

    info = inspect(make_old(tmp_path / "sample.h5"))

    assert info.dataset == "/1.1/measurement/eiger"
    assert info.notes == ("1 further scan in this file was not read: /2.1/measurement/eiger (2 frames)",)


def test_a_stack_that_has_no_frames_yet(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.cxi", "w") as file:
        file.create_dataset("entry_1/data_1/data", (0, 48, 64), "i2", chunks=(1, 48, 64), maxshape=(None, 48, 64))

    info = inspect(make_old(tmp_path / "a.cxi"))

    assert (info.frames, info.available, info.shape) == (0, 0, (48, 64))


@pytest.mark.parametrize("name", ["View000.img", "note.map", "log.nxs"])
def test_a_name_that_promises_another_format(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"<?xml version='1.0'?>" * 100)

    with pytest.raises(SourceError, match="does not begin as"):
        inspect(make_old(tmp_path / name))


@pytest.mark.parametrize("dtype", ["i2", "f4"])
def test_a_stack_of_the_name_of_a_coordinate_is_a_stack(tmp_path: Path, dtype: str) -> None:
    path = make_old(write_plain(tmp_path / "x.h5", "x", frames_of(3, dtype=dtype)))

    assert inspect(path).frames == 3


def test_coordinates_of_every_pixel_of_modules_are_no_frames(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "geometry.h5", "w") as file:
        for axis in "xyz":
            file[axis] = np.ones((8, 64, 64), "f4")

    with pytest.raises(SourceError, match="a coordinate"):
        inspect(make_old(tmp_path / "geometry.h5"))


def test_a_table_of_pandas_is_no_frame(tmp_path: Path) -> None:
    path = write_plain(tmp_path / "x.h5", "df/block0_values", MATRIX)
    with h5py.File(path, "a") as file:
        file["df"].attrs["pandas_type"] = "frame"

    with pytest.raises(SourceError, match="a table"):
        inspect(make_old(path))


def test_modules_of_events_of_the_lcls_stand_below_each_other(tmp_path: Path) -> None:
    frames = frames_of(6).reshape(3, 2, 48, 64)
    path = write_plain(tmp_path / "run.h5", "jungfrau4M/calib", frames)
    with h5py.File(path, "a") as file:
        file["timestamp"] = np.arange(3)
        file["UserDataCfg/jungfrau4M/mask"] = np.ones((2, 48, 64), "u1")

    info = inspect(make_old(path))

    assert (info.dataset, info.frames, info.shape) == ("/jungfrau4M/calib", 3, (96, 64))
    np.testing.assert_array_equal(read_frames(path, info.dataset, 0, 3), frames.reshape(3, 96, 64))


@pytest.mark.parametrize("name", ["dark_subtracted", "flatfield_corrected/data", "background_removed/images"])
def test_frames_after_a_correction_are_frames(tmp_path: Path, name: str) -> None:
    path = make_old(write_plain(tmp_path / "x.h5", name, frames_of(3)))

    assert (inspect(path).dataset, inspect(path).frames) == (f"/{name}", 3)
