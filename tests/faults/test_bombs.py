"""Files that ask for more memory than there is: refused from what they say of themselves, before anything is taken."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
import tifffile

from tests.builders.detector_files import frames_of, make_old, write_cxi
from tests.builders.image_files import write_mrc

from .engines import counts, files, make_session, scan
from .memory import HighWater, resident_most

Say = Callable[[str], None]
READER_LIMIT, FRAME_LIMIT = 6 * 2**30, 2 * 2**30


def write_bombs(folder: Path) -> list[Path]:
    """Small files with terabytes in them."""
    shapes = {"chunk": (1, 1_000_000, 1_000_000), "frames": (2**40, 1000, 1000), "wide": (3, 40_000, 40_000)}
    for name, shape in shapes.items():
        with h5py.File(folder / f"{name}.h5", "w") as file:
            chunk = (1, min(shape[1], 1000), min(shape[2], 1000))
            file.create_dataset("images", shape, "i4", chunks=chunk, compression="gzip")
    with h5py.File(folder / "one_chunk.h5", "w") as file:
        file.create_dataset("images", (1000, 1000, 1000), "i4", chunks=(1000, 1000, 1000), compression="gzip")
        file["images"].id.write_direct_chunk((0, 0, 0), zlib.compress(bytes(2**20), 9) * 2)
    with h5py.File(folder / "gzip.h5", "w") as file:
        file.create_dataset("images", (1, 30_000, 30_000), "u1", chunks=(1, 30_000, 30_000), compression=1)
        packer, piece = zlib.compressobj(1), bytes(2**24)
        packed = b"".join(packer.compress(piece) for _ in range(80)) + packer.flush()
        file["images"].id.write_direct_chunk((0, 0, 0), packed)
    with h5py.File(folder / "bitshuffle.h5", "w") as file:
        images = file.create_dataset("images", (1, 1000, 1000), "i4", chunks=(1, 1000, 1000), **hdf5plugin.Bitshuffle())
        images.id.write_direct_chunk((0, 0, 0), struct.pack(">QI", 2**62, 2**30) + struct.pack(">I", 2**30) * 20)
    with h5py.File(folder / "mask.cxi", "w") as file:
        detector = file.create_group("entry_1/instrument_1/detector_1")
        detector.create_dataset("data", data=frames_of(3), chunks=(1, 48, 64))
        detector.create_dataset("mask", (10**6, 10**6), "i4", chunks=(1000, 1000))
        file["entry_1/data_1/data"] = h5py.SoftLink("/entry_1/instrument_1/detector_1/data")
        file["cxi_version"] = 160
    with h5py.File(folder / "virtual.h5", "w", libver="latest") as file:
        layout = h5py.VirtualLayout((10, 10**6, 10**6), "i4")
        layout[0, :1, :1] = h5py.VirtualSource("gzip.h5", "images", (1, 30_000, 30_000))[0, :1, :1]
        file.create_virtual_dataset("images", layout)
    write_mrc(folder / "stack.mrcs", np.zeros((2, 40, 40), "i2"))
    with (folder / "stack.mrcs").open("r+b") as raw:
        raw.write(struct.pack("<3i", 2**30, 2**30, 4))
    for name, tag in (("wide.tif", 256), ("deep.tif", 258), ("strip.tif", 279)):
        tifffile.imwrite(folder / name, frames_of(2), photometric="minisblack", compression="zlib")
        with tifffile.TiffFile(folder / name, mode="r+") as tiff:
            tiff.pages[0].tags[tag].overwrite(2**31 if tag != 258 else 64, dtype=4)  # type: ignore[union-attr]
    return sorted(folder.iterdir())


def test_nothing_asks_for_more_memory_than_is_allowed(tmp_path: Path, figure: Say) -> None:
    data = tmp_path / "data"
    data.mkdir()
    bombs = write_bombs(data)
    for place, path in enumerate(bombs):
        make_old(path, 1000)
        make_old(write_cxi(data / f"good_{place}.cxi", frames_of(3)), 1000)
    session = make_session(tmp_path / "session")
    before = resident_most()
    with HighWater() as water:
        scan(session, [data])
    rows = files(session)
    costly = [name for name, row in rows.items() if "reader process" in row.reason]
    figure(
        f"bombs: {len(bombs)} files that ask for up to terabytes; at most {water.most_virtual / 2**30:.2f} of "
        f"{READER_LIMIT / 2**30:.0f} GiB of a reader's addresses, {water.most_resident / 2**30:.2f} GiB of memory, "
        f"{(resident_most() - before) / 2**20:.0f} MiB more in the engine; {len(costly)} cost readers"
    )
    assert len(rows) == 2 * len(bombs) and not costly
    assert all(row.status == "complete" for name, row in rows.items() if name.startswith("good"))
    assert water.most_virtual <= READER_LIMIT and resident_most() - before <= FRAME_LIMIT
    assert counts(session).frames >= 3 * len(bombs)
