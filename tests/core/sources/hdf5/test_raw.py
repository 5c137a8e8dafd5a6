"""Frames that are read past HDF5 are those that HDF5 reads."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from photon_triage.core.common.errors import MissingError, SourceError
from photon_triage.core.sources import read_frames
from photon_triage.core.sources.hdf5.chunks import raw
from photon_triage.core.sources.hdf5.chunks.decoding import DamagedError, Decoder, LeftToHdf5Error
from photon_triage.core.sources.hdf5.chunks.filters import ChunkCheck, pipeline
from photon_triage.core.sources.hdf5.chunks.raw import RawChunks
from photon_triage.core.sources.hdf5.source import open_frames
from photon_triage.core.sources.registry import look

PIPELINES: dict[str, dict[str, Any]] = {
    "contiguous": {"chunks": None},
    "none": {},
    "gzip": {"compression": "gzip", "compression_opts": 1},
    "shuffle": {"shuffle": True},
    "shuffle, gzip": {"shuffle": True, "compression": "gzip"},
    "shuffle, gzip, checksum": {"shuffle": True, "compression": "gzip", "fletcher32": True},
    "checksum": {"fletcher32": True},
    "LZ4": dict(hdf5plugin.LZ4()),
    "LZ4 in blocks, checksum": {"fletcher32": True, **hdf5plugin.LZ4(nbytes=512)},
    "shuffle, LZ4": {"shuffle": True, **hdf5plugin.LZ4(nbytes=512)},
    "bitshuffle/LZ4": dict(hdf5plugin.Bitshuffle()),
    "bitshuffle/LZ4 in small blocks": dict(hdf5plugin.Bitshuffle(nelems=64)),
    "bitshuffle/LZ4, checksum": {"fletcher32": True, **hdf5plugin.Bitshuffle(nelems=64)},
    "Zstandard": dict(hdf5plugin.Zstd()),
}
THROUGH_HDF5: dict[str, dict[str, Any]] = {
    "bitshuffle": dict(hdf5plugin.Bitshuffle(cname="none")),
    "bitshuffle/Zstandard": dict(hdf5plugin.Bitshuffle(cname="zstd")),
    "Blosc": dict(hdf5plugin.Blosc()),
    "LZF": {"compression": "lzf"},
    "n-bit": {"scaleoffset": 0},
}
DTYPES = ("u1", "i2", ">u2", "<u4", ">i4", "f4", ">f8")


@pytest.fixture(autouse=True, scope="module")
def _small_chunks_are_read_so_too() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(raw, "LEAST_BYTES", 1)
        yield


def pixels(shape: tuple[int, ...], dtype: str = "i2", *, seed: int = 1) -> Any:
    """Counts of a weak exposure with noise in one corner: blocks that compress well, and blocks that do not."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(0.2, shape).astype(dtype)
    corner = tuple(slice(0, max(1, side // 2)) for side in shape)
    counts[corner] = rng.integers(0, 120, counts[corner].shape)
    return counts


def write(path: Path, data: Any, *, userblock: int = 0, **options: Any) -> Path:
    """A file with one data set, `images`; chunks of a frame each unless told."""
    options = {"chunks": (1, *data.shape[1:]), **options}
    with h5py.File(path, "w", userblock_size=userblock) as file:
        file.create_dataset("images", data=data, **options)
    return path


def is_raw(path: Path, name: str = "images") -> bool:
    with h5py.File(path) as file:
        return RawChunks.of(file[name], 0) is not None


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", PIPELINES)
def test_frames_of_every_pipeline_are_those_that_were_written(tmp_path: Path, name: str, dtype: str) -> None:
    data = pixels((5, 37, 41), dtype)
    path = write(tmp_path / "x.h5", data, **PIPELINES[name])

    found = read_frames(path, "/images", 1, 5)

    assert is_raw(path)
    np.testing.assert_array_equal(found, data[1:])
    assert found.dtype == data.dtype.newbyteorder("=")


@pytest.mark.parametrize("name", THROUGH_HDF5)
def test_other_filters_are_left_to_hdf5(tmp_path: Path, name: str) -> None:
    data = pixels((3, 37, 41))
    path = write(tmp_path / "x.h5", data, **THROUGH_HDF5[name])

    assert not is_raw(path)
    np.testing.assert_array_equal(read_frames(path, "/images", 0, 3), data)


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_any_part_of_any_chunks_is_what_hdf5_gives(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    shape = (data.draw(st.integers(1, 7)), data.draw(st.integers(33, 70)), data.draw(st.integers(33, 70)))
    name = data.draw(st.sampled_from(sorted(PIPELINES)))
    chunks = tuple(data.draw(st.integers(1, side)) for side in shape)
    options = {"chunks": chunks, **PIPELINES[name]}
    images = pixels(shape, data.draw(st.sampled_from(DTYPES)))
    path = write(tmp_path_factory.mktemp("any") / "x.h5", images, **options)
    part = []
    for side in shape:
        low = data.draw(st.integers(0, side - 1))
        part.append(slice(low, data.draw(st.integers(low + 1, side))))

    with h5py.File(path) as file:
        chosen = RawChunks.of(file["images"], 0)
        assert chosen is not None
        expected = file["images"][tuple(part)]
        place = np.zeros(expected.shape, images.dtype.newbyteorder("="))
        chosen.read(tuple(part), place)

    np.testing.assert_array_equal(place, expected)


@pytest.mark.parametrize("axes", [(2, 0, 1), (0, 1, 3, 2)])
@pytest.mark.parametrize("name", ["contiguous", "bitshuffle/LZ4"])
def test_frames_in_any_axes_are_those_of_hdf5(
    tmp_path: Path, name: str, axes: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = (40, 44, 6) if len(axes) == 3 else (3, 2, 40, 44)
    options: dict[str, Any] = {"chunks": tuple(-(-side // 2) for side in shape), **PIPELINES[name]}
    path = write(tmp_path / "x.h5", pixels(shape), **options)
    raw_frames = read_frames(path, "/images", 1, 5)

    monkeypatch.setattr(RawChunks, "of", lambda *_: None)

    np.testing.assert_array_equal(raw_frames, read_frames(path, "/images", 1, 5))


@pytest.mark.parametrize("mask", [0b01, 0b10, 0b11])
def test_filters_that_a_chunk_did_without_are_not_undone(tmp_path: Path, mask: int) -> None:
    data = pixels((2, 37, 41))
    path = write(tmp_path / "x.h5", data, shuffle=True, compression="gzip")
    plain = data[1].tobytes()
    shuffled = plain if mask & 1 else np.frombuffer(plain, "u1").reshape(-1, 2).T.tobytes()
    with h5py.File(path, "r+") as file:
        file["images"].id.write_direct_chunk((1, 0, 0), shuffled if mask & 2 else zlib.compress(shuffled), mask)

    np.testing.assert_array_equal(read_frames(path, "/images", 0, 2), data)


def test_a_file_behind_a_user_block_is_read_through_hdf5(tmp_path: Path) -> None:
    data = pixels((3, 37, 41))
    for name in ("none", "contiguous", "bitshuffle/LZ4"):
        path = write(tmp_path / f"{len(name)}.h5", data, userblock=1024, **PIPELINES[name])

        assert not is_raw(path)
        np.testing.assert_array_equal(read_frames(path, "/images", 0, 3), data)


def test_numbers_that_do_not_use_all_their_bits_are_read_through_hdf5(tmp_path: Path) -> None:
    kind = h5py.h5t.NATIVE_UINT16.copy()
    kind.set_precision(12)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        space, properties = h5py.h5s.create_simple((2, 37, 41)), h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk((1, 37, 41))
        h5py.h5d.create(file.id, b"images", kind, space, properties)
        file["images"][...] = pixels((2, 37, 41), "u2")

    assert not is_raw(tmp_path / "x.h5")
    np.testing.assert_array_equal(read_frames(tmp_path / "x.h5", "/images", 0, 2), pixels((2, 37, 41), "u2"))


def test_compact_and_small_chunks_are_read_through_hdf5(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_layout(h5py.h5d.COMPACT)
        h5py.h5d.create(
            file.id, b"images", h5py.h5t.NATIVE_UINT8, h5py.h5s.create_simple((2, 37, 41)), properties
        ).write(h5py.h5s.ALL, h5py.h5s.ALL, pixels((2, 37, 41), "u1"))
    assert not is_raw(tmp_path / "x.h5")
    np.testing.assert_array_equal(read_frames(tmp_path / "x.h5", "/images", 0, 2), pixels((2, 37, 41), "u1"))

    monkeypatch.setattr(raw, "LEAST_BYTES", 37 * 41 * 2 + 1)

    assert not is_raw(write(tmp_path / "y.h5", pixels((2, 37, 41))))


def test_files_that_are_linked_are_read_so_and_virtual_ones_through_hdf5(tmp_path: Path) -> None:
    data = pixels((4, 37, 41))
    write(tmp_path / "part.h5", data, **PIPELINES["bitshuffle/LZ4"])
    with h5py.File(tmp_path / "master.h5", "w") as file:
        file["entry/data/data_000001"] = h5py.ExternalLink("part.h5", "/images")
        layout = h5py.VirtualLayout(data.shape, data.dtype)
        layout[...] = h5py.VirtualSource("part.h5", "images", data.shape)
        file.create_virtual_dataset("virtual", layout)

    stack = open_frames(look(tmp_path / "master.h5"), "/entry/data")
    assert stack.stack.leader.raw is not None
    stack.close()
    np.testing.assert_array_equal(read_frames(tmp_path / "master.h5", "/entry/data", 0, 4), data)
    np.testing.assert_array_equal(read_frames(tmp_path / "master.h5", "/virtual", 0, 4), data)
    assert not is_raw(tmp_path / "master.h5", "virtual")


def test_bitshuffle_blocks_that_did_not_shrink_are_decoded_as_what_they_are(tmp_path: Path) -> None:
    """A block that has its decoded size is one that HDF5's LZ4 filter stores as it is, and bitshuffle does not."""
    rng = np.random.default_rng(3)
    data = rng.integers(0, 256, (400, 64, 64), "u1")
    for frame in data:  # the more zeros, the shorter the blocks: some have exactly their decoded size
        frame[:, : rng.integers(1, 24)] = 0
    path = write(tmp_path / "x.h5", data, **hdf5plugin.Bitshuffle(nelems=128))
    with h5py.File(path) as file:
        check = ChunkCheck(pipeline(file["images"]), 64 * 64)
        chunks = [memoryview(file["images"].id.read_direct_chunk((place, 0, 0))[1]) for place in range(400)]
    found = [blocks for blocks in map(check.blocks, chunks) if not isinstance(blocks, str)]
    assert len(found) == 400 and 0 < sum(blocks.stored for blocks in found) < 400

    np.testing.assert_array_equal(read_frames(path, "/images", 0, 400), data)


@pytest.mark.parametrize("name", ["shuffle", "gzip", "Zstandard", "LZ4", "bitshuffle/LZ4", "shuffle, gzip"])
@pytest.mark.parametrize("size", [37 * 41 - 1, 37 * 41 + 1, 10**5])
def test_a_chunk_of_another_size_than_its_frame_is_refused(tmp_path: Path, name: str, size: int) -> None:
    data = pixels((3, 37, 41), "u1")
    path = write(tmp_path / "x.h5", data, **PIPELINES[name])
    other = write(tmp_path / "other.h5", np.zeros((1, 1, size), "u1"), **PIPELINES[name])
    with h5py.File(path, "r+") as file, h5py.File(other) as wrong:
        file["images"].id.write_direct_chunk((1, 0, 0), wrong["images"].id.read_direct_chunk((0, 0, 0))[1])

    with pytest.raises(SourceError, match="frame 1 of /images is damaged"):
        read_frames(path, "/images", 0, 3)
    np.testing.assert_array_equal(read_frames(path, "/images", 2, 3), data[2:])


@pytest.mark.parametrize("name", ["shuffle, gzip, checksum", "checksum", "bitshuffle/LZ4, checksum"])
def test_a_wrong_checksum_is_noticed(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "x.h5", pixels((2, 37, 41)), **PIPELINES[name])
    with h5py.File(path) as file:
        told = file["images"].id.get_chunk_info_by_coord((1, 0, 0))
    with path.open("r+b") as file:
        file.seek(told.byte_offset + told.size - 9)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 1]))

    with pytest.raises(SourceError, match="frame 1 of /images is damaged"):
        read_frames(path, "/images", 0, 2)


@pytest.mark.parametrize("name", ["none", "bitshuffle/LZ4"])
def test_a_chunk_that_is_not_there_is_missing(tmp_path: Path, name: str) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        images = file.create_dataset("images", (3, 37, 41), "i2", chunks=(1, 37, 41), **PIPELINES[name])
        images[0] = images[2] = pixels((37, 41))

    with pytest.raises(MissingError, match=r"frame 1 .* is not written"):
        read_frames(tmp_path / "x.h5", "/images", 0, 3)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(PIPELINES)), st.integers(0, 3), st.binary(max_size=300), st.integers(0, 2**32 - 1))
def test_any_bytes_are_decoded_in_their_place_or_refused(name: str, mask: int, chunk: bytes, block: int) -> None:
    """Without HDF5, whose decoders would end the process."""
    with h5py.File.in_memory() as file:
        filters = pipeline(file.create_dataset("x", (1, 16, 16), "i2", **{"chunks": (1, 16, 16), **PIPELINES[name]}))
    decoder = Decoder(filters, 512, 2)
    for begin in (b"", struct.pack(">QI", 512, block), struct.pack(">QI", 512, 64)):
        before = b"guard" * 128
        memory = bytearray(before)
        with suppress(DamagedError, LeftToHdf5Error):
            decoder.decode(mask, memoryview(bytearray(begin + chunk)), 0, 512, memoryview(memory)[64:576])
        assert memory[:64] == before[:64] and memory[576:] == before[576:]
