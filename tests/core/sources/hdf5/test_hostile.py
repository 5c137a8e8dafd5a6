from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from photon_triage.core.common.errors import SourceError
from photon_triage.core.sources import FrameReader, inspect, read_frames
from photon_triage.core.sources.hdf5.chunks.filters import ChunkCheck, ChunkFilter
from tests.builders.detector_files import frames_of, make_old, write_plain, write_segment, write_virtual
from tests.shared_data import shared_data

BITSHUFFLE = ChunkFilter(32008, "bitshuffle", (0, 5, 2, 0, 2))


@pytest.fixture(scope="module")
def reader() -> Iterator[FrameReader]:
    with FrameReader(deadline=3) as reader:
        yield reader


def test_files_that_crashed_or_hung_other_readers_cost_an_error_at_most(tmp_path: Path, reader: FrameReader) -> None:
    for path in sorted(shared_data("hostile").iterdir()):
        with suppress(SourceError):
            info = reader.inspect(path)
            for frame in range(min(info.available, 20)):
                reader.read(path, info.dataset, frame, frame + 1)

    with pytest.raises(SourceError, match="no regular file"):
        reader.inspect(tmp_path)


def test_a_fifo_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.h5")
    (tmp_path / "link.h5").symlink_to(tmp_path / "x.h5")

    for name in ("x.h5", "link.h5"):
        with pytest.raises(SourceError, match="no regular file"):
            inspect(tmp_path / name)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no regular file"):
        inspect(tmp_path)


@pytest.mark.parametrize("absolute", [True, False])
def test_links_out_of_the_folder_are_not_followed(tmp_path: Path, absolute: bool) -> None:
    secret = write_segment(tmp_path / "secret.h5", frames_of(2))
    folder = tmp_path / "run"
    folder.mkdir()
    with h5py.File(folder / "x.h5", "w") as file:
        target = str(secret) if absolute else "../secret.h5"
        file["entry/data/data_000001"] = h5py.ExternalLink(target, "/entry/data/data")

    with pytest.raises(SourceError, match="outside its folder"):
        inspect(folder / "x.h5", "entry/data")


def test_virtual_sources_out_of_the_folder_are_not_read(tmp_path: Path) -> None:
    secret = write_segment(tmp_path / "secret.h5", frames_of(2))
    folder = tmp_path / "run"
    folder.mkdir()
    path = write_virtual(folder / "x.h5", [secret], frames_of(2))
    secret.rename(folder / "secret.h5")
    (folder / "secret.h5").rename(tmp_path / "elsewhere.h5")
    (folder / "secret.h5").symlink_to(tmp_path / "elsewhere.h5")

    with pytest.raises(SourceError, match="outside its folder"):
        read_frames(path, "/entry/data/data", 0, 1)


def test_external_storage_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"x" * 6144)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("images", (1, 48, 64), "i2", external=[(str(tmp_path / "secret"), 0, 6144)])

    with pytest.raises(SourceError):
        inspect(tmp_path / "x.h5", "images")
    with pytest.raises(SourceError):
        read_frames(tmp_path / "x.h5", "/images", 0, 1)


def test_values_in_external_storage_are_not_told(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"a secret of 64 bytes".ljust(64))
    with h5py.File(tmp_path / "x.cxi", "w") as file:
        file.create_dataset("entry_1/data_1/data", data=frames_of(1), chunks=(1, 48, 64))
        for name, dtype in (("experiment_identifier", "S64"), ("instrument_1/detector_1/distance", "f8")):
            place = [(str(tmp_path / "secret"), 0, np.dtype(dtype).itemsize)]
            file.create_dataset(f"entry_1/{name}", (1,), dtype, external=place)

    info = inspect(tmp_path / "x.cxi")

    assert (info.run, info.geometry.detector_distance) == ("x", None)


def test_folders_of_native_code_do_not_reach_the_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HDF5_PLUGIN_PATH", "HDF5_VOL_CONNECTOR", "HDF5_VDS_PREFIX", "HDF5_DRIVER"):
        monkeypatch.setenv(name, str(tmp_path))
    with FrameReader() as reader:
        assert reader.inspect(write_plain(tmp_path / "x.h5", "images", frames_of(1))).frames == 1
        told = Path(f"/proc/{reader.pid}/environ").read_bytes()

    assert str(tmp_path).encode() not in told


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["entry_1/data_1"] = h5py.SoftLink("/entry_1/data_1")
    make_old(tmp_path / "x.h5")

    with pytest.raises(SourceError):
        inspect(tmp_path / "x.h5")


def test_an_unknown_filter_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk((1, 48, 64))
        properties.set_filter(32016, h5py.h5z.FLAG_OPTIONAL, (1,))
        h5py.h5d.create(file.id, b"images", h5py.h5t.NATIVE_INT16, h5py.h5s.create_simple((2, 48, 64)), properties)

    with pytest.raises(SourceError, match=r"B3D \(filter 32016\)"):
        inspect(path)


def test_a_frame_of_terabytes_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("images", (1, 1_000_000, 1_000_000), "i2", chunks=(1, 1000, 1000), compression="gzip")

    with pytest.raises(SourceError, match="more than the limit"):
        inspect(tmp_path / "x.h5")


def test_a_read_of_too_many_frames_is_refused(tmp_path: Path) -> None:
    path = write_plain(tmp_path / "x.h5", "images", frames_of(1))

    with pytest.raises(SourceError, match="more than the limit"):
        read_frames(path, "/images", 0, 10**9)


def test_a_damaged_chunk_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        images = file.create_dataset("images", data=frames_of(3), chunks=(1, 48, 64), **hdf5plugin.Bitshuffle())
        at = images.id.get_chunk_info_by_coord((1, 0, 0)).byte_offset
    with path.open("r+b") as raw:
        raw.seek(at + 12)
        raw.write(struct.pack(">I", 0x50000000))

    with pytest.raises(SourceError, match="frame 1 of /images is damaged"):
        read_frames(path, "/images", 0, 3)
    assert read_frames(path, "/images", 2, 3)[0, 9, 9] == 3


@pytest.mark.parametrize("options", [{"cname": "lz4"}, {"cname": "zstd"}, {"nelems": 64}])
@pytest.mark.parametrize("dtype", ["u1", "i2", "u4", "f8"])
def test_good_chunks_pass_the_check(tmp_path: Path, dtype: str, options: dict[str, Any]) -> None:
    noise = np.random.default_rng(1).integers(0, 200, (2, 33, 37)).astype(dtype)
    path = write_plain(tmp_path / "x.h5", "images", noise, chunks=(1, 33, 37), **hdf5plugin.Bitshuffle(**options))

    np.testing.assert_array_equal(read_frames(path, "/images", 0, 2), noise)


def test_good_chunks_of_hdf5_lz4_with_a_checksum_pass_the_check(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 9, (2, 33, 37)).astype("i2")
    path = write_plain(
        tmp_path / "x.h5", "images", noise, chunks=(1, 33, 37), fletcher32=True, **hdf5plugin.LZ4(nbytes=512)
    )

    np.testing.assert_array_equal(read_frames(path, "/images", 0, 2), noise)


@given(st.binary(max_size=200))
def test_the_check_of_a_chunk_takes_any_bytes(raw: bytes) -> None:
    assert ChunkCheck((BITSHUFFLE,), 4096).problem(0, raw)


@given(st.integers(1, 2**32 - 1), st.binary(max_size=200))
def test_the_check_of_a_chunk_takes_any_block_size(block: int, rest: bytes) -> None:
    problem = ChunkCheck((BITSHUFFLE,), 2**20).problem(0, struct.pack(">QI", 2**20, block) + rest)

    assert problem is None or problem.startswith("its chunk")


def test_a_chunk_of_terabytes_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("images", (10_000, 1000, 1000), "u1", chunks=(4000, 1000, 1000), compression="gzip")

    with pytest.raises(SourceError, match="one chunk would need"):
        inspect(tmp_path / "x.h5")
