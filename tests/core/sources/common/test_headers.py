"""Headers that contradict a file's size, or say what is not understood: refused or noted, with the numbers."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from photon_triage.core.common.errors import NotYetError, SourceError
from photon_triage.core.sources import inspect, read_frames
from photon_triage.core.sources.common.text_headers import text_geometry
from tests.builders.detector_files import frames_of, make_old
from tests.builders.image_files import write_cbf, write_edf, write_mrc, write_smv


def refused(path: Path, reason: str) -> None:
    """Waited for while the file is young, and refused when it is old."""
    os.utime(path)
    with pytest.raises(NotYetError, match=reason):
        inspect(path)
    damaged(make_old(path), reason)


def damaged(path: Path, reason: str) -> None:
    with pytest.raises(SourceError, match=reason) as told:
        inspect(path)
    assert not isinstance(told.value, NotYetError)


@pytest.mark.parametrize("fields", [{"nz": 2}, {"ny": 24}, {"nx": 32}, {"mode": 0}])
def test_a_section_count_that_is_too_small(tmp_path: Path, fields: Any) -> None:
    refused(
        write_mrc(tmp_path / "a.mrc", frames_of(4), **fields), r"its header says .* bytes in all, and the file has 25"
    )


def test_an_extended_header_that_is_not_counted(tmp_path: Path) -> None:
    path = write_mrc(tmp_path / "a.mrc", frames_of(4), extended=bytes(1024), nsymbt=0)

    refused(path, r"behind 1024 bytes, 25600 bytes in all, and the file has 26624")


def test_a_section_count_beyond_all_measure(tmp_path: Path) -> None:
    refused(write_mrc(tmp_path / "a.mrc", frames_of(2), nz=2**31 - 1), "2147483647 sections")


def replaced(path: Path, before: bytes, after: bytes) -> Path:
    content = path.read_bytes()
    assert before in content
    path.write_bytes(content.replace(before, after, 1))
    return make_old(path)


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        (b"Dim_1 = 64", b"Dim_1 = 32", "48 x 32 pixels of SignedInteger, 6144 bytes, and a size of 12288"),
        (b"Dim_2 = 48", b"Dim_2 = 96", "96 x 64 pixels"),
        (b"DataType = SignedInteger", b"DataType = UnsignedShort", "pixels of UnsignedShort"),
        (b"DataType = SignedInteger", b"DataType = ComplexQuaint", "DataType = ComplexQuaint"),
        (b"ByteOrder = LowByteFirst", b"ByteOrder = MiddleFirst1", "ByteOrder = MiddleFirst1"),
        (b"Dim_2 = 48 ;", b"Dim_2 = 48 ;\nDim_3 = 4 ;", "4 planes .Dim_3."),
    ],
)
def test_an_edf_header_that_contradicts_itself(tmp_path: Path, before: bytes, after: bytes, reason: str) -> None:
    path = write_edf(tmp_path / "a.edf", frames_of(1, dtype="i4"))
    damaged(replaced(path, before, after), reason)


def test_an_edf_file_with_something_behind_its_images(tmp_path: Path) -> None:
    path = write_edf(tmp_path / "a.edf", frames_of(2, dtype="i4"))
    path.write_bytes(path.read_bytes() + bytes(range(200)))

    refused(path, "no header follows behind 2 images")


def test_an_edf_file_whose_last_image_is_cut_short(tmp_path: Path) -> None:
    path = write_edf(tmp_path / "a.edf", frames_of(2, dtype="i4"))
    path.write_bytes(path.read_bytes()[:-100])

    refused(path, "image 1 needs 12288 bytes")


def test_edf_images_of_another_shape_are_told(tmp_path: Path) -> None:
    path = write_edf(tmp_path / "a.edf", frames_of(2, dtype="i4"))
    other = write_edf(tmp_path / "b.edf", frames_of(1, shape=(32, 40), dtype="i4"))
    path.write_bytes(path.read_bytes() + other.read_bytes())

    info = inspect(make_old(path))

    assert (info.frames, info.notes) == (3, ("1 of 3 images are of another shape or type, and cannot be read",))
    with pytest.raises(SourceError, match="image 2 is not of the first one's shape"):
        read_frames(path, "", 2, 3)


@pytest.mark.parametrize("order", ["<", ">"])
def test_edf_images_of_either_byte_order(tmp_path: Path, order: str) -> None:
    frame = frames_of(1, dtype="i4")[0]
    told = "LowByteFirst" if order == "<" else "HighByteFirst"
    header = f"{{\nByteOrder = {told} ;\nDataType = SignedInteger ;\nDim_1 = 64 ;\nDim_2 = 48 ;\nSize = 12288 ;\n}}\n"
    path = tmp_path / "a.edf"
    path.write_bytes(header.encode() + frame.astype(f"{order}i4").tobytes())

    np.testing.assert_array_equal(read_frames(make_old(path), "", 0, 1)[0], frame)


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        (b"Fastest-Dimension: 64", b"Fastest-Dimension: 63", "48 x 63 pixels, and 3072 elements"),
        (b"Number-of-Elements: 3072", b"Number-of-Elements: 3071", "48 x 64 pixels, and 3071 elements"),
        (b'Element-Type: "signed 32-bit integer"', b'Element-Type: "signed 33-bit integer"', "of an unknown type"),
    ],
)
def test_a_cbf_header_that_contradicts_itself(tmp_path: Path, before: bytes, after: bytes, reason: str) -> None:
    pytest.importorskip("fabio", reason="the extra `cbf` is not installed")
    damaged(replaced(write_cbf(tmp_path / "a.cbf", frames_of(1, dtype="i4")[0]), before, after), reason)


def test_a_cbf_image_with_fewer_pixels_than_its_header_says(tmp_path: Path) -> None:
    pytest.importorskip("fabio", reason="the extra `cbf` is not installed")
    path = write_cbf(tmp_path / "a.cbf", frames_of(1, dtype="i4")[0])
    content = path.read_bytes()
    start = content.index(b"\x0c\x1a\x04\xd5") + 4
    path.write_bytes(content[: start + 100] + b"\x80\x00\x80\x01\x00\x00\x00" + content[start + 107 :])

    damaged(make_old(path), "3072 pixels by its header, and fewer in its bytes")


def test_further_images_of_a_cbf_file_are_counted(tmp_path: Path) -> None:
    pytest.importorskip("fabio", reason="the extra `cbf` is not installed")
    path = write_cbf(tmp_path / "a.cbf", frames_of(1, dtype="i4")[0])
    path.write_bytes(path.read_bytes() * 3)

    assert inspect(make_old(path)).notes == ("2 further images in this file were not read",)


def test_an_smv_file_twice_as_long_as_it_says(tmp_path: Path) -> None:
    path = write_smv(tmp_path / "a.img", frames_of(1)[0])
    path.write_bytes(path.read_bytes() * 2)

    damaged(make_old(path), "its header says 6656 bytes, and the file has 13312")


def tag_changed(path: Path, tag: int, value: int) -> Path:
    """The file with another value of a tag of its first page."""
    with tifffile.TiffFile(path) as file:
        at, kind = file.pages.first.tags[tag].valueoffset, file.pages.first.tags[tag].dtype
    raw = bytearray(path.read_bytes())
    code = {3: "<H", 4: "<I"}[int(kind)]
    raw[at : at + struct.calcsize(code)] = struct.pack(code, value)
    path.write_bytes(raw)
    return make_old(path)


@pytest.mark.parametrize(
    ("tag", "value", "reason"),
    [
        (257, 400, "400 x 64 pixels of 16 bits, and keeps 6144 bytes|should have .* strips or tiles"),
        (279, 100, "48 x 64 pixels of 16 bits, and keeps 100 bytes"),
        (279, 10**6, "goes beyond its end"),
        (273, 10**6, "goes beyond its end"),
        (279, 0, "1 strips or tiles, 1 are not there"),
    ],
)
def test_a_tiff_page_that_contradicts_the_file(tmp_path: Path, tag: int, value: int, reason: str) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, frames_of(1)[0], photometric="minisblack", metadata=None, rowsperstrip=1000)

    damaged(tag_changed(path, tag, value), reason)


def test_pages_of_another_kind_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        for frame in frames_of(3):
            file.write(frame, photometric="minisblack", metadata=None)
        for frame in frames_of(2, shape=(20, 30)):
            file.write(frame, photometric="minisblack", metadata=None)
        file.write(frames_of(1)[0][::4, ::4], photometric="minisblack", metadata=None, subfiletype=1)

    info = inspect(make_old(path))

    assert info.frames == 3
    assert info.notes == (
        "2 pages of 20 x 30 int16 were not read: another shape or type",
        "1 page of 12 x 16 int16 were not read: a smaller copy of another page",
    )


def test_images_that_a_description_promises_and_that_are_not_there(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    text = "ImageJ=1.53t\nimages=7\nframes=7\nhyperstack=true\n"
    with tifffile.TiffWriter(path) as file:
        for number, frame in enumerate(frames_of(2)):
            file.write(frame, photometric="minisblack", metadata=None, description="" if number else text)

    assert "the description promises 7 images, and the file has 2" in inspect(make_old(path)).notes


def test_calibrations_among_images_by_name(tmp_path: Path) -> None:
    for name in ("dark_00001.tif", "flat_00001.tif"):
        tifffile.imwrite(tmp_path / name, frames_of(1)[0], photometric="minisblack")
        damaged(make_old(tmp_path / name), "it holds no frames: a .* .the file's name says so.")
        assert inspect(tmp_path / name, any_image=True).frames == 1
    damaged(write_edf(tmp_path / "ref0000_0000.edf", frames_of(1)), "a flat field")
    damaged(write_mrc(tmp_path / "dark.mrc", frames_of(1)), "a dark")
    assert inspect(write_smv(tmp_path / "protein_dark_0001.img", frames_of(1)[0])).frames == 1


@pytest.mark.parametrize(
    ("kind", "header", "field", "value"),
    [
        ("DECTRIS", "# Detector_distance 0.291 m", "detector_distance", 0.291),
        ("DECTRIS", "# Detector_distance 291.0 mm", "detector_distance", 0.291),
        ("DECTRIS", "# Pixel_size 172e-6 m x 172e-6 m", "pixel_size", 172e-6),
        ("DECTRIS", "# Beam_xy (12.5, 7.5) pixels", "beam_center_y", 7.5),
        ("DECTRIS", "# Detector_distance 291.0 furlongs", "detector_distance", None),
        ("DECTRIS", "# Beam_xy (12.5, 7.5) mm", "beam_center_y", None),
        ("EDF", "SampleDistance = 250 mm ;", "detector_distance", 0.25),
        ("EDF", "SampleDistance = 0.25 ;", "detector_distance", 0.25),
        ("SMV", "DISTANCE=200.0;", "detector_distance", 0.2),
    ],
)
def test_units_of_text_headers(kind: str, header: str, field: str, value: float | None) -> None:
    geometry, notes = text_geometry(kind, header)

    assert getattr(geometry, field) == (value and pytest.approx(value))
    assert bool(notes) == (value is None)
