from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from photon_triage.core.common.errors import NotYetError, SourceError
from photon_triage.core.sources import FrameReader, inspect, read_frames
from tests.builders.detector_files import frames_of, make_old
from tests.builders.image_files import big_endian_mrc, mark_as_imod, write_mrc


@pytest.mark.parametrize("dtype", ["i1", "i2", "f4", "u2", "f2"])
@pytest.mark.parametrize("suffix", [".mrc", ".mrcs", ".st", ".rec", ".map"])
def test_sections_are_frames(tmp_path: Path, dtype: str, suffix: str) -> None:
    frames = frames_of(3, dtype=dtype)
    path = write_mrc(tmp_path / f"a{suffix}", frames)

    info = inspect(path)

    assert (info.format, info.frames, info.available, info.complete) == ("MRC", 3, 3, True)
    assert (info.shape, info.dtype) == ((48, 64), np.dtype(dtype).name)
    np.testing.assert_array_equal(read_frames(path, "", 0, 3), frames)


def test_a_single_image_is_one_frame(tmp_path: Path) -> None:
    assert inspect(write_mrc(tmp_path / "a.mrc", frames_of(1)[0])).frames == 1


def test_a_volume_is_told_from_a_stack(tmp_path: Path) -> None:
    frames = frames_of(4)

    assert inspect(write_mrc(tmp_path / "a.mrc", frames)).layout == "MRC stack"
    assert inspect(write_mrc(tmp_path / "b.mrc", frames, volume=True)).layout == "MRC volume"


def test_all_sections_of_a_stack_of_volumes_are_frames(tmp_path: Path) -> None:
    volumes = frames_of(6).reshape(2, 3, 48, 64)
    path = write_mrc(tmp_path / "a.mrc", volumes)

    info = inspect(path)

    assert (info.frames, info.notes[0]) == (6, "2 volumes of 3 sections each")
    np.testing.assert_array_equal(read_frames(path, "", 2, 5), frames_of(6)[2:5])


def test_an_extended_header_is_passed_over(tmp_path: Path) -> None:
    path = write_mrc(tmp_path / "a.mrc", frames_of(2), extended=b"x" * 3000)

    assert any("3000 bytes (FEI1)" in note for note in inspect(path).notes)
    np.testing.assert_array_equal(read_frames(path, "", 1, 2), frames_of(2)[1:])


@pytest.mark.parametrize("dtype", ["f4", "i2"])
def test_the_other_byte_order(tmp_path: Path, dtype: str) -> None:
    path = big_endian_mrc(tmp_path / "a.mrc", frames_of(2, dtype=dtype))

    assert inspect(path).dtype == np.dtype(dtype).name
    np.testing.assert_array_equal(read_frames(path, "", 0, 2), frames_of(2, dtype=dtype))


def test_imod_says_whether_bytes_are_signed(tmp_path: Path) -> None:
    path = write_mrc(tmp_path / "a.st", np.full((1, 32, 32), -56, "i1"))

    assert inspect(mark_as_imod(path, signed=True)).dtype == "int8"
    assert inspect(mark_as_imod(path, signed=False)).dtype == "uint8"
    assert read_frames(path, "", 0, 1)[0, 0, 0] == 200


@pytest.mark.parametrize("mode", [3, 4, 16, 101])
def test_modes_that_are_not_read_are_named(tmp_path: Path, mode: int) -> None:
    path = write_mrc(tmp_path / "a.mrc", frames_of(1), mode=mode)

    with pytest.raises(SourceError, match=f"MRC mode {mode}"):
        inspect(path)


def test_a_file_that_grows_is_followed_then_what_is_lacking_is_told(tmp_path: Path) -> None:
    whole = write_mrc(tmp_path / "whole.mrc", frames_of(4)).read_bytes()
    path = tmp_path / "part.mrc"
    for size in (0, 500, 1024, 1024 + 6000):
        path.write_bytes(whole[:size])
        with pytest.raises(NotYetError):
            inspect(path)
    path.write_bytes(whole[:-100])

    info = inspect(path)
    assert (info.frames, info.available, info.complete) == (4, 3, False)
    with pytest.raises(NotYetError):
        read_frames(path, "", 3, 4)

    info = inspect(make_old(path))
    assert (info.frames, info.available, info.complete) == (4, 3, True)


def test_blank_sections_at_the_end_are_provisional(tmp_path: Path) -> None:
    frames = frames_of(5)
    frames[3:] = 0
    path = write_mrc(tmp_path / "a.mrc", frames)
    assert inspect(path).available == 5

    path.touch()
    assert (inspect(path).available, inspect(path).complete) == (3, False)


def test_a_section_of_terabytes_is_refused(tmp_path: Path) -> None:
    path = write_mrc(tmp_path / "a.mrc", frames_of(1), nx=2_000_000, ny=2_000_000)

    with pytest.raises(SourceError, match="more than the limit"):
        inspect(path)


@pytest.mark.parametrize("size", [2**31 - 1, -5])
def test_an_extended_header_that_cannot_be_costs_no_memory(tmp_path: Path, size: int) -> None:
    path = write_mrc(tmp_path / "a.mrc", frames_of(2), nsymbt=size)

    with FrameReader(memory_limit=2**30) as reader:
        if size > 0:
            with pytest.raises(SourceError, match="first section is not whole"):
                reader.inspect(path)
        else:
            assert reader.inspect(path).available == 2


def test_a_file_from_before_the_format_had_a_mark_is_known_by_its_name(tmp_path: Path) -> None:
    path = write_mrc(tmp_path / "a.mrc", frames_of(2), map=b"\0\0\0\0", machst=[0, 0, 0, 0])

    assert inspect(path).frames == 2
    with pytest.raises(SourceError):
        inspect(path.rename(tmp_path / "a.bin"))
