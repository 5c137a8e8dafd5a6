"""Writes one detector file in one of the ways that writers do, as a process of its own: KIND FOLDER COUNT.

Run by its path: it knows nothing of the package, so what it does to a file is what any other program does.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import tifffile

SHAPE = (48, 64)


def frame(kind: str, index: int) -> Any:
    """A frame that is like no other, without a zero in it."""
    seed = [index, *kind.encode()]
    return np.random.default_rng(seed).integers(1, 1000, SHAPE).astype("i2")


def frames(kind: str, count: int) -> Iterator[tuple[int, Any]]:
    for index in range(count):
        yield index, frame(kind, index)


def resized(kind: str, path: Path, count: int, *, swmr: bool, libver: Any, flush: bool = True, **options: Any) -> None:
    with h5py.File(path, "w", libver=libver) as file:
        chunks = options.pop("chunks", (1, *SHAPE))
        data = file.create_dataset("images", (0, *SHAPE), "i2", maxshape=(None, *SHAPE), chunks=chunks, **options)
        if swmr:
            file.swmr_mode = True
        for index, image in frames(kind, count):
            data.resize(index + 1, 0)
            data[index] = image
            if flush:
                data.flush()


def sized(kind: str, path: Path, count: int, *, swmr: bool, libver: Any, **options: Any) -> None:
    with h5py.File(path, "w", libver=libver) as file:
        data = file.create_dataset("images", (count, *SHAPE), "i2", **options)
        if swmr:
            file.swmr_mode = True
        for index, image in frames(kind, count):
            data[index] = image
            data.flush()


def reopened(kind: str, path: Path, count: int) -> None:
    for index, image in frames(kind, count):
        with h5py.File(path, "a", locking=True) as file:
            if index == 0:
                file.create_dataset("images", (0, *SHAPE), "i2", maxshape=(None, *SHAPE), chunks=(1, *SHAPE))
            file["images"].resize(index + 1, 0)
            file["images"][index] = image


def segments(kind: str, path: Path, count: int) -> Iterator[tuple[str, int]]:
    """The files of a run of several, written one after the other: (name, frames)."""
    for number in range(3):
        name = f"{path.stem.removesuffix('_master')}_data_{number + 1:06}.h5"
        first, last = number * count // 3, (number + 1) * count // 3
        with h5py.File(path.with_name(name), "w", libver="latest") as file:
            data = file.create_dataset(
                "entry/data/data",
                (0, *SHAPE),
                "i2",
                maxshape=(None, *SHAPE),
                chunks=(1, *SHAPE),
                **hdf5plugin.Bitshuffle(),
            )
            file.swmr_mode = True
            for index in range(first, last):
                data.resize(index - first + 1, 0)
                data[index - first] = frame(kind, index)
                data.flush()
        yield name, last - first


def linked(kind: str, path: Path, count: int) -> None:
    """The master comes first, and links to what is not there yet."""
    with h5py.File(path, "w") as file:
        file.create_group("entry").attrs["NX_class"] = "NXentry"
        for number in range(1, 4):
            name = f"{path.stem.removesuffix('_master')}_data_{number:06}.h5"
            file[f"entry/data/data_{number:06}"] = h5py.ExternalLink(name, "/entry/data/data")
    for _ in segments(kind, path, count):
        pass


def virtual(kind: str, path: Path, count: int) -> None:
    """A virtual data set whose sources come after it."""
    layout = h5py.VirtualLayout((count, *SHAPE), "i2")
    for number in range(3):
        first, last = number * count // 3, (number + 1) * count // 3
        name = f"{path.stem.removesuffix('_master')}_data_{number + 1:06}.h5"
        layout[first:last] = h5py.VirtualSource(name, "entry/data/data", (last - first, *SHAPE))
    with h5py.File(path, "w", libver="latest") as file:
        file.create_group("entry").attrs["NX_class"] = "NXentry"
        file.create_virtual_dataset("entry/data/data", layout)
    for _ in segments(kind, path, count):
        pass


def pages(kind: str, path: Path, count: int) -> None:
    with tifffile.TiffWriter(path) as file:
        for _, image in frames(kind, count):
            file.write(image, contiguous=False)


def mapped(kind: str, path: Path, count: int) -> None:
    stack = tifffile.memmap(path, shape=(count, *SHAPE), dtype="i2")
    for index, image in frames(kind, count):
        stack[index] = image
        stack.flush()


def single(kind: str, path: Path, count: int) -> None:
    for index, image in frames(kind, count):
        partial = path.with_name(f".{path.stem}.tmp")
        tifffile.imwrite(partial, image)
        partial.rename(path.with_name(f"{path.stem}_{index:05}.tif"))


def copied(kind: str, path: Path, count: int) -> None:
    """A file that another program copies to its place, piece by piece."""
    source = path.with_name(f".{path.name}.tmp")
    resized(kind, source, count, swmr=False, libver="earliest")
    whole = source.read_bytes()
    with path.open("wb") as target:
        for start in range(0, len(whole), 4096):
            target.write(whole[start : start + 4096])
            target.flush()
    source.unlink()


FLAT = {"chunks": (1, *SHAPE)}
KINDS: dict[str, tuple[str, Callable[..., None], dict[str, Any]]] = {
    "swmr": ("h5", resized, {"swmr": True, "libver": "latest"}),
    "swmr-sized": ("h5", sized, {"swmr": True, "libver": "latest", **FLAT}),
    "swmr-bitshuffle": ("h5", resized, {"swmr": True, "libver": "latest", **hdf5plugin.Bitshuffle()}),
    "latest": ("h5", resized, {"swmr": False, "libver": "latest"}),
    "earliest": ("h5", resized, {"swmr": False, "libver": "earliest"}),
    "unflushed": ("h5", resized, {"swmr": False, "libver": "earliest", "flush": False}),
    "sized": ("h5", sized, {"swmr": False, "libver": "earliest", **FLAT}),
    "contiguous": ("h5", sized, {"swmr": False, "libver": "earliest"}),
    "deep-chunks": ("h5", resized, {"swmr": True, "libver": "latest", "chunks": (4, *SHAPE)}),
    "reopened": ("h5", reopened, {}),
    "linked_master": ("h5", linked, {}),
    "virtual_master": ("h5", virtual, {}),
    "pages": ("tif", pages, {}),
    "mapped": ("tif", mapped, {}),
    "single": ("tif", single, {}),
    "copied": ("h5", copied, {}),
}


if __name__ == "__main__":
    name, folder, number = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    suffix, write, options = KINDS[name]
    write(name, folder / f"{name}.{suffix}", number, **options)
    os._exit(0)
