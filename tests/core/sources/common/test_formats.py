from __future__ import annotations

import gzip
from pathlib import Path

import h5py
import numpy as np
import pytest

from photon_triage.core.common.errors import NotYetError, SourceError
from photon_triage.core.sources import inspect, read_frames
from tests.builders.detector_files import frames_of, write_cxi

STARTS_OF_OTHERS = {
    "HDF4": b"\x0e\x03\x13\x01",
    "gzip": b"\x1f\x8b\x08",
    "bzip2": b"BZh9",
    "DM4": b"\0\0\0\x04\0\0\0\0\0",
    "PNG": b"\x89PNG\r\n",
}


@pytest.mark.parametrize("name", STARTS_OF_OTHERS)
@pytest.mark.parametrize("suffix", [".h5", ".hdf", ".mrc", ".xyz"])
def test_a_file_of_another_format_is_named(tmp_path: Path, name: str, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(STARTS_OF_OTHERS[name] + bytes(3000))

    with pytest.raises(SourceError, match=name) as told:
        inspect(path)
    assert not isinstance(told.value, NotYetError)
    assert "TIFF and MRC" in told.value.hint


def test_a_file_of_no_known_format_is_told_what_is_read(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("nothing")

    with pytest.raises(SourceError, match="no format that is read") as told:
        inspect(tmp_path / "x.txt")
    assert "HDF5, TIFF and MRC" in told.value.hint


def test_a_compressed_detector_file_is_to_be_decompressed(tmp_path: Path) -> None:
    path = tmp_path / "run.cxi.gz"
    path.write_bytes(gzip.compress(write_cxi(tmp_path / "run.cxi", frames_of(2)).read_bytes()))

    with pytest.raises(SourceError, match="decompress it"):
        inspect(path)


@pytest.mark.parametrize("size", [512, 8192, 65536])
@pytest.mark.parametrize("version", ["earliest", "latest"])
def test_a_user_block_is_passed_over(tmp_path: Path, size: int, version: str) -> None:
    path = tmp_path / "x.h5"
    with h5py.File(path, "w", userblock_size=size, libver=version) as file:
        file.create_dataset("images", data=frames_of(3), chunks=(1, 48, 64))
    with path.open("r+b") as raw:
        raw.write(b"written by a detector, 3 frames".ljust(size))

    assert inspect(path).available == 3
    np.testing.assert_array_equal(read_frames(path, "/images", 0, 3), frames_of(3))
