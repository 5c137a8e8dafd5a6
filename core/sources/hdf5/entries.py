"""The entries of a data set along its axis of frames: whether they are in the file, and may be decoded."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from photon_triage.core.common.errors import ErrorKind, MissingError, SourceError
from photon_triage.core.sources.hdf5 import virtual
from photon_triage.core.sources.hdf5.chunks.filters import ChunkCheck, pipeline, require_decoders
from photon_triage.core.sources.hdf5.chunks.raw import ChunkTable
from photon_triage.core.sources.hdf5.links import OpenFiles, is_own, names_in

_EUXFEL = re.compile(r"/INSTRUMENT/(.+:[^/]+)/([^/]+)/")
_KEYS = ("image_key", "image_key_control", "instrument/detector/image_key", "instrument/detector/image_key_control")
_KEYS_OF_DETECTORS = ("image_key", "image_key_control")
_KINDS = {0: "projection", 1: "flat", 2: "dark", 3: "invalid image"}
_WORDS = {
    **dict.fromkeys(("projection", "proj", "sample", "image", "data"), 0),
    **dict.fromkeys(("flat", "flat field", "flat_field", "white", "bright", "reference", "ref"), 1),
    **dict.fromkeys(("dark", "dark field", "dark_field", "dark frame"), 2),
    "invalid": 3,
}
"""Keys that are written as words, as the NeXus definition NXtomo explains its numbers."""
_UNKNOWN_WORD = 99
_GOOD = ("is_good_frame", "good_frame")
_MOST_CHILDREN = 100
_MOST_KEYS = 10_000_000

_DEEPEST = 4


@dataclass(frozen=True, slots=True)
class FrameSelection:
    """positions: the places of the frames among the images of a data set, in order. note: what was left out."""

    positions: np.ndarray
    note: str


def chosen_images(files: OpenFiles, path: str, images: int, per_entry: int) -> FrameSelection | None:
    """The images that are frames, None where all are. images: how many there are; per_entry: in each entry."""
    if path.startswith("/INSTRUMENT/"):
        return _indexed(files, path, images, per_entry)
    if path.startswith("/entry_1/"):
        return _counted(files, path, images, per_entry)
    return _keyed(files, path, images) or _good(files, path, images, per_entry)


def _keyed(files: OpenFiles, path: str, images: int) -> FrameSelection | None:
    """The projections of NXtomo, by the key of each image: 0 projection, 1 flat, 2 dark, 3 invalid."""
    keys = _image_keys(files, path, images)
    if keys is None:
        return None
    keys = keys[:images]
    positions = np.flatnonzero(keys == 0)
    left_out = [
        f"{count} {_KINDS.get(int(key), f'image of key {int(key)}')}{'s' if count > 1 else ''}"
        for key, count in zip(*np.unique(keys[keys != 0], return_counts=True), strict=True)
    ]
    note = f"image_key: {len(positions)} projections are frames"
    if left_out:
        note += f"; it excludes {len(keys) - len(positions)} images: {' and '.join(left_out)}"
    return FrameSelection(positions, note)


def _image_keys(files: OpenFiles, path: str, images: int) -> np.ndarray | None:
    """The keys that go with a data set: beside it, or at the detector of its entry with as many images."""
    group = path.rpartition("/")[0]
    while group:
        for name in _KEYS:
            keys = _integers(files.optional(f"{group}/{name}"))
            if keys is not None:
                return keys
        for keys in _keys_of_detectors(files, group):
            if len(keys) == images:
                return keys
        group = group.rpartition("/")[0]
    return None


def _keys_of_detectors(files: OpenFiles, entry: str) -> Iterator[np.ndarray]:
    instrument = files.optional(f"{entry}/instrument")
    for child in names_in(instrument, _MOST_CHILDREN):
        for name in _KEYS_OF_DETECTORS:
            keys = _integers(files.optional(f"{child}/{name}", instrument))
            if keys is not None:
                yield keys


def _good(files: OpenFiles, path: str, images: int, per_entry: int) -> FrameSelection | None:
    """The frames that a flag beside them calls good, as SwissFEL's data acquisition writes it."""
    for name in _GOOD:
        flags = _integers(files.optional(f"{path.rpartition('/')[0]}/{name}"))
        if flags is None or len(flags) * per_entry < images:
            continue
        good = np.repeat(flags != 0, per_entry)[:images]
        if not good.all():
            note = f"{name} excludes {images - int(good.sum())} frames"
            return FrameSelection(np.flatnonzero(good), note)
    return None


def _counted(files: OpenFiles, path: str, images: int, per_entry: int) -> FrameSelection | None:
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
    return FrameSelection(np.arange(frames), f"numEvents: {events} events are in the file; the rows behind are none")


def _indexed(files: OpenFiles, path: str, images: int, per_entry: int) -> FrameSelection | None:
    """The images of valid trains: data sets of the European XFEL are longer than what is in them.

    INDEX tells where each train's images lie, and which trains are valid (flag; since format 1.2 origin, which is
    negative for the trains of the time server).
    """
    found = _EUXFEL.match(path)
    if found is None:
        return None
    source, part = found.groups()
    for place in (f"INDEX/{source}/{part}", f"INDEX/{source}"):
        first, count = (_integers(files.optional(f"{place}/{name}")) for name in ("first", "count"))
        if first is not None and count is not None:
            break
    else:
        return None
    trains = min(len(first), len(count))
    first, count = first[:trains], count[:trains]
    if count.min(initial=0) < 0 or float(count.sum(dtype=np.float64)) > _MOST_KEYS:  # damaged
        return None
    used = count > 0
    good = used & _valid_trains(files, trains)
    suspect = int(count[used & ~good].sum()) * per_entry
    if not good.any():  # a flag that nobody has set says nothing
        good, suspect = used, 0
    starts = np.repeat(first[good] - np.cumsum(count[good]) + count[good], count[good])
    entries = np.unique(starts + np.arange(len(starts)))
    entries = entries[(entries >= 0) & (entries < images // max(1, per_entry))]
    if len(entries) * per_entry >= images:
        return None
    note = f"INDEX: {int(good.sum())} trains with data; the rows behind are none"
    if suspect:
        note = f"INDEX: {int(good.sum())} trains with data; {suspect} frames of trains that are not valid are excluded"
    return FrameSelection((entries[:, None] * per_entry + np.arange(per_entry)).ravel(), note)


def _valid_trains(files: OpenFiles, trains: int) -> np.ndarray:
    """Which trains the file calls valid, (trains,) bool; all where it says nothing."""
    valid = np.ones(trains, bool)
    flag, origin = (_integers(files.optional(f"INDEX/{name}")) for name in ("flag", "origin"))
    if flag is not None:
        valid[: len(flag)] &= flag[:trains] != 0
    elif origin is not None and (origin < 0).any():
        valid[: len(origin)] &= origin[:trains] < 0
    return valid


def _integers(node: Any) -> np.ndarray | None:
    """A list of whole numbers that lies in the file itself, (n,) int64: of any numeric type, or as texts or words."""
    if not is_own(node) or not node.ndim or node.size != node.shape[0] or node.size > _MOST_KEYS:
        return None
    try:
        kind = node.dtype.kind
        if kind in "iub":
            return np.asarray(node[()]).ravel().astype(np.int64)
        if kind == "f":
            values = np.asarray(node[()], np.float64).ravel()
            return np.where(np.isfinite(values), np.rint(values), _UNKNOWN_WORD).astype(np.int64)
        if kind in "SO":
            return np.asarray([_number_of(value) for value in np.asarray(node[()]).ravel()], np.int64)
    except (OSError, RuntimeError, TypeError, ValueError):
        return None
    return None


def _number_of(value: Any) -> int:
    told = (value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)).strip("\0 \n").lower()
    try:
        return round(float(told))
    except (ValueError, OverflowError):
        return _WORDS.get(told, _UNKNOWN_WORD)


class Entries:
    """Checks entries before HDF5 reads them: it gives the fill value for what is missing, and trusts damaged chunks."""

    def __init__(self, files: OpenFiles) -> None:
        self._files = files
        self._checks: dict[int, tuple[ChunkTable, ChunkCheck | None]] = {}
        self._mappings: dict[int, tuple[list[virtual.Mapping], np.ndarray]] = {}

    def require(
        self, dataset: Any, axis: int | None, low: int, high: int, depth: int = 0, *, table: ChunkTable | None = None
    ) -> None:
        """MissingError where one of the entries low .. high-1 along an axis is not written, SourceError if damaged.

        table: where its chunks lie, if they are not read through HDF5; else they are looked into.
        """
        if dataset.is_virtual:
            self._require_sources(dataset, axis, low, high, depth)
            return
        if not dataset.chunks:
            if axis is not None and stored_entries(dataset, axis, self._files.size_of(dataset)) < high:
                raise self._unwritten(dataset, high - 1)
            return
        table, check = (table, None) if table is not None else self._check(dataset)
        for offsets in chunk_offsets(dataset, axis, low, high):
            if table.find(offsets) is None:
                raise self._unwritten(dataset, offsets[axis or 0])
            if check is not None:
                problem = check.problem(*dataset.id.read_direct_chunk(offsets))
                if problem:
                    raise SourceError(
                        f"Reading {dataset.file.filename}: frame {offsets[axis or 0]} of {dataset.name} is damaged: "
                        f"{problem}.",
                        "The other frames can be read.",
                        kind=ErrorKind.DAMAGED,
                    )

    def _require_sources(self, dataset: Any, axis: int | None, low: int, high: int, depth: int) -> None:
        if depth > _DEEPEST:
            raise SourceError(
                f"Reading {self._files.state.path}: virtual data sets refer to each other in a circle.",
                kind=ErrorKind.DAMAGED,
            )
        mappings, whole = self._mapped(dataset)
        if axis != 0:
            low, high = 0, int(dataset.shape[0])
        for mapping in mappings:
            if not mapping.touches(low, high):
                continue
            source = virtual.open_source(self._files, dataset, mapping)
            entries = len(source) if source.ndim else 0
            source_low, source_high = mapping.known(source).of_source(low, high) or (0, entries)
            if source_high > entries:
                raise self._unwritten(source, source_high - 1)
            require_decoders(pipeline(source), self._files.state.path)
            self.require(source, 0, source_low, source_high, depth + 1)
        if axis == 0 and not whole[low:high].all():
            raise self._unwritten(dataset, low + int(np.argmin(whole[low:high])))

    def _mapped(self, dataset: Any) -> tuple[list[virtual.Mapping], np.ndarray]:
        """The mappings of a virtual data set, and which of its entries have all their sources mapped."""
        key = hash(dataset.id)
        if key not in self._mappings:
            mappings = virtual.sources(dataset)
            filled = virtual.coverage(mappings, int(dataset.shape[0]))
            self._mappings[key] = mappings, virtual.whole_entries(dataset, filled)
        return self._mappings[key]

    def _check(self, dataset: Any) -> tuple[ChunkTable, ChunkCheck | None]:
        key = hash(dataset.id)
        if key not in self._checks:
            check = ChunkCheck(pipeline(dataset), math.prod(dataset.chunks) * dataset.dtype.itemsize)
            self._checks[key] = ChunkTable(dataset), check if check.framed else None
        return self._checks[key]

    def _unwritten(self, dataset: Any, frame: int) -> MissingError:
        return MissingError(f"Reading {self._files.state.path}: frame {frame} of {dataset.name} is not written.")


def chunk_offsets(dataset: Any, axis: int | None, low: int, high: int) -> Iterator[tuple[int, ...]]:
    """The coordinates of the chunks that hold the entries low .. high-1 along an axis; all chunks for none."""
    ranges = []
    for place, (side, step) in enumerate(zip(dataset.shape, dataset.chunks, strict=True)):
        ranges.append(range(low // step * step, high, step) if place == axis else range(0, side, step))
    return itertools.product(*ranges)


def stored_entries(dataset: Any, axis: int, file_size: int) -> int:
    """How many leading entries along an axis of a data set without chunks lie within the file's bytes."""
    entries = int(dataset.shape[axis])
    if dataset.id.get_create_plist().get_layout() == h5py.h5d.COMPACT:
        return entries
    offset: int | None = dataset.id.get_offset()
    if offset is None:
        return 0
    if axis != 0:
        end = offset + int(dataset.size) * int(dataset.dtype.itemsize)
        return entries if end <= file_size else 0
    entry_bytes = math.prod(dataset.shape[1:]) * int(dataset.dtype.itemsize)
    return int(max(0, min(entries, (file_size - offset) // max(1, entry_bytes))))
