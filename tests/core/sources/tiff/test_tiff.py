from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from photon_triage.core.common.errors import NotYetError, SourceError
from photon_triage.core.sources import inspect, read_frames
from tests.builders.detector_files import frames_of, make_old, write_simulated_tiff
from tests.builders.tiff_files import (
    PILATUS_DESCRIPTION,
    write_imagej_virtual,
    write_ome,
    write_packed,
    write_stk,
    write_with_thumbnails,
)
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
        {"imagej": True, "metadata": {"axes": "TYX"}},
        {"ome": True},
        {"compression": "jpeg2000"},
        {"compression": "packbits"},
        {"compression": "lzma"},
        {"metadata": {"truncate": True}},
        {"planarconfig": "separate"},
    ],
)
def test_kinds_of_tiff(tmp_path: Path, options: dict[str, Any]) -> None:
    frames = frames_of(2, dtype="u2")
    tifffile.imwrite(tmp_path / "a.tif", frames, **{"photometric": "minisblack"} | options)

    assert (inspect(tmp_path / "a.tif").frames, inspect(tmp_path / "a.tif").dtype) == (2, "uint16")
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


@pytest.mark.parametrize(
    ("samples", "options"),
    [
        (3, {"photometric": "rgb"}),
        (4, {"photometric": "rgb", "extrasamples": ["unassalpha"]}),
        (3, {"photometric": "rgb", "planarconfig": "separate"}),
        (3, {"photometric": "ycbcr", "compression": "jpeg"}),
    ],
)
def test_colour_is_refused(tmp_path: Path, samples: int, options: dict[str, Any]) -> None:
    shape = (samples, 48, 64) if "planarconfig" in options else (48, 64, samples)
    tifffile.imwrite(tmp_path / "a.tif", np.zeros(shape, "u1"), **options)

    with pytest.raises(SourceError, match="a colour picture"):
        inspect(tmp_path / "a.tif")


def test_transparency_is_passed_over(tmp_path: Path) -> None:
    grey = np.stack([frames_of(1, dtype="u1")[0], np.full((48, 64), 255, "u1")], axis=-1)
    tifffile.imwrite(tmp_path / "a.tif", grey, photometric="minisblack", extrasamples=["unassalpha"], metadata=None)

    info = inspect(tmp_path / "a.tif")

    assert (info.frames, info.shape, info.notes) == (1, (48, 64), ("transparency is passed over",))
    np.testing.assert_array_equal(read_frames(tmp_path / "a.tif", "", 0, 1), frames_of(1, dtype="u1"))


def test_the_values_behind_a_colour_table_are_taken(tmp_path: Path) -> None:
    table = np.zeros((3, 256), "u2")
    tifffile.imwrite(tmp_path / "a.tif", frames_of(1, dtype="u1")[0], photometric="palette", colormap=table)

    assert "colour table" in inspect(tmp_path / "a.tif").notes[0]
    np.testing.assert_array_equal(read_frames(tmp_path / "a.tif", "", 0, 1), frames_of(1, dtype="u1"))


@pytest.mark.parametrize("bits", [1, 4, 12])
def test_pixels_of_odd_bits(tmp_path: Path, bits: int) -> None:
    frame = np.random.default_rng(bits).integers(0, 2**bits, (48, 64)).astype("u2")
    path = write_packed(tmp_path / "a.tif", frame, bits)

    info = inspect(path)

    assert (info.frames, info.shape, info.dtype) == (1, (48, 64), "uint16" if bits > 8 else "uint8")
    assert f"pixels of {bits} bits" in info.notes[0]
    np.testing.assert_array_equal(read_frames(path, "", 0, 1)[0], frame)


def test_thumbnails_are_no_frames(tmp_path: Path) -> None:
    path = write_with_thumbnails(tmp_path / "a.lsm", frames_of(3))

    info = inspect(path, explain=True)

    assert (info.layout, info.frames, info.shape) == ("LSM", 3, (48, 64))
    assert [other.shape for other in info.alternatives] == [(12, 16)]
    assert info.alternatives[0].refused == "a smaller copy of another page"
    np.testing.assert_array_equal(read_frames(path, "", 0, 3), frames_of(3))


def test_the_label_and_pyramid_of_an_ome_tiff_are_no_frames(tmp_path: Path) -> None:
    path = write_ome(tmp_path / "a.ome.tif", frames_of(3), label=np.zeros((20, 30), "i2"))

    info = inspect(path, explain=True)

    assert (info.layout, info.frames, info.shape) == ("OME-TIFF", 3, (48, 64))
    assert [(other.path, other.shape) for other in info.alternatives] == [("page 3", (20, 30))]


def test_several_positions_of_an_ome_tiff_are_all_frames(tmp_path: Path) -> None:
    path = write_ome(tmp_path / "a.ome.tif", frames_of(3), label=frames_of(1, first=3)[0])

    assert inspect(path).frames == 4
    np.testing.assert_array_equal(read_frames(path, "", 0, 4), frames_of(4))


@pytest.mark.parametrize(("write", "layout"), [(write_imagej_virtual, "ImageJ"), (write_stk, "MetaMorph STK")])
def test_images_without_pages_of_their_own(tmp_path: Path, write: Any, layout: str) -> None:
    path = make_old(write(tmp_path / "a.tif", frames_of(4, dtype="u2")))

    info = inspect(path)

    assert (info.layout, info.frames, info.available, info.complete) == (layout, 4, 4, True)
    np.testing.assert_array_equal(read_frames(path, "", 1, 4), frames_of(3, first=1, dtype="u2"))


def test_images_without_pages_that_are_not_there_yet(tmp_path: Path) -> None:
    path = write_imagej_virtual(tmp_path / "a.tif", frames_of(4, dtype="u2"))
    path.write_bytes(path.read_bytes()[:-7000])

    assert (inspect(path).frames, inspect(path).available, inspect(path).complete) == (4, 2, False)
    with pytest.raises(NotYetError):
        read_frames(path, "", 3, 4)
    make_old(path)
    assert (inspect(path).frames, inspect(path).available, inspect(path).complete) == (4, 2, True)


def test_a_page_of_another_size_is_told(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(np.ones((40, 40), "u1"), photometric="minisblack", metadata=None)
        for frame in frames_of(3):
            file.write(frame, photometric="minisblack", metadata=None)

    info = inspect(tmp_path / "a.tif", explain=True)

    assert (info.frames, info.shape, info.reason[:18]) == (3, (48, 64), "of 2 kinds of page")
    assert info.alternatives[0].path == "page 0"


def test_another_file_of_an_ome_data_set_is_not_opened(tmp_path: Path) -> None:
    text = '<OME><Image ID="Image:0"><Pixels ID="P" DimensionOrder="XYCZT" Type="int16" SizeX="64" SizeY="48" SizeC="1"'
    text += ' SizeZ="1" SizeT="2"><TiffData FirstT="0"><UUID FileName="a.ome.tif">urn:uuid:1</UUID></TiffData>'
    text += '<TiffData FirstT="1"><UUID FileName="../b.ome.tif">urn:uuid:2</UUID></TiffData></Pixels></Image></OME>'
    tifffile.imwrite(tmp_path / "a.ome.tif", frames_of(1)[0], description=text, metadata=None)

    info = inspect(tmp_path / "a.ome.tif")

    assert (info.frames, info.notes) == (1, ("one of 2 files of an OME data set: each is read by itself",))


def test_the_comments_of_a_pilatus_tell_the_geometry(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", frames_of(1, dtype="i4")[0], description=PILATUS_DESCRIPTION, metadata=None)

    geometry = inspect(tmp_path / "a.tif").geometry

    assert (geometry.detector_distance, geometry.beam_center_x, geometry.beam_center_y) == (0.187, 489.1, 525.0)
    assert geometry.photon_energy_ev == pytest.approx(12699, rel=1e-3)


def test_pages_in_a_circle_end(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", frames_of(1)[0], metadata=None, byteorder="<")
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        first, last = file.pages.first.offset, file.pages.first.offset + 2 + 12 * len(file.pages.first.tags)
    with (tmp_path / "a.tif").open("r+b") as raw:
        raw.seek(last)
        raw.write(first.to_bytes(4, "little"))

    with pytest.raises(SourceError, match="in a circle"):
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


@pytest.mark.parametrize("width", [200_000, 2**31 - 1])
def test_a_page_of_gigabytes_is_refused_before_it_is_decoded(tmp_path: Path, width: int) -> None:
    entries = [(256, 4, width), (257, 4, 200_000), (258, 3, 16), (259, 3, 8), (262, 3, 1), (273, 4, 200)]
    entries += [(277, 3, 1), (278, 4, 200_000), (279, 4, 20)]
    page = struct.pack("<H", len(entries)) + b"".join(
        struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries
    )
    (tmp_path / "bomb.tif").write_bytes((b"II*\0" + struct.pack("<I", 8) + page + bytes(4)).ljust(300, b"\0"))

    with pytest.raises(SourceError, match="more than the limit"):
        inspect(make_old(tmp_path / "bomb.tif"))


@pytest.mark.parametrize(("compression", "name"), [(32809, "THUNDERSCAN"), (60123, "60123")])
def test_a_compression_that_is_not_decoded_is_named(tmp_path: Path, compression: int, name: str) -> None:
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, frames_of(1)[0], compression="lzw")
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages.first.tags["Compression"].overwrite(compression)

    with pytest.raises(SourceError, match=f"{name}.*not decoded"):
        inspect(make_old(path))
