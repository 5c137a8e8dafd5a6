"""The plain way of reading TIFF files, held against tifffile."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from photon_triage.core.common.errors import SourceError
from photon_triage.core.frames import Window
from photon_triage.core.sources import inspect, read_frames
from photon_triage.core.sources.common.info import WindowedFrames
from photon_triage.core.sources.registry import look, probe
from photon_triage.core.sources.tiff import source as tiff
from photon_triage.core.sources.tiff.plain import PlainPage, plain_page
from tests.builders.detector_files import frames_of, make_old, write_simulated_tiff
from tests.builders.tiff_files import (
    PILATUS_DESCRIPTION,
    write_imagej_virtual,
    write_packed,
    write_stk,
    write_with_thumbnails,
)

UNKNOWN_UNITS = PILATUS_DESCRIPTION.replace("0.18700 m", "0.18700 ell").replace("pixels", "furlong")

PLAIN: dict[str, dict[str, Any]] = {
    "uncompressed": {},
    "deflate": {"compression": "zlib"},
    "strips": {"rowsperstrip": 7},
    "deflate in strips": {"rowsperstrip": 7, "compression": "zlib"},
    "big-endian": {"byteorder": ">"},
    "big-endian deflate": {"byteorder": ">", "compression": "zlib"},
    "BigTIFF": {"bigtiff": True},
    "BigTIFF, big-endian": {"bigtiff": True, "byteorder": ">", "rowsperstrip": 5},
    "no metadata": {"metadata": None},
    "PILATUS": {"description": PILATUS_DESCRIPTION, "metadata": None},
    "PILATUS in unknown units": {"description": UNKNOWN_UNITS, "metadata": None},
    "two descriptions": {"description": "a description"},
    "short description": {"description": "abc", "metadata": None},
    "EPICS": {
        "extratags": [(65000, 12, 1, 1.0, True), (65010, 2, 0, "ColorMode:0", True), (65001, 4, 1, 7, True)],
        "metadata": None,
    },
    "remarks": {"software": "camera", "datetime": True, "resolution": (1, 1), "metadata": None},
}
OTHER: dict[str, dict[str, Any]] = {
    "tiles": {"tile": (16, 16)},
    "LZW": {"compression": "lzw"},
    "predictor": {"compression": "zlib", "predictor": True},
    "ImageJ": {"imagej": True},
    "OME": {"ome": True},
    "white is zero": {"photometric": "miniswhite"},
    "a reduced copy": {"subfiletype": 1},
    "floats that are not called so": {"software": "IndicaLabsImageWriter v1", "metadata": None},
}


def from_tifffile(monkeypatch: pytest.MonkeyPatch, path: Path) -> Any:
    with monkeypatch.context() as patch:
        patch.setattr(tiff, "plain_page", lambda state: None)
        return result_of(path)


def result_of(path: Path) -> Any:
    """What a file holds and its frames, or the kind of error."""
    frames = None
    try:
        info, frames = probe(look(path))
        assert frames is not None
        out = np.empty((info.frames, *info.shape), info.dtype)
        frames.read(0, info.frames, out)
        return info, out.tobytes()
    except SourceError as error:
        return type(error), error.kind
    finally:
        if frames is not None:
            frames.close()


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"])
@pytest.mark.parametrize("options", PLAIN.values(), ids=PLAIN)
def test_plain_files_are_read_like_tifffile_reads_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], dtype: str
) -> None:
    path = tmp_path / "run_0001_00012.tif"
    frame = np.random.default_rng(1).integers(0, 99, (48, 64)).astype(dtype)
    tifffile.imwrite(path, frame, **{"photometric": "minisblack"} | options)

    page = plain_page(look(path))
    assert page is not None
    page.close()
    assert result_of(path) == from_tifffile(monkeypatch, path)
    np.testing.assert_array_equal(read_frames(path, "", 0, 1)[0], tifffile.imread(path))


def test_notes_of_plain_files_are_those_that_tifffile_leads_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, frames_of(1)[0], photometric="minisblack", description=UNKNOWN_UNITS, metadata=None)

    info = inspect(path)
    assert info.notes[0] == "detector distance is passed over: ell is no known unit" and len(info.notes) == 3
    assert from_tifffile(monkeypatch, path)[0].notes == info.notes


@pytest.mark.parametrize(
    ("tag", "value"),
    [("StripByteCounts", 5), ("StripByteCounts", 0), ("RowsPerStrip", 24), ("ImageLength", 47), ("ImageLength", 96)],
)
@pytest.mark.parametrize("age", [0.0, 3600.0])
def test_headers_that_contradict_the_file_are_left_to_tifffile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tag: str, value: int, age: float
) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, frames_of(1)[0], photometric="minisblack")
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages.first.tags[tag].overwrite(value)
    make_old(path, age)

    assert plain_page(look(path)) is None
    assert result_of(path) == from_tifffile(monkeypatch, path)


@pytest.mark.parametrize("options", OTHER.values(), ids=OTHER)
def test_other_files_are_left_to_tifffile(tmp_path: Path, options: dict[str, Any]) -> None:
    tifffile.imwrite(tmp_path / "a.tif", frames_of(1)[0].astype("u2"), **{"photometric": "minisblack"} | options)

    assert plain_page(look(tmp_path / "a.tif")) is None


@pytest.mark.parametrize(
    "write",
    [
        lambda path: write_imagej_virtual(path, frames_of(3)),
        lambda path: write_stk(path, frames_of(3)),
        lambda path: write_with_thumbnails(path, frames_of(1)),
        lambda path: write_packed(path, frames_of(1)[0].astype("u2"), 12),
        lambda path: tifffile.imwrite(path, frames_of(2), photometric="minisblack"),
        lambda path: tifffile.imwrite(path, np.zeros((40, 50, 3), "u1")),
        lambda path: tifffile.imwrite(path, np.zeros((40, 50), "c8"), photometric="minisblack"),
        lambda path: tifffile.imwrite(path, np.zeros((5, 48, 64), "u2"), metadata={"truncate": True}),
    ],
)
def test_files_with_a_meaning_of_their_own_are_left_to_tifffile(tmp_path: Path, write: Callable[[Path], Any]) -> None:
    write(tmp_path / "a.tif")

    assert plain_page(look(tmp_path / "a.tif")) is None


@pytest.mark.parametrize("age", [0.0, 3600.0])
@pytest.mark.parametrize(
    "window", [Window(0, 3, 5, 40), Window(6, 0, 15, 64), Window(40, 20, 8, 44), Window(9, 9, 1, 1)]
)
@pytest.mark.parametrize("options", PLAIN.values(), ids=PLAIN)
def test_a_window_of_a_plain_file(tmp_path: Path, options: dict[str, Any], window: Window, age: float) -> None:
    path = tmp_path / "a.tif"
    frame = np.random.default_rng(1).integers(0, 99, (48, 64)).astype("u2")
    tifffile.imwrite(path, frame, **{"photometric": "minisblack"} | options)
    _, page = probe(look(make_old(path, age)))
    assert isinstance(page, PlainPage) and isinstance(page, WindowedFrames)

    out = np.empty((1, *window.shape), "u2")
    page.read_window(0, 1, out, window)
    page.close()

    np.testing.assert_array_equal(out[0], frame[window.rows, window.columns])
    assert page.cuts or options.get("compression")


def test_a_damaged_strip_outside_the_window_costs_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, frames_of(1)[0], photometric="minisblack", compression="zlib", rowsperstrip=8)
    with tifffile.TiffFile(path) as file:
        at = file.pages.first.dataoffsets[5]
    raw = bytearray(path.read_bytes())
    raw[at : at + 8] = bytes(8)
    path.write_bytes(raw)
    _, page = probe(look(path))
    assert isinstance(page, PlainPage)

    out = np.empty((1, 10, 64), "i2")
    page.read_window(0, 1, out, Window(4, 0, 10, 64))
    np.testing.assert_array_equal(out[0], frames_of(1)[0, 4:14])
    with pytest.raises(SourceError, match=r"Reading .*a\.tif"):
        page.read_window(0, 1, out, Window(38, 0, 10, 64))
    page.close()


def test_a_simulated_file_is_plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_simulated_tiff(tmp_path / "a.tif", frames_of(1)[0])

    assert isinstance(probe(look(path))[1], PlainPage)
    assert result_of(path) == from_tifffile(monkeypatch, path)


def test_a_blank_frame_is_provisional_until_the_file_rests(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((48, 64), "u2"))
    assert (inspect(path).available, inspect(path).complete) == (0, False)

    make_old(path)
    assert (inspect(path).available, inspect(path).complete) == (1, True)


@pytest.mark.parametrize("shape", [(1, 1), (8, 8), (40_000, 10), (1, 5000)])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_frames_of_any_shape(tmp_path: Path, shape: tuple[int, int], compression: str | None) -> None:
    frame = np.arange(1, 1 + np.prod(shape), dtype="u4").reshape(shape)
    tifffile.imwrite(tmp_path / "a.tif", frame, photometric="minisblack", compression=compression)

    np.testing.assert_array_equal(read_frames(tmp_path / "a.tif", "", 0, 1)[0], frame)


logging.getLogger("tifffile").setLevel(logging.CRITICAL)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    options=st.sampled_from([PLAIN[name] for name in ("uncompressed", "deflate in strips", "BigTIFF, big-endian")]),
    damage=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=3),
    length=st.integers(20, 8000),
)
def test_damaged_files_are_read_like_tifffile_reads_them(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
    damage: list[tuple[int, int]],
    length: int,
) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, frames_of(1)[0], **{"photometric": "minisblack"} | options)
    raw = bytearray(path.read_bytes())
    for at, value in damage:
        raw[at % len(raw)] = value
    path.write_bytes(raw[:length])

    assert result_of(path) == from_tifffile(monkeypatch, path)
