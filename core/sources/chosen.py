"""Which images of a data set are frames: not flats, darks, or what a writer has set aside for later."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from photon_triage.core.sources.links import OpenFiles
from photon_triage.core.sources.values import is_own

_EUXFEL = re.compile(r"/INSTRUMENT/(.+:[^/]+)/([^/]+)/")
_KEYS = ("image_key", "instrument/detector/image_key", "../instrument/detector/image_key", "image_key_control")
_KINDS = {1: "flats", 2: "darks", 3: "invalid"}
_MOST_KEYS = 10_000_000


@dataclass(frozen=True, slots=True)
class Chosen:
    """positions: the places of the frames among the images of a data set, in order. note: what was left out."""

    positions: np.ndarray
    note: str


def chosen_images(files: OpenFiles, path: str, images: int, per_entry: int) -> Chosen | None:
    """The images that are frames, None where all are. images: how many there are; per_entry: in each entry."""
    if path.startswith("/INSTRUMENT/"):
        return _indexed(files, path, images, per_entry)
    if path.startswith("/entry_1/"):
        return _counted(files, path, images, per_entry)
    keys = _image_keys(files, path)
    if keys is None:
        return None
    keys = keys[:images]
    positions = np.flatnonzero(keys == 0)
    left_out = [
        f"{count} {_KINDS.get(int(key), f'of key {int(key)}')}"
        for key, count in zip(*np.unique(keys[keys != 0], return_counts=True), strict=True)
    ]
    note = f"image_key: {len(positions)} projections are frames"
    return Chosen(positions, f"{note}, {' and '.join(left_out)} are none" if left_out else note)


def _image_keys(files: OpenFiles, path: str) -> np.ndarray | None:
    """The image_key of NXtomo (0 projection, 1 flat, 2 dark, 3 invalid) that goes with a data set."""
    group = path.rpartition("/")[0]
    while group:
        for name in _KEYS:
            node = files.optional(_joined(group, name))
            keys = _integers(node)
            if keys is not None:
                return keys
        group = group.rpartition("/")[0]
    return None


def _counted(files: OpenFiles, path: str, images: int, per_entry: int) -> Chosen | None:
    """Cheetah makes its data sets longer than they are filled, and says in an attribute how many events are in them."""
    node = files.optional(path)
    try:
        events = int(node.attrs["numEvents"])
        if 0 < events < len(node) and node.chunks:  # while it writes, Cheetah counts from zero
            events += node.id.get_chunk_info_by_coord((events, *(0,) * (node.ndim - 1))).byte_offset is not None
    except (AttributeError, KeyError, OSError, RuntimeError, TypeError, ValueError):
        return None
    frames = events * per_entry
    if not 0 < frames < images:
        return None
    return Chosen(np.arange(frames), f"numEvents: {events} events are in the file; the rows behind are none")


def _indexed(files: OpenFiles, path: str, images: int, per_entry: int) -> Chosen | None:
    """Data sets of the European XFEL are longer than what is in them: INDEX tells where the last train ends."""
    found = _EUXFEL.match(path)
    if found is None:
        return None
    source, part = found.groups()
    for place in (f"INDEX/{source}/{part}", f"INDEX/{source}"):
        told = [_integers(files.optional(f"{place}/{name}")) for name in ("first", "count")]
        if told[0] is not None and told[1] is not None:
            first, count = (one.astype(np.int64) for one in told if one is not None)
            break
    else:
        return None
    trains = min(len(first), len(count))
    used = (first + count)[:trains][count[:trains] > 0]
    entries = int(used.max()) if used.size else 0
    frames = min(images, entries * per_entry)
    if frames >= images:
        return None
    return Chosen(np.arange(frames), f"INDEX: {int((count > 0).sum())} trains with data; the rows behind are none")


def _integers(node: Any) -> np.ndarray | None:
    """A list of integers that lies in the file itself."""
    if not is_own(node) or node.ndim != 1 or node.dtype.kind not in "iu" or node.size > _MOST_KEYS:
        return None
    return np.asarray(node[()])


def _joined(group: str, name: str) -> str:
    while name.startswith("../"):
        group, name = group.rpartition("/")[0], name[3:]
    return f"{group}/{name}"
