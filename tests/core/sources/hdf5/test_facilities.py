"""Each row of the table of conventions: the frames, the mask, the geometry, the reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from photon_triage.core.common.errors import MissingError, NotYetError
from photon_triage.core.sources import SourceInfo, inspect, read_frames, read_mask
from tests.builders.detector_files import frames_of, write_cxi, write_eiger_legacy, write_plain
from tests.builders.facility_files import (
    MODULE,
    write_bliss,
    write_cheetah_cxi,
    write_data_exchange,
    write_euxfel,
    write_euxfel_jungfrau,
    write_lambda,
    write_numbered_virtual,
    write_nxmx_axes,
    write_nxtomo,
    write_old_cheetah,
    write_pal,
    write_photon_counts,
    write_sacla_run,
    write_sacla_tags,
    write_spi_cxi,
    write_virtual_cxi,
)


def all_frames(info: SourceInfo) -> Any:
    return read_frames(info.path, info.dataset, 0, info.frames)


def bad_pixels(info: SourceInfo) -> list[list[int]]:
    valid = read_mask(info)
    assert valid is not None
    return np.argwhere(~valid).tolist()


def test_cheetah_at_the_lcls(tmp_path: Path) -> None:
    info = inspect(write_cheetah_cxi(tmp_path / "a.cxi", frames_of(3)), explain=True)

    assert (info.layout, info.dataset, info.frames) == ("CXI", "/entry_1/data_1/data", 3)
    assert (info.geometry.photon_energy_ev, info.geometry.pixel_size) == (9500, 1.1e-4)
    assert [(other.path, other.refused[:6]) for other in info.alternatives] == [
        ("/entry_1/result_1/peakXPosRaw", "a list")
    ]
    np.testing.assert_array_equal(all_frames(info), frames_of(3))


def test_cheetah_since_2017(tmp_path: Path) -> None:
    info = inspect(write_cheetah_cxi(tmp_path / "a.cxi", frames_of(3), corrected=True))

    assert info.dataset == "/entry_1/instrument_1/detector_1/detector_corrected/data"
    np.testing.assert_array_equal(all_frames(info), frames_of(3))


@pytest.mark.parametrize("bit", [0x1, 0x2, 0x4, 0x8, 0x10, 0x40, 0x80, 0x200, 0x400, 0x1000])
@pytest.mark.parametrize("dtype", ["u2", "i4", "u4"])
def test_bits_of_a_cxi_mask_that_make_a_pixel_bad(tmp_path: Path, bit: int, dtype: str) -> None:
    mask = np.zeros((48, 64), dtype)
    mask[7, 9] = bit
    mask[1, 1] = bit | 0x20
    info = inspect(write_cheetah_cxi(tmp_path / "a.cxi", frames_of(1), mask=mask))

    assert any(words.startswith(f"{bit:#x} ") for words in info.mask_bits)
    assert bad_pixels(info) == [[1, 1], [7, 9]]


@pytest.mark.parametrize("bit", [0x20, 0x100, 0x800, 0x2000, 0x4000])
def test_bits_of_a_cxi_mask_that_leave_a_pixel_good(tmp_path: Path, bit: int) -> None:
    mask = np.full((48, 64), bit, "u2")

    assert bad_pixels(inspect(write_cheetah_cxi(tmp_path / "a.cxi", frames_of(1), mask=mask))) == []


def test_a_mask_of_each_frame_is_what_most_of_them_say(tmp_path: Path) -> None:
    mask = np.zeros((9, 48, 64), "u2")
    mask[:, 3, 4] = 1
    mask[0, 5, 6] = 1
    info = inspect(write_cheetah_cxi(tmp_path / "a.cxi", frames_of(9), mask=mask))

    assert "one for each frame" in info.notes[0]
    assert bad_pixels(info) == [[3, 4]]


def test_a_mask_of_another_shape_is_passed_over_and_told(tmp_path: Path) -> None:
    info = inspect(write_cheetah_cxi(tmp_path / "a.cxi", frames_of(2), mask=np.zeros((40, 64), "u2")))

    assert info.mask is None and "passed over" in info.notes[0]


@pytest.mark.parametrize("number", [1, 3])
def test_single_particle_images(tmp_path: Path, number: int) -> None:
    info = inspect(write_spi_cxi(tmp_path / "a.cxi", frames_of(4), number=number))

    assert (info.layout, info.dataset) == ("SPI CXI", f"/entry_1/image_{number}/data")
    assert (info.geometry.beam_center_x, info.geometry.beam_center_y) == (20.5, 10.25)
    assert info.geometry.photon_energy_ev == pytest.approx(1200)
    assert bad_pixels(info) == [[2, 3]]
    np.testing.assert_array_equal(all_frames(info), frames_of(4))


def module_frames(count: int, *, times: int = 1) -> Any:
    return frames_of(count, shape=MODULE) * times


def test_a_module_of_a_corrected_run_at_the_european_xfel(tmp_path: Path) -> None:
    path = write_euxfel(tmp_path, 3, module_frames(6))

    info = inspect(path, explain=True)

    assert (info.layout, info.frames, info.shape, info.dtype) == ("EuXFEL", 6, MODULE, "float32")
    assert info.dataset == "/INSTRUMENT/SPB_DET_AGIPD1M-1/DET/3CH0:xtdf/image/data"
    assert (info.run, "module 3" in info.reason) == ("r0238", True)
    assert bad_pixels(info) == [[1, 2]]
    assert {other.path.rpartition("/")[2]: bool(other.refused) for other in info.alternatives}["gain"]
    np.testing.assert_array_equal(all_frames(info), module_frames(6))


def test_of_raw_counts_and_gains_the_counts_are_frames(tmp_path: Path) -> None:
    info = inspect(write_euxfel(tmp_path, 0, module_frames(6), raw=True))

    assert (info.frames, info.shape, info.dtype) == (6, MODULE, "uint16")
    assert info.notes == ("raw: of counts and gains, the counts are taken",)
    np.testing.assert_array_equal(all_frames(info), module_frames(6))


def test_rows_behind_the_last_train_are_no_frames(tmp_path: Path) -> None:
    info = inspect(write_euxfel(tmp_path, 0, module_frames(6), raw=True, spare=5))

    assert (info.frames, info.available) == (6, 6)
    assert info.notes[-1].startswith("INDEX: 2 trains")


def test_memory_cells_of_a_jungfrau_are_frames(tmp_path: Path) -> None:
    frames = module_frames(12)
    path = write_euxfel_jungfrau(tmp_path / "RAW-R0012-JNGFR03-S00000.h5", frames, trains=3)

    info = inspect(path)

    assert (info.frames, info.shape, info.frame_axes) == (12, MODULE, (3, 4))
    np.testing.assert_array_equal(all_frames(info), frames)
    np.testing.assert_array_equal(read_frames(path, info.dataset, 3, 6), frames[3:6])


def test_modules_of_a_virtual_cxi_stand_below_each_other(tmp_path: Path) -> None:
    modules = [write_euxfel(tmp_path, number, module_frames(6, times=number + 1)) for number in range(3)]
    info = inspect(write_virtual_cxi(tmp_path / "v.cxi", modules, 6))

    assert (info.layout, info.frames, info.available, info.shape) == ("EXtra-data CXI", 6, 6, (96, 48))
    assert "3 modules stand below each other" in info.notes
    np.testing.assert_array_equal(
        all_frames(info), np.concatenate([module_frames(6, times=t) for t in (1, 2, 3)], axis=1)
    )
    assert bad_pixels(info) == [[1, 2], [33, 2], [65, 2]]


def test_a_raw_virtual_cxi_of_five_axes(tmp_path: Path) -> None:
    modules = [write_euxfel(tmp_path, number, module_frames(6), raw=True) for number in range(2)]
    info = inspect(write_virtual_cxi(tmp_path / "v.cxi", modules, 6, raw=True))

    assert (info.frames, info.shape, info.dtype) == (6, (64, 48), "uint16")
    np.testing.assert_array_equal(all_frames(info), np.concatenate([module_frames(6)] * 2, axis=1))


def test_a_module_without_a_file_is_a_gap(tmp_path: Path) -> None:
    modules = [write_euxfel(tmp_path, 0, module_frames(6)), None]
    info = inspect(write_virtual_cxi(tmp_path / "v.cxi", modules, 6))
    frames = all_frames(info)

    assert (info.available, np.isnan(frames[:, 32:]).all(), np.isnan(frames[:, :32]).any()) == (6, True, False)
    assert len(bad_pixels(info)) == 1 + 32 * 48


def test_frames_without_one_of_the_modules_are_frames(tmp_path: Path) -> None:
    modules = [write_euxfel(tmp_path, number, module_frames(6)) for number in range(2)]
    info = inspect(write_virtual_cxi(tmp_path / "v.cxi", modules, 6, missing_from=4))

    assert (info.frames, info.available) == (6, 6)
    assert np.isnan(all_frames(info)[4:, 32:]).all()


def test_frames_whose_module_file_has_vanished_are_missing(tmp_path: Path) -> None:
    modules = [write_euxfel(tmp_path, number, module_frames(6)) for number in range(2)]
    path = write_virtual_cxi(tmp_path / "v.cxi", modules, 6)
    modules[1].unlink()

    info = inspect(path)

    assert (info.frames, info.available) == (6, 0)
    assert "AGIPD01" in info.missing[0]
    with pytest.raises(MissingError):
        all_frames(info)


def test_modules_of_nxmx_stand_below_each_other(tmp_path: Path) -> None:
    data = np.arange(3 * 8 * 32 * 40, dtype="i4").reshape(3, 8, 32, 40)
    info = inspect(write_nxmx_axes(tmp_path / "a.nxs", data, modules=True))

    assert (info.frames, info.shape) == (3, (256, 40))
    assert len(bad_pixels(info)) == 8
    np.testing.assert_array_equal(all_frames(info), data.reshape(3, 256, 40))


@pytest.mark.parametrize("channels", [1, 2])
def test_of_energy_channels_the_first_is_taken(tmp_path: Path, channels: int) -> None:
    data = np.arange(3 * channels * 32 * 40, dtype="i4").reshape(3, channels, 32, 40)
    info = inspect(write_nxmx_axes(tmp_path / "a.nxs", data, modules=False))

    assert (info.frames, info.shape) == (3, (32, 40))
    assert any("2 energy channels" in note for note in info.notes) == (channels == 2)
    assert bad_pixels(info) == [[4, 5]]
    np.testing.assert_array_equal(all_frames(info), data[:, 0])


def test_geometry_of_nxmx_by_its_units(tmp_path: Path) -> None:
    geometry = inspect(write_nxmx_axes(tmp_path / "a.nxs", np.ones((1, 1, 32, 40), "i4"), modules=False)).geometry

    assert geometry.photon_energy_ev == pytest.approx(12400)
    assert geometry.detector_distance == pytest.approx(0.18)
    assert (geometry.beam_center_x, geometry.beam_center_y) == pytest.approx((30, 20))


def test_frames_of_an_eiger_whose_third_file_never_came(tmp_path: Path) -> None:
    master = write_eiger_legacy(tmp_path, frames_of(8, dtype="u4"), per_file=2)
    (tmp_path / "lyso_1_data_000003.h5").unlink()

    info = inspect(master)

    assert (info.available, info.complete) == (4, False)
    assert "data_000003" in info.missing[0]
    with pytest.raises(NotYetError):
        read_frames(master, info.dataset, 3, 5)


def test_only_projections_of_nxtomo_are_frames(tmp_path: Path) -> None:
    frames = frames_of(9)
    info = inspect(write_nxtomo(tmp_path / "a.nxs", frames, [2, 1, 0, 0, 0, 1, 0, 0, 2]))

    assert (info.layout, info.dataset, info.frames) == ("NXtomo", "/entry1/tomo_entry/data/data", 5)
    assert info.notes == ("image_key: 5 projections are frames; it excludes 4 images: 2 flats and 2 darks",)
    np.testing.assert_array_equal(all_frames(info), frames[[2, 3, 4, 6, 7]])
    np.testing.assert_array_equal(read_frames(info.path, info.dataset, 2, 4), frames[[4, 6]])


def test_flats_and_darks_of_data_exchange_are_no_frames(tmp_path: Path) -> None:
    info = inspect(write_data_exchange(tmp_path / "a.h5", frames_of(4, dtype="f4")), explain=True)

    assert (info.layout, info.frames) == ("DataExchange", 4)
    white = "2 in /exchange/data_white (a flat field or gain map)"
    assert info.notes == (f"calibration images are no frames: 1 in /exchange/data_dark (a dark), {white}",)
    assert info.geometry.photon_energy_ev == pytest.approx(24500)
    assert info.geometry.pixel_size == pytest.approx(0.65e-3)
    assert {other.path for other in info.alternatives} == {"/exchange/data_white", "/exchange/data_dark"}
    assert all(other.refused for other in info.alternatives)


def test_a_jungfrau_of_the_esrf(tmp_path: Path) -> None:
    info = inspect(write_bliss(tmp_path / "a.h5", frames_of(3)))

    assert (info.layout, info.dataset, info.frames) == ("ESRF BLISS", "/entry_0000/measurement/data", 3)
    assert (info.geometry.detector_distance, info.geometry.beam_center_x) == (0.12, 31)
    assert info.geometry.photon_energy_ev == pytest.approx(12037, rel=1e-3)
    assert bad_pixels(info) == [[5, 6]]


def test_a_half_of_a_lambda(tmp_path: Path) -> None:
    info = inspect(write_lambda(tmp_path / "a_m01.nxs", frames_of(3)))

    assert (info.layout, info.dataset) == ("Lambda", "/entry/instrument/detector/data")
    assert info.geometry.pixel_size == pytest.approx(55e-6)
    assert (info.frames, bad_pixels(info)) == (3, [])


def test_tags_of_sacla_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    frames = frames_of(3)
    info = inspect(write_sacla_tags(tmp_path / "run259782.h5", frames, [1000, 98, 102]))

    assert (info.layout, info.dataset, info.frames, info.available) == ("SACLA", "/%/data", 3, 3)
    assert (info.geometry.photon_energy_ev, info.geometry.detector_distance) == (7300, 0.0515)
    assert bad_pixels(info) == [[1, 6]]
    np.testing.assert_array_equal(all_frames(info), frames[[1, 2, 0]])
    np.testing.assert_array_equal(read_frames(info.path, "/%/data", 1, 2), frames[[2]])


def test_a_tag_of_sacla_without_data_is_passed_over(tmp_path: Path) -> None:
    path = write_sacla_tags(tmp_path / "a.h5", frames_of(3), [1, 2, 3])
    with h5py.File(path, "a") as file:
        file.create_group("tag-2000/nothing")

    assert inspect(path).frames == 3


def test_a_run_of_sacla(tmp_path: Path) -> None:
    info = inspect(write_sacla_run(tmp_path / "a.h5", frames_of(3), [7, 9, 11]))

    assert (info.layout, info.dataset, info.run) == (
        "SACLA",
        "/run_259782/detector_2d_1/%/detector_data",
        "run_259782",
    )
    assert info.geometry.pixel_size == pytest.approx(50e-6)
    np.testing.assert_array_equal(all_frames(info), frames_of(3))


def test_a_run_of_the_pal_xfel(tmp_path: Path) -> None:
    info = inspect(write_pal(tmp_path / "a.h5", frames_of(3)))

    assert (info.layout, info.dataset, info.run) == ("PAL-XFEL", "/R0041/scan_dat/raymx_data", "R0041")
    assert info.geometry.detector_distance == pytest.approx(0.11)
    assert info.geometry.photon_energy_ev == pytest.approx(9762.5, rel=1e-4)


@pytest.mark.parametrize("place", ["data/data", "data/rawdata0"])
def test_a_frame_of_old_cheetah(tmp_path: Path, place: str) -> None:
    info = inspect(write_old_cheetah(tmp_path / "LCLS_2011_r0100_1.h5", frames_of(1)[0], place=place))

    assert (info.layout, info.dataset, info.frames) == ("old Cheetah", f"/{place}", 1)
    assert info.geometry.photon_energy_ev == 8000
    np.testing.assert_array_equal(all_frames(info), frames_of(1))


def test_counted_photons(tmp_path: Path) -> None:
    info = inspect(write_photon_counts(tmp_path / "a.h5", frames_of(3)))

    assert (info.layout, info.dataset, info.frames) == (
        "photonConverter",
        "/photonConverter/pnccdBack/photonCount",
        3,
    )


def test_sources_that_are_counted_by_a_pattern(tmp_path: Path) -> None:
    frames = frames_of(6)
    path = write_numbered_virtual(tmp_path, frames, per_file=2)
    assert inspect(path).available == 6
    np.testing.assert_array_equal(read_frames(path, "/images", 0, 6), frames)

    (tmp_path / "part_1.h5").rename(tmp_path / "elsewhere.h5")
    assert inspect(path).available == 2


def test_every_reason_is_told(tmp_path: Path) -> None:
    for path in (write_cxi(tmp_path / "a.cxi", frames_of(1)), write_plain(tmp_path / "b.h5", "x/images", frames_of(2))):
        assert inspect(path).reason
    assert inspect(tmp_path / "b.h5", "x/images").reason == "it was named"
