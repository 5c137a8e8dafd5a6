"""Kinds of source errors, each raised by a real file and the installed libraries."""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import mrcfile
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from photon_triage.core.common.errors import ErrorKind, MissingError, NotYetError, ReaderLostError, SourceError
from photon_triage.core.sources import inspect, read_frames
from photon_triage.core.sources.common.file_probe import parse_superblock
from photon_triage.core.sources.process.channel import error_message, error_of
from photon_triage.core.sources.registry import look
from tests.builders.detector_files import frames_of, make_old

VERSIONS = {"earliest": 0, "v108": 2, "v110": 3, "latest": 3}
SIDE = 40


def write(path: Path, libver: str = "earliest", **options: Any) -> Path:
    with h5py.File(path, "w", libver=libver) as file:
        options = {"chunks": (1, SIDE, SIDE), "compression": "gzip"} | options
        file.create_dataset("entry/images", data=frames_of(4, shape=(SIDE, SIDE)), **options)
    return path


def told_of(path: Path, dataset: str | None = None) -> SourceError:
    """The error that looking at a file, or else reading its frames, ends with."""
    try:
        info = inspect(path, dataset)
        read_frames(path, info.dataset, 0, info.frames)
    except SourceError as error:
        return error
    pytest.fail("the file was read")


def cut(path: Path, fraction: float) -> Path:
    whole = path.read_bytes()
    path.write_bytes(whole[: int(fraction * len(whole))])
    return path


def leave_open(path: Path, *, swmr: bool) -> Path:
    """A file whose writer was killed."""
    code = (
        "import h5py, os, sys\n"
        "file = h5py.File(sys.argv[1], 'w', libver='latest')\n"
        "images = file.create_dataset('images', (4, 40, 40), 'i2', chunks=(1, 40, 40))\n"
        "images[:3] = 1\n"
        f"{'file.swmr_mode = True' if swmr else ''}\n"
        "file.flush()\n"
        "os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    return path


def test_an_absent_file_is_missing(tmp_path: Path) -> None:
    error = told_of(tmp_path / "soon.h5")

    assert isinstance(error, MissingError) and error.kind is ErrorKind.MISSING


def test_an_empty_file_is_not_there_yet(tmp_path: Path) -> None:
    (tmp_path / "a.h5").touch()

    error = told_of(tmp_path / "a.h5")

    assert type(error) is NotYetError and error.kind is ErrorKind.NOT_YET


@pytest.mark.parametrize("libver", VERSIONS)
@pytest.mark.parametrize("fraction", [0.03, 0.3, 0.9])
def test_a_truncated_hdf5_file_of_each_superblock(tmp_path: Path, libver: str, fraction: float) -> None:
    path = write(tmp_path / "a.h5", libver)
    assert look(path).superblock == VERSIONS[libver]

    fresh = told_of(cut(path, fraction))
    old = told_of(make_old(path))

    assert isinstance(fresh, NotYetError) and fresh.kind is ErrorKind.TRUNCATED
    assert type(old) is SourceError and old.kind is ErrorKind.TRUNCATED


def test_a_file_behind_a_user_block_is_truncated_too(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w", userblock_size=1024) as file:
        file["images"] = frames_of(4)
    assert inspect(tmp_path / "a.h5").frames == 4

    assert told_of(cut(tmp_path / "a.h5", 0.9)).kind is ErrorKind.TRUNCATED


def test_a_truncated_tiff(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", frames_of(4), photometric="minisblack", metadata=None)

    assert told_of(cut(tmp_path / "a.tif", 0.6)).kind is ErrorKind.TRUNCATED


def test_a_truncated_mrc_file(tmp_path: Path) -> None:
    mrcfile.write(tmp_path / "a.mrc", frames_of(2))

    assert told_of(cut(tmp_path / "a.mrc", 0.2)).kind is ErrorKind.TRUNCATED


def test_bytes_that_are_gone_below_an_open_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", chunks=(1, SIDE, SIDE), compression=None)
    with h5py.File(path, "r+") as file:
        file["large"] = np.ones((4, 200, 200), "i2")
    make_old(path)
    info = inspect(path, "large")

    assert told_of(cut(path, 0.5), info.dataset).kind is ErrorKind.TRUNCATED


def test_a_plain_writer_that_was_killed_leaves_its_mark(tmp_path: Path) -> None:
    path = leave_open(tmp_path / "a.h5", swmr=False)

    fresh = told_of(path)
    old = told_of(make_old(path))

    assert isinstance(fresh, NotYetError) and fresh.kind is ErrorKind.MARKED_WRITING
    assert type(old) is SourceError and old.kind is ErrorKind.MARKED_WRITING


def test_the_mark_of_swmr_keeps_nobody_out(tmp_path: Path) -> None:
    path = leave_open(tmp_path / "a.h5", swmr=True)

    assert look(path).swmr and look(path).writing
    assert inspect(path).available == 3


def damage_metadata(path: Path) -> None:
    """A group's header that has not reached the file: HDF5 tells it in one of a dozen texts."""
    with h5py.File(path) as file:
        at = h5py.h5o.get_info(file["entry"].id).addr
    raw = bytearray(path.read_bytes())
    raw[at : at + 16] = bytes(16)
    path.write_bytes(raw)


def damage_root(path: Path) -> None:
    with h5py.File(path) as file:
        at = h5py.h5o.get_info(file.id).addr
    raw = bytearray(path.read_bytes())
    raw[at : at + 16] = bytes(16)
    path.write_bytes(raw)


def damage_small_chunk(path: Path) -> None:
    with h5py.File(path) as file:
        at = file["entry/images"].id.get_chunk_info(1).byte_offset
    raw = bytearray(path.read_bytes())
    raw[at : at + 16] = bytes(16)
    path.write_bytes(raw)


@pytest.mark.parametrize("libver", VERSIONS)
@pytest.mark.parametrize("damage", [damage_metadata, damage_root, damage_small_chunk])
def test_what_hdf5_cannot_read_may_be_half_written(tmp_path: Path, damage: Callable[[Path], None], libver: str) -> None:
    path = write(tmp_path / "a.h5", libver)
    damage(path)

    fresh = told_of(path, "entry/images")
    old = told_of(make_old(path), "entry/images")

    assert type(fresh) is NotYetError and fresh.kind is ErrorKind.NOT_YET
    assert type(old) is SourceError and old.kind is ErrorKind.DAMAGED


def test_a_damaged_frame_of_a_tiff_is_damaged_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, frames_of(1), photometric="minisblack", metadata=None, compression="zlib")
    with tifffile.TiffFile(path) as file:
        at = file.pages.first.dataoffsets[0]
    raw = bytearray(path.read_bytes())
    raw[at : at + 16] = bytes(16)
    path.write_bytes(raw)

    error = told_of(path)

    assert type(error) is SourceError and error.kind is ErrorKind.DAMAGED


def test_a_file_that_is_linked_to_and_is_not_there_is_missing(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["entry/data/data"] = h5py.ExternalLink("b.h5", "/data")

    error = told_of(tmp_path / "a.h5", "entry/data/data")

    assert isinstance(error, MissingError) and error.kind is ErrorKind.MISSING


@pytest.mark.parametrize("start", [b"\x89PNG", b"PK\x03\x04", b"text"])
def test_other_formats_are_refused(tmp_path: Path, start: bytes) -> None:
    (tmp_path / "a.bin").write_bytes(start.ljust(2000, b"\0"))

    error = told_of(tmp_path / "a.bin")

    assert type(error) is SourceError and error.kind is ErrorKind.REFUSED


def test_a_size_over_the_limit_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("images", (1, 10**6, 10**6), "i2", chunks=(1, 1000, 1000))

    assert told_of(tmp_path / "a.h5").kind is ErrorKind.REFUSED


@pytest.mark.parametrize("kind", ErrorKind)
@pytest.mark.parametrize("error_class", [SourceError, NotYetError, MissingError])
def test_class_and_kind_go_over_the_channel(error_class: type[SourceError], kind: ErrorKind) -> None:
    told = error_of(error_message(error_class("Reading a: no.", "Wait.", kind=kind)))

    assert told is not None and type(told) is error_class
    assert (told.message, told.hint, told.kind) == ("Reading a: no.", "Wait.", kind)


def test_each_class_has_its_kind() -> None:
    kinds = [each("x").kind for each in (SourceError, NotYetError, MissingError, ReaderLostError)]

    assert kinds == [ErrorKind.REFUSED, ErrorKind.NOT_YET, ErrorKind.MISSING, ErrorKind.READER_LOST]


@given(st.binary(max_size=80))
def test_a_superblock_may_be_any_bytes(rest: bytes) -> None:
    told = parse_superblock(b"\x89HDF\r\n\x1a\n" + rest)

    assert told is None or told.version in range(4)


def test_addresses_of_four_bytes_are_read() -> None:
    raw = b"\x89HDF\r\n\x1a\n" + bytes([2, 4, 8, 0]) + struct.pack("<4I", 0, 0xFFFFFFFF, 4000, 48)

    told = parse_superblock(raw.ljust(64, b"\0"), 512)

    assert told is not None and (told.version, told.end) == (2, 4512)
