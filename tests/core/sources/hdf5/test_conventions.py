"""Conventions in their old and new forms: which images are frames, and what is said of the others."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from photon_triage.core.common.errors import MissingError, NotYetError, SourceError
from photon_triage.core.sources import FrameReader, SourceInfo, inspect, read_frames, read_mask
from photon_triage.core.sources.common.names import calibration_name
from tests.builders.detector_files import JOULE_PER_EV, frames_of, make_old, write_plain
from tests.builders.facility_files import write_euxfel, write_nxtomo

SHAPE = (48, 64)
LARGER = (60, 80)


def written(path: Path, write: Callable[[h5py.File], None]) -> Path:
    with h5py.File(path, "w") as file:
        write(file)
    return make_old(path)


def refused(path: Path, reason: str) -> None:
    with pytest.raises(SourceError, match=reason) as told:
        inspect(path)
    assert not isinstance(told.value, NotYetError)


def nexus(file: h5py.File, name: str, kind: str) -> Any:
    group = file.require_group(name)
    group.attrs["NX_class"] = kind
    return group


def told(info: SourceInfo, words: str) -> bool:
    return any(words in note for note in info.notes)


@pytest.mark.parametrize("signal", [1, "1", b"1", np.array([1]), np.array(["1"], "S1"), np.int8(1)])
@pytest.mark.parametrize("entry", ["entry", "scan_0042", "raw_data_1", "S1"])
def test_the_signal_of_nexus_before_2014(tmp_path: Path, signal: Any, entry: str) -> None:
    def write(file: h5py.File) -> None:
        nexus(file, entry, "NXentry")
        group = nexus(file, f"{entry}/measured", "NXdata")
        group["computed"] = np.zeros((3, *LARGER))
        group["counts"] = frames_of(3)
        group["counts"].attrs["signal"] = signal
        group["other"] = np.zeros((3, *LARGER))
        group["other"].attrs["signal"] = 2

    info = inspect(written(tmp_path / "a.nxs", write))

    assert (info.dataset, info.frames, info.shape) == (f"/{entry}/measured/counts", 3, SHAPE)
    assert told(info, "2 further data sets of frames in this file were not read")


def test_the_signal_of_a_group_without_a_class(tmp_path: Path) -> None:
    def write(file: h5py.File) -> None:
        file["results/stack"] = frames_of(2)
        file["results"].attrs["signal"] = "stack"
        file["results/larger"] = np.zeros((4, *LARGER))

    info = inspect(written(tmp_path / "a.h5", write))

    assert info.dataset == "/results/stack" and told(info, "/results/larger (4 frames)")


def test_a_chain_of_defaults(tmp_path: Path) -> None:
    def write(file: h5py.File) -> None:
        file.attrs["default"] = "scan"
        nexus(file, "scan", "NXentry").attrs["default"] = "sub"
        nexus(file, "scan/sub", "NXsubentry").attrs["default"] = "plot"
        nexus(file, "scan/sub/plot", "NXdata").attrs["signal"] = "counts"
        file["scan/sub/plot/counts"] = frames_of(2)
        file["scan/data/data"] = np.zeros((2, *LARGER))

    assert inspect(written(tmp_path / "a.nxs", write)).dataset == "/scan/sub/plot/counts"


def test_images_behind_groups_that_are_soft_links(tmp_path: Path) -> None:
    def write(file: h5py.File) -> None:
        file["store/eiger/frames"] = frames_of(2)
        file["store/eiger"].attrs["signal"] = "frames"
        nexus(file, "entry", "NXentry")
        file["store/beam/incident_energy"] = 12.0
        file["store/beam/incident_energy"].attrs["units"] = "keV"
        file["entry/data"] = h5py.SoftLink("/store/eiger")
        file["entry/instrument"] = h5py.SoftLink("/store")

    info = inspect(written(tmp_path / "a.nxs", write))

    assert (info.dataset, info.geometry.photon_energy_ev) == ("/entry/data/frames", 12000)
    assert info.notes == ()


def test_all_scans_of_a_file_are_counted(tmp_path: Path) -> None:
    def write(file: h5py.File) -> None:
        for number in range(1, 14):
            nexus(file, f"{number}.1", "NXentry")
            file[f"{number}.1/measurement/eiger"] = frames_of(number)

    info = inspect(written(tmp_path / "a.h5", write))

    assert (info.dataset, info.frames) == ("/1.1/measurement/eiger", 1)
    assert told(info, "12 further scans in this file were not read: ") and told(info, "and 7 more")


def test_further_entries_and_detectors_of_cxi_are_counted(tmp_path: Path) -> None:
    def write(file: h5py.File) -> None:
        file["entry_1/data_1/data"] = frames_of(2)
        file["entry_1/data_2/data"] = frames_of(3, shape=LARGER)
        file["entry_2/data_1/data"] = frames_of(4)
        file["entry_1/instrument_1/detector_1/data"] = file["entry_1/data_1/data"]

    info = inspect(written(tmp_path / "a.cxi", write))

    assert info.dataset == "/entry_1/data_1/data"
    assert told(info, "2 further data sets of frames") and told(info, "/entry_2/data_1/data (4 frames)")


def test_the_second_detector_of_a_cxi_file_alone(tmp_path: Path) -> None:
    def write(file: h5py.File) -> None:
        detector = file.create_group("entry_1/instrument_1/detector_2")
        detector["data"], detector["distance"] = frames_of(2), 0.3
        file["entry_1/instrument_1/detector_1/distance"] = 0.1

    info = inspect(written(tmp_path / "a.cxi", write))

    assert info.dataset == "/entry_1/instrument_1/detector_2/data"
    assert info.geometry.detector_distance == 0.3


def test_a_virtual_data_set_and_its_sources_are_the_same_frames(tmp_path: Path) -> None:
    def write(file: h5py.File) -> None:
        nexus(file, "entry", "NXentry")
        file.create_dataset("entry/raw", data=frames_of(2), chunks=(1, *SHAPE))
        layout = h5py.VirtualLayout((2, *SHAPE), "i2")
        layout[:] = h5py.VirtualSource(".", "/entry/raw", (2, *SHAPE))
        file.require_group("entry/data").create_virtual_dataset("data", layout)

    info = inspect(written(tmp_path / "a.nxs", write))

    assert (info.dataset, info.available, info.notes) == ("/entry/data/data", 2, ())


def test_dangling_counters_beside_images(tmp_path: Path) -> None:
    def write(file: h5py.File) -> None:
        nexus(file, "entry", "NXentry")
        for name, target in (("counter", "absent.h5"), ("zeta", "too.h5")):
            nexus(file, f"entry/{name}", "NXdata").attrs["signal"] = "data"
            file[f"entry/{name}/data"] = h5py.ExternalLink(target, "/data")
        nexus(file, "entry/imaging", "NXdata").attrs["signal"] = "data"
        file["entry/imaging/data"] = frames_of(3)
        file["entry/sample"] = h5py.SoftLink("/nowhere")

    path = written(tmp_path / "a.nxs", write)
    path.touch()

    info = inspect(path)
    assert (info.dataset, info.frames) == ("/entry/imaging/data", 3)
    assert told(info, "links lead to files that are not there: /entry/counter/data, /entry/zeta/data")


def test_images_that_alone_are_not_there_are_waited_for(tmp_path: Path) -> None:
    def write(file: h5py.File) -> None:
        nexus(file, "entry", "NXentry")
        nexus(file, "entry/imaging", "NXdata").attrs["signal"] = "data"
        file["entry/imaging/data"] = h5py.ExternalLink("absent.h5", "/data")
        file["entry/table"] = np.zeros((3, 4))

    path = written(tmp_path / "a.nxs", write)
    path.touch()

    with pytest.raises(MissingError, match=r"absent\.h5"):
        inspect(path)


def test_images_behind_thousands_of_nested_groups(tmp_path: Path) -> None:
    def write(file: h5py.File) -> None:
        group = file.create_group("aaa")
        for _ in range(3000):
            group = group.create_group("deeper")
        for number in range(2000):
            file.create_group(f"log/{number:05}")
        group["up"] = h5py.SoftLink("/aaa")
        file["zzz/images"] = frames_of(2)

    info = inspect(written(tmp_path / "a.h5", write))

    assert (info.dataset, info.frames) == ("/zzz/images", 2)
    assert info.notes == ("the search ended after 4000 objects of the file, so that further frames may be in it",)


def test_further_frames_are_looked_for_within_bounds(tmp_path: Path) -> None:
    def write(file: h5py.File) -> None:
        file["entry/data/data"] = frames_of(2)
        for number in range(4500):
            file.create_group(f"log/{number:05}")

    info = inspect(written(tmp_path / "a.h5", write))

    assert info.frames == 2
    assert info.notes == ("the search ended after 4000 objects of the file, so that further frames may be in it",)


def test_a_search_that_ends_early_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(file: h5py.File) -> None:
        for number in range(60):
            file[f"log/{number}/x"] = np.zeros(3)
        file["log/z/deep/deeper/images"] = frames_of(2)

    monkeypatch.setattr("photon_triage.core.sources.hdf5.layouts.search.MOST_OBJECTS", 100)

    refused(written(tmp_path / "a.h5", write), "no frames.*the search ended after 100 objects")


def test_names_that_are_no_text_are_passed_over_and_told(tmp_path: Path) -> None:
    name = b"latin_\xe9\xff"
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_group(name).create_dataset("images", data=frames_of(2))
        file["images"] = frames_of(3)
        file["absent"] = h5py.ExternalLink(os.fsdecode(name), "/x")

    info = inspect(make_old(tmp_path / "a.h5"))

    assert (info.dataset, info.frames) == ("/images", 3)
    assert told(info, r"1 objects whose names are no UTF-8 were not looked at: /latin_\xe9\xff")
    for note in info.notes:
        assert note.encode()


def test_an_error_can_be_written_whatever_a_file_names(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["entry/data/data_000001"] = h5py.ExternalLink(os.fsdecode(b"latin_\xe9\xff.h5"), "/x")
    make_old(tmp_path / "a.h5")

    with FrameReader() as reader, pytest.raises(SourceError) as failed:
        reader.inspect(tmp_path / "a.h5")
    assert failed.value.message.encode()


def test_links_in_a_circle(tmp_path: Path) -> None:
    def write(file: h5py.File) -> None:
        file["a/b"] = h5py.SoftLink("/c")
        file["c/d"] = h5py.SoftLink("/a")
        file["loop"] = h5py.SoftLink("/loop")
        file["a/itself"] = file["a"]
        file["c/x/images"] = frames_of(2)

    info = inspect(written(tmp_path / "a.h5", write))

    assert (info.dataset, info.notes) == ("/c/x/images", ())


KEYS = np.array([2, 1, 0, 0, 0, 1])
TEXTS = [["dark", "flat", "projection", "projection", "projection", "flat"], list("210001")]


@pytest.mark.parametrize(
    "keys",
    [
        *(KEYS.astype(dtype) for dtype in ("u1", "i4", "i8", "f4", "f8", ">i2")),
        KEYS[:, None],
        *(np.array(texts, "S10") for texts in TEXTS),
        np.array(TEXTS[0], object),
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["image_key", "image_key_control"])
def test_image_keys_of_any_type(tmp_path: Path, keys: Any, name: str) -> None:
    path = write_nxtomo(tmp_path / "a.nxs", frames_of(6), [0] * 6)
    with h5py.File(path, "a") as file:
        detector = file["entry1/tomo_entry/instrument/detector"]
        del detector["image_key"]
        detector[name] = keys

    info = inspect(make_old(path))

    assert (info.frames, info.available) == (3, 3)
    assert info.notes == ("image_key: 3 projections are frames; it excludes 3 images: 2 flats and 1 dark",)
    np.testing.assert_array_equal(read_frames(path, info.dataset, 0, 3), frames_of(6)[2:5])


def test_a_key_at_the_detector_of_another_name(tmp_path: Path) -> None:
    def write(file: h5py.File) -> None:
        nexus(file, "entry", "NXentry")
        nexus(file, "entry/pco", "NXdata").attrs["signal"] = "data"
        file["entry/pco/data"] = frames_of(6)
        file["entry/instrument/pco/image_key"] = KEYS

    assert inspect(written(tmp_path / "a.nxs", write)).frames == 3


def test_a_file_of_flats_alone_holds_no_frames(tmp_path: Path) -> None:
    refused(write_nxtomo(tmp_path / "a.nxs", frames_of(2), [1, 1]), "none of its images is a frame.*2 flats")
    (tmp_path / "a.nxs").touch()
    with pytest.raises(NotYetError):
        inspect(tmp_path / "a.nxs")


@pytest.mark.parametrize("group", ["dark", "darks", "flat_field", "white", "data_dark"])
def test_calibrations_told_by_a_group(tmp_path: Path, group: str) -> None:
    def write(file: h5py.File) -> None:
        nexus(file, "entry", "NXentry")
        file["entry/data/data"] = frames_of(5)
        file[f"entry/{group}/data"] = frames_of(2)

    info = inspect(written(tmp_path / "a.nxs", write))

    assert (info.dataset, info.frames) == ("/entry/data/data", 5)
    assert told(info, f"calibration images are no frames: 2 in /entry/{group}/data")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("dark_00001.tif", "a dark"),
        ("pco2_flats_00000.hdf", "a flat field"),
        ("scan2_darks_10ms.tif", "a dark"),
        ("FlatField.tif", "a flat field"),
        ("DARKFIELD_1.tiff", "a dark"),
        ("ref0000_0000.edf", "a flat field"),
        ("darkend0000.edf", "a dark"),
        ("sample_bg.tif", "a background"),
        ("tomo_flat_before_0003.h5", "a flat field"),
        ("raw_00001.tif", ""),
        ("dark_adapted_rhodopsin_0001.h5", ""),
        ("reference_lysozyme_0001.tif", ""),
        ("scan_0001.tif", ""),
        ("bgo_0001.tif", ""),
        ("darkness.tif", ""),
        ("走査_0001.h5", ""),
        ("0001.tif", ""),
    ],
)
def test_calibrations_told_by_a_name(name: str, kind: str) -> None:
    assert calibration_name(f"/data/dark/{name}") == kind


def test_a_file_named_as_a_flat_field_may_be_named(tmp_path: Path) -> None:
    def write(file: h5py.File) -> None:
        nexus(file, "entry", "NXentry")
        file["entry/data/data"] = frames_of(3)

    path = written(tmp_path / "flat_0001.nxs", write)

    refused(path, "a flat field .the file's name says so.")
    assert inspect(path, "/entry/data/data").frames == 3
    assert inspect(path, any_image=True).frames == 3


def test_the_dark_run_of_a_crystallographer_is_data(tmp_path: Path) -> None:
    def write(file: h5py.File) -> None:
        nexus(file, "entry", "NXentry")["definition"] = "NXmx"
        file["entry/data/data"] = frames_of(3)

    assert inspect(written(tmp_path / "protein_dark_0001.nxs", write)).frames == 3


@pytest.mark.parametrize("name", ["flag", "origin"])
def test_trains_that_are_not_valid_are_excluded(tmp_path: Path, name: str) -> None:
    frames = frames_of(6, shape=(32, 48))
    path = write_euxfel(tmp_path, 0, frames, trains=3)
    with h5py.File(path, "a") as file:
        file[f"INDEX/{name}"] = np.array([1, 0, 1] if name == "flag" else [-1, 2, -1], "i4")

    info = inspect(make_old(path))

    assert (info.frames, info.available) == (4, 4)
    assert info.notes[0] == "INDEX: 2 trains with data; 2 frames of trains that are not valid are excluded"
    np.testing.assert_array_equal(read_frames(path, info.dataset, 0, 4), frames[[0, 1, 4, 5]].astype("f4"))


def spectra_by_units(file: h5py.File) -> None:
    nexus(file, "entry", "NXentry")
    group = nexus(file, "entry/mapping", "NXdata")
    group.attrs.update({"signal": "data", "axes": ["y", "x", "e"]})
    group["data"], group["e"] = np.ones((40, 50, 2048)), np.linspace(1, 20, 2048)
    group["e"].attrs["units"] = "keV"


def spectra_by_axis_number(file: h5py.File) -> None:
    nexus(file, "entry", "NXentry")
    group = nexus(file, "entry/xsp", "NXdata")
    group["data"], group["bins"] = np.ones((3, 48, 4096)), np.arange(4096.0)
    group["data"].attrs["signal"] = 1
    group["bins"].attrs.update({"axis": 3, "units": "eV"})


def spectra_by_long_name(file: h5py.File) -> None:
    nexus(file, "processed", "NXentry")
    group = nexus(file, "processed/result", "NXdata")
    group.attrs.update({"signal": "data", "axes": [".", "binning"]})
    group["data"], group["binning"] = np.ones((50, 4038)), np.linspace(1, 20, 4038)
    group["binning"].attrs["long_name"] = "two_theta (degrees)"


def spectra_by_detector(file: h5py.File) -> None:
    nexus(file, "entry", "NXentry")
    nexus(file, "entry/instrument", "NXinstrument")
    nexus(file, "entry/instrument/xspress3", "NXdetector")["data"] = np.ones((5, 40, 4096))


def spectra_of_a_q_axis(file: h5py.File) -> None:
    nexus(file, "entry", "NXentry")
    group = nexus(file, "entry/integrated", "NXdata")
    group.attrs["signal"] = "I"
    group["I"], group["radial"] = np.ones((60, 1000)), np.linspace(0, 5, 1000)
    group["radial"].attrs["units"] = "1/nm"


def vectors_of_entries(file: h5py.File) -> None:
    file["scan/profile"] = np.ones((100, 400))
    file["scan/time"] = np.arange(100.0)


def vectors_that_are_appended(file: h5py.File) -> None:
    file.create_dataset("scan/digitized", data=np.ones((100, 400)), maxshape=(None, 400), chunks=(1, 400))


def long_rows(file: h5py.File) -> None:
    file["something"] = np.ones((64, 2048))


def control_arrays(file: h5py.File) -> None:
    file["METADATA/dataFormatVersion"] = np.array([b"1.2"])
    file["INDEX/trainId"] = np.arange(100, dtype="u8")
    file["CONTROL/FXE/DET/angDir/value"] = np.zeros((100, 1000), "i2")
    file["RUN/FXE/DET/table/value"] = np.zeros((2, 64, 64), "i2")


def tiny(file: h5py.File) -> None:
    file["a"], file["b"] = np.ones((10, 20, 20)), np.ones((4, 2048))


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (spectra_by_units, "spectra"),
        (spectra_by_axis_number, "spectra .its last axis is"),
        (spectra_by_long_name, "spectra .its last axis is"),
        (spectra_by_detector, "spectra .its name says so"),
        (spectra_of_a_q_axis, "spectra .its last axis is a momentum transfer"),
        (vectors_of_entries, "a list of rows .one row for each of time"),
        (vectors_that_are_appended, "a list of rows .rows are appended"),
        (long_rows, "its rows are 32 times as long"),
        (control_arrays, "settings and readings"),
        (tiny, "no frames"),
    ],
)
def test_spectra_and_settings_are_no_images(tmp_path: Path, write: Any, reason: str) -> None:
    refused(written(tmp_path / "a.nxs", write), reason)


def test_images_over_axes_in_the_same_unit_are_images(tmp_path: Path) -> None:
    def write(file: h5py.File) -> None:
        nexus(file, "entry", "NXentry")
        group = nexus(file, "entry/map", "NXdata")
        group.attrs.update({"signal": "data", "axes": ["theta", "qy", "qx"]})
        group["data"], group["theta"] = frames_of(3), np.arange(3.0)
        group["theta"].attrs["units"] = "deg"
        for name, side in (("qy", 48), ("qx", 64)):
            group[name] = np.arange(float(side))
            group[name].attrs["units"] = "1/angstrom"

    assert inspect(written(tmp_path / "a.nxs", write)).frames == 3


def geometry_of(tmp_path: Path, write: Callable[[Any], None]) -> SourceInfo:
    def whole(file: h5py.File) -> None:
        nexus(file, "entry", "NXentry")
        file["entry/data/data"] = frames_of(3)
        nexus(file, "entry/instrument", "NXinstrument")
        nexus(file, "entry/instrument/detector", "NXdetector")
        write(file["entry/instrument"])

    return inspect(written(tmp_path / "a.nxs", whole))


def put(group: Any, name: str, value: Any, unit: str = "") -> None:
    group[name] = value
    if unit:
        group[name].attrs["units"] = unit


@pytest.mark.parametrize(
    ("value", "unit", "metres"),
    [
        (0.25, "m", 0.25),
        (250.0, "mm", 0.25),
        ([250.0], "mm", 0.25),
        ([250.0, 250.0, 250.0], "mm", 0.25),
        ([[250.0]], "millimeters", 0.25),
        (25.0, "cm", 0.25),
        (250_000, "um", 0.25),
        (2.5e8, "nm", 0.25),
        (2.5e9, "A", 0.25),
        (0.25, "", 0.25),
        (250.0, "furlong", None),
        (250.0, "arbitrary units", None),
    ],
)
def test_a_distance_in_its_unit(tmp_path: Path, value: Any, unit: str, metres: float | None) -> None:
    info = geometry_of(tmp_path, lambda instrument: put(instrument, "detector/distance", value, unit))

    assert info.geometry.detector_distance == pytest.approx(metres)
    assert told(info, f"{unit} is no known unit of length") == (metres is None)


@pytest.mark.parametrize(
    ("place", "value", "unit", "ev"),
    [
        ("beam/incident_energy", 12.4, "keV", 12400),
        ("beam/incident_energy", 12400, "eV", 12400),
        ("beam/incident_energy", 12400 * JOULE_PER_EV, "J", 12400),
        ("beam/incident_energy", 0.0124, "MeV", 12400),
        ("beam/incident_energy", 12.4, "hartree", None),
        ("beam/incident_wavelength", 1.0, "angstrom", 12398.4),
        ("beam/incident_wavelength", 0.1, "nm", 12398.4),
        ("beam/incident_wavelength", 1e-10, "m", 12398.4),
        ("beam/incident_wavelength", [1.0, 1.0, 1.0], "A", 12398.4),
        ("beam/incident_wavelength", 1.0, "inch", None),
        ("monochromator/energy", 12.4, "keV", 12400),
        ("monochromator/wavelength", 1.0, "A", 12398.4),
    ],
)
def test_an_energy_where_nexus_allows_it(tmp_path: Path, place: str, value: Any, unit: str, ev: float | None) -> None:
    info = geometry_of(tmp_path, lambda instrument: put(instrument, place, value, unit))

    assert info.geometry.photon_energy_ev == (ev and pytest.approx(ev, rel=1e-5))
    assert told(info, "is no known unit") == (ev is None)


def test_an_energy_in_a_beam_of_any_name(tmp_path: Path) -> None:
    def write(instrument: Any) -> None:
        instrument.create_group("DCM").attrs["NX_class"] = "NXmonochromator"
        put(instrument["DCM"], "energy", 8.0, "keV")

    assert geometry_of(tmp_path, write).geometry.photon_energy_ev == 8000


def test_a_value_of_each_frame_that_varies_is_its_median_and_told(tmp_path: Path) -> None:
    info = geometry_of(
        tmp_path, lambda instrument: put(instrument, "beam/incident_energy", [9000.0, np.nan, 9010.0, 9500.0], "eV")
    )

    assert info.geometry.photon_energy_ev == 9010
    assert told(info, "varies from 9000 to 9500: the median 9010 is taken")


@pytest.mark.parametrize(
    ("value", "unit", "center"),
    [
        (31.5, "", 31.5),
        (31.5, "pixel", 31.5),
        ([31.5] * 3, "pixels", 31.5),
        (2.3625, "mm", 31.5),
        (2.3625e-3, "m", 31.5),
        (31.5, "turns", None),
    ],
)
def test_a_beam_centre_in_its_unit(tmp_path: Path, value: Any, unit: str, center: float | None) -> None:
    def write(instrument: Any) -> None:
        put(instrument, "detector/x_pixel_size", 75.0, "um")
        put(instrument, "detector/y_pixel_size", 75.0, "um")
        put(instrument, "detector/beam_center_x", value, unit)

    info = geometry_of(tmp_path, write)

    assert info.geometry.beam_center_x == pytest.approx(center)
    assert told(info, "turns is no known unit") == (center is None)


def test_a_beam_centre_in_metres_without_a_pixel_size_is_unknown(tmp_path: Path) -> None:
    info = geometry_of(tmp_path, lambda instrument: put(instrument, "detector/beam_center_x", 0.002, "m"))

    assert info.geometry.beam_center_x is None and told(info, "the size of a pixel is unknown")


def test_a_distance_along_the_chain_of_transformations(tmp_path: Path) -> None:
    def write(instrument: Any) -> None:
        instrument["detector/depends_on"] = "transformations/fine"
        for name, value, unit, after in (("fine", 5.0, "mm", "coarse"), ("coarse", 0.2, "m", ".")):
            put(instrument, f"detector/transformations/{name}", [value], unit)
            node = instrument[f"detector/transformations/{name}"]
            node.attrs.update({"transformation_type": "translation", "vector": [0, 0, 1.0], "depends_on": after})

    assert geometry_of(tmp_path, write).geometry.detector_distance == pytest.approx(0.205)


def test_the_geometry_of_the_detector_that_has_the_frames(tmp_path: Path) -> None:
    def write(file: h5py.File) -> None:
        nexus(file, "entry", "NXentry")
        nexus(file, "entry/instrument", "NXinstrument")
        for name, away in (("a_camera", 9.0), ("eiger", 0.4)):
            nexus(file, f"entry/instrument/{name}", "NXdetector")["distance"] = away
        file["entry/instrument/eiger/data"] = frames_of(3)
        nexus(file, "entry/plot", "NXdata").attrs["signal"] = "data"
        file["entry/plot/data"] = h5py.SoftLink("/entry/instrument/eiger/data")

    assert inspect(written(tmp_path / "a.nxs", write)).geometry.detector_distance == 0.4


def test_the_geometry_of_cxi_behind_links_and_for_each_frame(tmp_path: Path) -> None:
    def write(file: h5py.File) -> None:
        detector = file.create_group("entry_1/instrument_1/detector_1")
        detector["data"] = frames_of(3)
        detector["x_pixel_size"], detector["y_pixel_size"] = [1e-4], 1e-4
        detector["geometry_1/translation"] = np.tile([0.0, 0.0, 0.581], (3, 1))
        detector["corner_position"] = np.tile([-2e-3, 3e-3, 0.1], (3, 1))
        file["sources/main/wavelength"] = np.full(3, 1e-10)
        file["entry_1/instrument_1/source_1"] = h5py.SoftLink("/sources/main")
        file["entry_1/data_1"] = h5py.SoftLink("/entry_1/instrument_1/detector_1")

    geometry = inspect(written(tmp_path / "a.cxi", write)).geometry

    assert geometry.detector_distance == pytest.approx(0.581)
    assert geometry.photon_energy_ev == pytest.approx(12398.4, rel=1e-5)
    assert (geometry.beam_center_x, geometry.beam_center_y) == pytest.approx((20, 30))


def test_images_of_single_particles_lead_to_their_detector(tmp_path: Path) -> None:
    def write(file: h5py.File) -> None:
        file["entry_1/image_1/data"] = frames_of(2)
        file["entry_1/instrument_1/detector_2/distance"] = 0.73
        file["entry_1/instrument_1/detector_1/distance"] = 0.1
        file["entry_1/image_1/detector_1"] = h5py.SoftLink("/entry_1/instrument_1/detector_2")

    assert inspect(written(tmp_path / "a.cxi", write)).geometry.detector_distance == 0.73


def masked(tmp_path: Path, mask: Any) -> SourceInfo:
    def write(file: h5py.File) -> None:
        file["entry_1/data_1/data"] = frames_of(3)
        file["entry_1/data_1/mask"] = mask

    return inspect(written(tmp_path / "a.cxi", write))


@pytest.mark.parametrize("dtype", ["u1", "u2", "i4", "f4", "?"])
def test_a_mask_that_leaves_next_to_nothing_is_not_used(tmp_path: Path, dtype: str) -> None:
    mask = np.ones(SHAPE, dtype)
    mask[:, :3] = 0

    info = masked(tmp_path, mask)

    assert info.mask is None
    assert told(info, "the mask /entry_1/data_1/mask leaves 4.7 % of the pixels and is not used")


def test_a_mask_that_leaves_little_is_used_and_told(tmp_path: Path) -> None:
    mask = np.zeros(SHAPE, "u2")
    mask[:, 20:] = 1

    info = masked(tmp_path, mask)

    assert info.mask and told(info, "leaves 31 % of the pixels")
    valid = read_mask(info)
    assert valid is not None and valid.sum() == 48 * 20


def test_a_mask_of_floating_numbers(tmp_path: Path) -> None:
    mask = np.zeros(SHAPE)
    mask[3, 4], mask[5, 6] = 1, np.nan

    valid = read_mask(masked(tmp_path, mask))

    assert valid is not None and np.argwhere(~valid).tolist() == [[3, 4], [5, 6]]


def test_a_plain_array_needs_no_note(tmp_path: Path) -> None:
    assert inspect(make_old(write_plain(tmp_path / "a.h5", "images", frames_of(2)))).notes == ()
