from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from photon_triage.core.common.errors import NotYetError, SourceError
from photon_triage.core.sources import FrameReader, inspect, read_frames
from photon_triage.core.sources.common.info import SourceInfo
from tests.builders.detector_files import frames_of, make_old, write_plain

LOOK_ALIKES: dict[str, tuple[str, Any]] = {
    "mask": ("instrument/pixel_mask", np.ones((64, 64), "u1")),
    "bad pixels": ("badpixels", np.ones((64, 64), "i2")),
    "flat field": ("calibration/flatfield", np.ones((64, 64), "f4")),
    "dark": ("dark/data", np.ones((4, 64, 64), "u2")),
    "preview": ("Preview/Image", np.ones((64, 64), "u2")),
    "colour picture": ("beamline/picture", np.ones((64, 64, 3), "u1")),
    "spectra": ("xrf/counts", np.ones((4, 64, 2048), "u4")),
    "list of peaks": ("result/peakXPosRaw", np.ones((64, 2048), "f4")),
    "coordinates": ("geometry_data/x", np.ones((64, 64), "f4")),
    "errors": ("sas/I_errors", np.ones((64, 64), "f4")),
}


@pytest.mark.parametrize("kind", LOOK_ALIKES)
def test_a_look_alike_is_refused_with_its_reason(tmp_path: Path, kind: str) -> None:
    name, data = LOOK_ALIKES[kind]
    path = make_old(write_plain(tmp_path / "x.h5", name, data))

    with pytest.raises(SourceError, match=r"no numeric data set.*refused were") as told:
        inspect(path)
    assert not isinstance(told.value, NotYetError)
    assert f"/{name}" in told.value.message and "--dataset" in told.value.hint


@pytest.mark.parametrize("kind", LOOK_ALIKES)
def test_a_larger_look_alike_is_passed_over_and_told(tmp_path: Path, kind: str) -> None:
    name, data = LOOK_ALIKES[kind]
    path = write_plain(tmp_path / "x.h5", name, data)
    with h5py.File(path, "a") as file:
        file["run/images"] = frames_of(1, shape=(40, 40))

    info = inspect(path, explain=True)

    assert (info.dataset, info.frames) == ("/run/images", 1)
    assert [other.path for other in info.alternatives if other.refused] == [f"/{name}"]


def test_a_look_alike_may_be_named(tmp_path: Path) -> None:
    path = make_old(write_plain(tmp_path / "x.h5", "dark/data", frames_of(3)))

    assert inspect(path, "dark/data").frames == 3
    assert inspect(path, any_image=True).dataset == "/dark/data"


def test_a_file_that_is_named_as_a_mask_is_one(tmp_path: Path) -> None:
    path = make_old(write_plain(tmp_path / "mask_pnccd.h5", "data/data", np.ones((64, 64), "i2")))

    with pytest.raises(SourceError, match="a mask"):
        inspect(path)


@pytest.mark.parametrize("interpretation", ["spectrum", "image"])
def test_what_a_data_set_says_of_itself_counts(tmp_path: Path, interpretation: str) -> None:
    path = make_old(write_plain(tmp_path / "x.h5", "scan/counts", frames_of(3)))
    with h5py.File(path, "a") as file:
        file["scan/counts"].attrs["interpretation"] = interpretation
    make_old(path)

    if interpretation == "image":
        assert inspect(path).frames == 3
    else:
        with pytest.raises(SourceError, match="its interpretation"):
            inspect(path)


@pytest.mark.parametrize(
    ("name", "shape", "options"),
    [
        ("Data/Image/8874d5e7/Data", (48, 64, 40), {}),
        ("stack", (48, 64, 5), {}),
        ("stack", (48, 64, 40), {"chunks": (48, 64, 1)}),
    ],
)
def test_frames_along_the_last_axis(
    tmp_path: Path, name: str, shape: tuple[int, int, int], options: dict[str, Any]
) -> None:
    frames = frames_of(shape[2])
    path = make_old(write_plain(tmp_path / "x.h5", name, np.moveaxis(frames, 0, 2), **options))

    info = inspect(path)

    assert (info.frames, info.available, info.shape) == (shape[2], shape[2], (48, 64))
    assert info.notes == ("frames lie along the last axis",)
    np.testing.assert_array_equal(read_frames(path, info.dataset, 1, 4), frames[1:4])


def test_axes_that_are_named_are_believed(tmp_path: Path) -> None:
    path = make_old(write_plain(tmp_path / "x.h5", "stack", np.moveaxis(frames_of(40), 0, 2)))
    with h5py.File(path, "a") as file:
        file["stack"].attrs["axes"] = "y:x:experiment_identifier"
    make_old(path)

    assert (inspect(path).frames, inspect(path).shape) == (40, (48, 64))
    np.testing.assert_array_equal(read_frames(path, "/stack", 7, 9), frames_of(2, first=7))


def test_axes_before_an_image_count_frames(tmp_path: Path) -> None:
    scan = frames_of(12).reshape(1, 3, 4, 48, 64)
    path = make_old(write_plain(tmp_path / "x.h5", "scan", scan))

    info = inspect(path)

    assert (info.frames, info.frame_axes) == (12, (3, 4))
    np.testing.assert_array_equal(read_frames(path, "/scan", 2, 9), frames_of(7, first=2))


def test_what_was_told_survives_json(tmp_path: Path) -> None:
    path = write_plain(tmp_path / "x.h5", "images", frames_of(2))
    with h5py.File(path, "a") as file:
        file["mask"] = np.ones((64, 64), "u1")

    with FrameReader() as reader:
        info = reader.inspect(path, explain=True)

    assert SourceInfo.from_json(json.loads(json.dumps(info.to_json()))) == info
    assert info.alternatives[0].path == "/mask"
