"""Detector files with something changed in them at random, as bad disks and bad programs do."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import tifffile

from tests.builders.detector_files import frames_of, write_cxi, write_nxmx, write_plain, write_segment
from tests.builders.facility_files import write_cheetah_cxi, write_euxfel, write_nxtomo, write_sacla_tags, write_spi_cxi
from tests.builders.image_files import write_mrc
from tests.builders.tiff_files import write_imagej_virtual, write_ome, write_stk

_EDGES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)
_HEAD = 4096


def originals(folder: Path) -> list[Path]:
    """Whole files in many layouts and codings, of a few frames each."""
    noise: Any = np.random.default_rng(3).integers(0, 60, (6, 48, 64)).astype("i2")
    flat: dict[str, Any] = {"chunks": (1, 48, 64)}
    write_cxi(folder / "plain.cxi", noise)
    write_nxmx(folder / "gzip.nxs", noise, compression="gzip", **flat)
    write_nxmx(folder / "bitshuffle.nxs", noise, **flat, **hdf5plugin.Bitshuffle())
    write_nxmx(folder / "lz4.nxs", noise, **flat, **hdf5plugin.LZ4())
    write_nxmx(folder / "zstd.nxs", noise, **flat, **hdf5plugin.Zstd())
    write_plain(folder / "shuffled.h5", "images", noise, **flat, compression="gzip", shuffle=True, fletcher32=True)
    write_plain(folder / "contiguous.h5", "images", noise)
    write_segment(folder / "segment.h5", noise)
    write_cheetah_cxi(folder / "cheetah.cxi", noise, mask=np.zeros((48, 64), "u2"))
    write_spi_cxi(folder / "spi.cxi", noise)
    write_nxtomo(folder / "tomo.nxs", noise, [0, 0, 1, 1, 2, 2])
    write_sacla_tags(folder / "sacla.h5", noise, range(6))
    write_euxfel(folder, 0, frames_of(6))
    with h5py.File(folder / "latest.h5", "w", libver="latest") as file:
        file.create_dataset("images", data=noise, maxshape=(None, 48, 64), **flat)
    stack: dict[str, dict[str, Any]] = {
        "pages": {},
        "big": {"bigtiff": True},
        "deflate": {"compression": "zlib", "predictor": True},
        "lzw": {"compression": "lzw"},
        "packbits": {"compression": "packbits"},
        "tiled": {"tile": (16, 16), "compression": "zlib"},
        "strips": {"rowsperstrip": 5},
        "big_endian": {"byteorder": ">"},
    }
    for name, options in stack.items():
        tifffile.imwrite(folder / f"{name}.tif", noise, photometric="minisblack", **options)
    write_ome(folder / "ome.ome.tif", noise)
    write_imagej_virtual(folder / "imagej.tif", noise)
    write_stk(folder / "metamorph.stk", noise)
    write_mrc(folder / "stack.mrcs", noise)
    return sorted(path for path in folder.iterdir() if path.is_file())


def mutate(content: bytes, rng: random.Random) -> bytes:
    """The content with a few bytes, a number, a block or its end changed."""
    changed = bytearray(content)
    change: Callable[[bytearray, random.Random], None] = rng.choice((_bytes, _bytes, _number, _number, _block, _cut))
    for _ in range(rng.choice((1, 1, 2, 5))):
        change(changed, rng)
    return bytes(changed)


def _place(content: bytearray, rng: random.Random) -> int:
    """Anywhere, or in the beginning, where what the rest depends on often stands."""
    return rng.randrange(max(1, min(len(content), _HEAD) if rng.random() < 0.6 else len(content)))


def _bytes(content: bytearray, rng: random.Random) -> None:
    at = _place(content, rng)
    for place in range(at, min(at + rng.choice((1, 1, 2, 8)), len(content))):
        content[place] = rng.randrange(256)


def _number(content: bytearray, rng: random.Random) -> None:
    size = rng.choice((1, 2, 4, 8))
    at = _place(content, rng) // size * size
    value = (rng.choice(_EDGES) % 256**size).to_bytes(size, rng.choice(("little", "big")))
    content[at : at + size] = value[: len(content) - at]


def _block(content: bytearray, rng: random.Random) -> None:
    at, length = _place(content, rng), rng.choice((16, 64, 512))
    other = _place(content, rng)
    length = min(length, len(content) - at, len(content) - other)
    content[at : at + length] = bytes(length) if rng.random() < 0.5 else content[other : other + length]


def _cut(content: bytearray, rng: random.Random) -> None:
    del content[rng.randrange(len(content) // 8, max(len(content), 8)) :]
