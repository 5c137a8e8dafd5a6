"""Embeddings on disk, and the queues made of them: parts that appear whole or not at all, by one writer."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_triage.core.common.atomic import atomic_file
from photon_triage.core.common.containment import make_folder, open_binary, regular_files
from photon_triage.core.common.errors import SessionError
from photon_triage.core.common.locks import take_lock
from photon_triage.core.frames import FrameKey
from photon_triage.core.session.session import Session
from photon_triage.core.session.store.filters import EMBEDDED
from photon_triage.core.session.store.reader import ResultsReader
from photon_triage.models.common.input_files import require_modest

FOLDER, LOCK, ORDER = "embeddings", "lock", "order.npz"
LARGEST = 2**30
"""Bytes of a part, unpacked."""


@dataclass(frozen=True, eq=False)
class Places:
    """Frames by name: files are (path, data set), file the place of each frame's among them, index its own, (n,)."""

    files: tuple[tuple[str, str], ...]
    file: NDArray[np.int64]
    index: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.index)

    def take(self, which: NDArray[Any]) -> Places:
        """Some of them, by places or by a mask."""
        return Places(self.files, self.file[which], self.index[which])

    def keys(self) -> tuple[FrameKey, ...]:
        """Their keys, in their order."""
        return tuple(
            FrameKey(self.files[file][0], self.files[file][1], index)
            for file, index in zip(self.file.tolist(), self.index.tolist(), strict=True)
        )


@dataclass(frozen=True, eq=False)
class EmbeddingPart:
    """Frames and their features, (n, features) float16, by the model of that file name."""

    places: Places
    vectors: NDArray[np.float16]
    model: str


class EmbeddingStore:
    """A session's folder of embeddings."""

    def __init__(self, session: Session) -> None:
        self._root, self.folder = session.path, session.path / FOLDER
        self.order_path = self.folder / ORDER

    def model(self) -> str | None:
        """The model that the embeddings are of; None where there are none."""
        part = next(self.parts(), None)
        return part.model if part else None

    def parts(self) -> Iterator[EmbeddingPart]:
        """All parts, the oldest first; one that cannot be read is left out, and its frames are embedded anew."""
        for path in self._part_files():
            found = read_arrays(path, self._root)
            if found is not None:
                yield EmbeddingPart(places_of(found), found["vectors"], str(found["model"]))

    def _part_files(self) -> list[Path]:
        files = regular_files(self.folder, self._root, suffix=".npz")
        return [path for path in files if path.name.startswith("part-") and path.stem[5:].isdecimal()]

    def add(self, part: EmbeddingPart) -> None:
        """Write one more part; raises SessionError."""
        numbers = [int(path.stem.rpartition("-")[2]) for path in self._part_files()]
        path = self.folder / f"part-{max(numbers, default=0) + 1:06d}.npz"
        self.write(path, vectors=part.vectors, model=np.array(part.model), **place_arrays(part.places))

    def clear(self) -> None:
        """Forget all embeddings."""
        for path in [*self._part_files(), self.order_path]:
            path.unlink(missing_ok=True)

    def write(self, path: Path, **arrays: NDArray[Any]) -> None:
        """Write a file of arrays, whole or not at all; raises SessionError."""
        try:
            with atomic_file(path) as file:
                np.savez(file, **arrays)  # type: ignore[arg-type]
        except OSError as error:
            raise SessionError(
                f"Could not write embeddings to {path}: {error.strerror or error}.",
                "Make room there; the same command then goes on with the frames that are left.",
            ) from error

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Be the only writer while the block runs; raises SessionError where another process is, or none can be."""
        try:
            make_folder(self.folder, self._root)
            handle = take_lock(self.folder / LOCK, self._root)
        except OSError as error:
            raise SessionError(
                f"Could not embed into {self.folder}: {error.strerror or error}.", "Make the session's folder writable."
            ) from error
        if handle is None:
            raise SessionError(
                f"Could not embed into {self.folder}: another process is at it.", "Wait until it is done."
            )
        try:
            yield
        finally:
            os.close(handle)


def read_arrays(path: Path, root: Path) -> dict[str, NDArray[Any]] | None:
    """The arrays of a file within `root`; None where there is none, or it cannot be read."""
    try:
        with open_binary(path, root) as opened:
            require_modest(opened, LARGEST)
            with np.load(opened, allow_pickle=False) as file:
                return {name: file[name] for name in file.files}
    except (OSError, ValueError, KeyError, EOFError, MemoryError, zipfile.BadZipFile):
        return None


def place_arrays(places: Places) -> dict[str, NDArray[Any]]:
    """Names of frames as arrays of a file."""
    paths, datasets = zip(*places.files, strict=True) if places.files else ((), ())
    return {
        "paths": _texts(paths), "datasets": _texts(datasets), "of_file": places.file, "index": places.index,
    }  # fmt: skip


def places_of(arrays: dict[str, NDArray[Any]]) -> Places:
    """What `place_arrays` has made arrays of."""
    files = tuple(zip(arrays["paths"].tolist(), arrays["datasets"].tolist(), strict=True))
    return Places(files, arrays["of_file"].astype(np.int64), arrays["index"].astype(np.int64))


def _texts(texts: Sequence[str]) -> NDArray[np.str_]:
    return np.array(texts, np.str_) if texts else np.empty(0, np.str_)


def joined(parts: Sequence[Places]) -> Places:
    """The frames of several, one after the other, under one list of files."""
    files = {each: place for place, each in enumerate(dict.fromkeys(file for part in parts for file in part.files))}
    moved = [np.array([files[each] for each in part.files], np.int64)[part.file] for part in parts]
    return Places(
        tuple(files),
        np.concatenate([np.empty(0, np.int64), *moved]),
        np.concatenate([np.empty(0, np.int64), *(part.index for part in parts)]),
    )


def known(of: Places, among: Sequence[Places]) -> NDArray[np.bool_]:
    """Which frames stand in others' lists too, (n,) bool."""
    found = np.zeros(len(of), np.bool_)
    others = joined(among)
    where = {file: place for place, file in enumerate(others.files)}
    for place, file in enumerate(of.files):
        mine = of.file == place
        if file in where and mine.any():
            found[mine] = np.isin(of.index[mine], others.index[others.file == where[file]])
    return found


Ids = NDArray[np.int64]
INDICES = 2**40
"""More than a file has frames."""


def order_version(session: Path) -> int:
    """A number that changes whenever the orders were written; 0 where there are none."""
    try:
        return (session / FOLDER / ORDER).stat().st_mtime_ns
    except OSError:
        return 0


def queued(session: Path, reader: ResultsReader) -> Mapping[str, Ids]:
    """Ids by queue, in their order; frames that are not in the results any more are left out."""
    arrays = read_arrays(session / FOLDER / ORDER, session)
    if arrays is None or any(queue not in arrays for queue in EMBEDDED):
        return {}
    places, there_are = places_of(arrays), reader.frames().columns()
    file, index, ids = there_are.file, there_are.index, there_are.id
    known = {each: place for place, each in enumerate(there_are.files)}
    there = np.array([known.get(each, -1) for each in places.files], np.int64)[places.file]
    codes, wanted = file * INDICES + index, np.where(there < 0, -1, there * INDICES + places.index)
    by_code = np.argsort(codes)
    at = by_code[np.searchsorted(codes, wanted, sorter=by_code).clip(max=len(codes) - 1)] if len(codes) else wanted
    found = np.where(codes[at] == wanted, ids[at], -1) if len(codes) else np.full(len(wanted), -1)
    in_order = {queue: found[arrays[queue]] for queue in EMBEDDED}
    return {queue: some[some >= 0] for queue, some in in_order.items()}
