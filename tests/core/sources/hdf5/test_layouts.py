from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from photon_triage.core.common.errors import NotYetError, SourceError
from photon_triage.core.sources import inspect, read_frames, read_mask
from tests.builders.detector_files import (
    frames_of,
    make_old,
    write_cxi,
    write_eiger_legacy,
    write_nxmx,
    write_plain,
    write_segment,
    write_virtual,
)
from tests.shared_data import shared_data
from tests.waiting import wait_until


def test_cxi_gives_its_frames(tmp_path: Path) -> None:
    frames = frames_of(3)
    path = write_cxi(tmp_path / "a.cxi", frames)

    info = inspect(path)

    assert (info.layout, info.dataset, info.frames, info.available) == ("CXI", "/entry_1/data_1/data", 3, 3)
    assert (info.shape, info.dtype, info.compression) == ((48, 64), "int16", "bitshuffle/LZ4")
    np.testing.assert_array_equal(read_frames(path, info.dataset, 0, 3), frames)


def test_cxi_tells_its_geometry_run_and_origin(tmp_path: Path) -> None:
    info = inspect(write_cxi(tmp_path / "a.cxi", frames_of(1)))

    assert info.geometry.photon_energy_ev == pytest.approx(1700)
    assert (info.geometry.detector_distance, info.geometry.pixel_size) == (0.13, 7.5e-5)
    assert (info.geometry.beam_center_x, info.geometry.beam_center_y) == (31.5, 23.5)
    assert (info.run, info.simulated, info.complete) == ("run_0007", True, True)


def test_a_set_mask_bit_makes_a_pixel_invalid(tmp_path: Path) -> None:
    mask = read_mask(inspect(write_cxi(tmp_path / "a.cxi", frames_of(1))))

    assert mask is not None and mask.dtype == bool
    assert np.argwhere(~mask).tolist() == [[3, 5]]


def test_soft_links_of_cxi_are_followed(tmp_path: Path) -> None:
    path = tmp_path / "a.cxi"
    with h5py.File(path, "w") as file:
        file.create_dataset("entry_1/instrument_1/detector_1/data", data=frames_of(2), chunks=(1, 48, 64))
        file["entry_1/data_1"] = h5py.SoftLink("/entry_1/instrument_1/detector_1")

    assert inspect(path).dataset == "/entry_1/data_1/data"
    assert read_frames(path, "/entry_1/data_1/data", 1, 2)[0, 5, 5] == 2


def test_the_beam_centre_of_a_cxi_corner(tmp_path: Path) -> None:
    path = write_plain(tmp_path / "a.cxi", "entry_1/data_1/data", frames_of(1))
    with h5py.File(path, "a") as file:
        file["entry_1/instrument_1/detector_1/x_pixel_size"] = 1e-4
        file["entry_1/instrument_1/detector_1/corner_position"] = [-2e-3, 3e-3, 0.1]

    geometry = inspect(path).geometry

    assert (geometry.beam_center_x, geometry.beam_center_y) == pytest.approx((20, 30))


def test_nxmx_follows_default_and_signal(tmp_path: Path) -> None:
    info = inspect(write_nxmx(tmp_path / "a.nxs", frames_of(2), signal="counts", compression="gzip"))

    assert (info.layout, info.dataset, info.compression) == ("NXmx", "/entry/data/counts", "gzip")


def test_nxmx_geometry_heeds_units(tmp_path: Path) -> None:
    geometry = inspect(write_nxmx(tmp_path / "a.nxs", frames_of(2))).geometry

    assert geometry.pixel_size == pytest.approx(7.5e-5)
    assert geometry.photon_energy_ev == pytest.approx(12398.4, rel=1e-4)
    assert (geometry.detector_distance, geometry.beam_center_x, geometry.beam_center_y) == (0.2, 30, 20)


def test_the_pixel_mask_of_nxmx(tmp_path: Path) -> None:
    info = inspect(write_nxmx(tmp_path / "a.nxs", frames_of(2)))
    mask = read_mask(info)

    assert info.mask == "/entry/instrument/detector/pixel_mask"
    assert mask is not None and np.argwhere(~mask).tolist() == [[1, 2]]


def test_numbered_files_of_a_master_are_one_stack(tmp_path: Path) -> None:
    frames = frames_of(7, dtype="u4")
    master = write_eiger_legacy(tmp_path, frames, per_file=3)

    info = inspect(master)

    assert (info.layout, info.dataset, info.frames, info.complete, info.run) == (
        "NXmx",
        "/entry/data",
        7,
        True,
        "lyso_1",
    )
    np.testing.assert_array_equal(read_frames(master, info.dataset, 2, 7), frames[2:7])


def test_a_numbered_file_that_is_not_there_is_waited_for(tmp_path: Path) -> None:
    frames = frames_of(6, dtype="u4")
    master = write_eiger_legacy(tmp_path, frames, per_file=3, written=1)

    info = inspect(master)
    assert (info.available, info.complete) == (3, False)

    write_segment(tmp_path / "lyso_1_data_000002.h5", frames[3:])
    wait_until(lambda: inspect(master).complete)
    assert inspect(master).available == 6


def test_a_master_without_any_data_is_not_there_yet(tmp_path: Path) -> None:
    with pytest.raises(NotYetError, match="not there yet"):
        inspect(write_eiger_legacy(tmp_path, frames_of(6), per_file=3, written=0))


def test_modules_of_a_virtual_data_set_stand_below_each_other(tmp_path: Path) -> None:
    frames = frames_of(4)
    sources = [write_segment(tmp_path / f"module_{n}.h5", frames * (n + 1)) for n in range(2)]
    path = write_virtual(tmp_path / "all.h5", sources, frames)

    info = inspect(path)
    read = read_frames(path, info.dataset, 1, 3)

    assert (info.frames, info.available, info.shape, info.compression) == (4, 4, (96, 64), "bitshuffle/LZ4")
    np.testing.assert_array_equal(read, np.concatenate([frames[1:3], 2 * frames[1:3]], axis=1))


def test_frames_of_a_virtual_data_set_without_their_source_are_not_available(tmp_path: Path) -> None:
    frames = frames_of(4)
    sources = [
        write_segment(tmp_path / "module_0.h5", frames),
        write_segment(tmp_path / "module_1.h5", frames[:3]),
    ]
    path = write_virtual(tmp_path / "all.h5", sources, frames)
    assert inspect(path).available == 3
    with pytest.raises(NotYetError):
        read_frames(path, "/entry/data/data", 3, 4)

    sources[1].unlink()
    assert inspect(path).available == 0


def test_data_exchange(tmp_path: Path) -> None:
    info = inspect(write_plain(tmp_path / "tooth.h5", "exchange/data", frames_of(3, shape=(2, 40), dtype="f4")))

    assert (info.layout, info.dataset, info.shape, info.mask) == ("DataExchange", "/exchange/data", (2, 40), None)


def test_elsewhere_the_largest_data_set_is_taken(tmp_path: Path) -> None:
    path = write_plain(tmp_path / "x.h5", "deep/down/images", frames_of(3))
    with h5py.File(path, "a") as file:
        file["table"] = np.zeros((100_000, 4))

    info = inspect(path)

    assert (info.layout, info.dataset, info.run) == ("largest data set", "/deep/down/images", "x")


def test_a_two_dimensional_data_set_is_one_frame(tmp_path: Path) -> None:
    path = write_plain(tmp_path / "x.h5", "image", frames_of(1)[0], chunks=(16, 16))

    assert (inspect(path).frames, inspect(path).available) == (1, 1)
    np.testing.assert_array_equal(read_frames(path, "/image", 0, 1), frames_of(1))


def test_a_named_data_set_is_taken(tmp_path: Path) -> None:
    path = write_cxi(tmp_path / "a.cxi", frames_of(2))
    with h5py.File(path, "a") as file:
        file.create_dataset("other", data=frames_of(5), chunks=(1, 48, 64))

    info = inspect(path, "other")

    assert (info.dataset, info.frames, info.geometry.detector_distance) == ("/other", 5, 0.13)


def test_big_endian_frames_come_in_native_order(tmp_path: Path) -> None:
    path = write_plain(tmp_path / "x.h5", "images", frames_of(2, dtype=">u2"))

    assert inspect(path).dtype == "uint16"
    np.testing.assert_array_equal(read_frames(path, "/images", 0, 2), frames_of(2, dtype="u2"))


def test_a_file_without_images_says_so(tmp_path: Path) -> None:
    path = make_old(write_plain(tmp_path / "x.h5", "table", np.zeros((100, 4))))

    with pytest.raises(SourceError, match="no numeric data set"):
        inspect(path)


def test_frames_beyond_the_end_are_refused(tmp_path: Path) -> None:
    path = write_plain(tmp_path / "x.h5", "images", frames_of(2))

    with pytest.raises(NotYetError, match="it has 2"):
        read_frames(path, "/images", 1, 3)


def test_a_real_pilatus_grid_scan() -> None:
    path = shared_data("pilatus_grid/thaumatin_grid_odd.h5")

    info = inspect(path)

    assert (info.layout, info.frames, info.available, info.complete) == ("NXmx", 10, 10, True)
    assert (info.shape, info.dtype, info.compression) == ((2527, 2463), "int32", "bitshuffle/LZ4")
    assert (info.run, info.geometry.pixel_size) == ("thaumatin_grid_odd", 0.000172)
    assert read_frames(path, info.dataset, 9, 10).min() == -2


def test_a_real_tomography_file() -> None:
    info = inspect(shared_data("tooth.h5"))

    assert (info.layout, info.frames, info.shape) == ("DataExchange", 181, (2, 640))
