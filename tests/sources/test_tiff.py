from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from photon_triage.core.errors import NotYetError, SourceError
from photon_triage.core.sources import inspect, read_frames
from tests.builders.detector_files import frames_of, make_old, write_simulated_tiff
from tests.shared_data import shared_data


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8"])
def test_pages_are_frames_in_their_dtype(tmp_path: Path, dtype: str) -> None:
    frames = frames_of(3, dtype=dtype)
    tifffile.imwrite(tmp_path / "a.tif", frames, photometric="minisblack", metadata=None)

    info = inspect(tmp_path / "a.tif")

    assert (info.frames, info.available, info.complete, info.shape) == (3, 3, False, (48, 64))
    assert info.dtype == np.dtype(dtype).name
    np.testing.assert_array_equal(read_frames(tmp_path / "a.tif", "", 0, 3), frames)


@pytest.mark.parametrize(
    "options",
    [
        {"tile": (32, 32)},
        {"compression": "lzw"},
        {"compression": "zlib", "predictor": True},
        {"compression": "zstd", "tile": (16, 32)},
        {"bigtiff": True},
        {"byteorder": ">"},
        {"rowsperstrip": 7},
        {"imagej": True},
    ],
)
def test_kinds_of_tiff(tmp_path: Path, options: dict[str, Any]) -> None:
    frames = frames_of(2, dtype="u2")
    tifffile.imwrite(tmp_path / "a.tif", frames, **{"photometric": "minisblack"} | options)

    assert inspect(tmp_path / "a.tif").dtype == "uint16"
    np.testing.assert_array_equal(read_frames(tmp_path / "a.tif", "", 1, 2), frames[1:])


def test_a_simulated_tiff_tells_its_geometry(tmp_path: Path) -> None:
    info = inspect(write_simulated_tiff(tmp_path / "x_00012.tif", frames_of(1)[0]))

    assert (info.simulated, info.run, info.complete, info.mask) == (True, "run_0001", True, None)
    assert (info.geometry.photon_energy_ev, info.geometry.detector_distance) == (1700, 0.13)
    assert (info.geometry.beam_center_x, info.geometry.beam_center_y) == (31.5, 23.5)


@pytest.mark.parametrize("description", ["[1]", "{", '{"photon_energy_ev": "x", "run": 3}', "[" * 5000])
def test_other_descriptions_tell_nothing(tmp_path: Path, description: str) -> None:
    tifffile.imwrite(tmp_path / "run_0001_00012.tif", frames_of(1)[0], description=description, metadata=None)

    info = inspect(tmp_path / "run_0001_00012.tif")

    assert (info.run, info.simulated, info.geometry.photon_energy_ev) == ("run_0001", False, None)


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"tile": (16, 16)}, {"bigtiff": True}])
def test_a_tiff_that_is_still_copied_is_waited_for(tmp_path: Path, options: dict[str, Any]) -> None:
    tifffile.imwrite(tmp_path / "whole.tif", frames_of(3), photometric="minisblack", metadata=None, **options)
    whole = (tmp_path / "whole.tif").read_bytes()
    part = tmp_path / "part.tif"
    for size in (0, 3, 9, 60, len(whole) // 3, len(whole) // 2, len(whole) - 100):
        part.write_bytes(whole[:size])
        with pytest.raises(NotYetError):
            inspect(part)


def test_blank_pages_at_the_end_are_provisional(tmp_path: Path) -> None:
    frames = frames_of(5)
    frames[3:] = 0
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, frames, photometric="minisblack", metadata=None)
    assert (inspect(path).available, inspect(path).complete) == (3, False)

    make_old(path)
    assert (inspect(path).available, inspect(path).complete) == (5, True)


def test_colour_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((48, 64, 3), "u1"), photometric="rgb")

    with pytest.raises(SourceError, match="no plain image"):
        inspect(tmp_path / "a.tif")


def test_a_page_beyond_the_last_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotYetError, match="it has 1"):
        read_frames(write_simulated_tiff(tmp_path / "a.tif", frames_of(1)[0]), "", 0, 2)


def test_nothing_is_printed_about_a_damaged_file(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, frames_of(3), photometric="minisblack", metadata=None)
    path.write_bytes(path.read_bytes()[:9000])
    code = (
        "import sys; from photon_triage.core.sources import FrameReader\n"
        "with FrameReader() as reader:\n"
        "    try: reader.inspect(sys.argv[1])\n"
        "    except Exception: pass"
    )
    told = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, check=True)

    assert told.stdout + told.stderr == b""


def test_a_real_section() -> None:
    info = inspect(shared_data("vnc/raw/11.tif"))

    assert (info.frames, info.shape, info.dtype, info.compression) == (1, (1024, 1024), "uint8", "none")
