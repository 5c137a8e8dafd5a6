"""Frames for networks that need no labels: those that reach the network, read some at a time, whole or region only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from photon_triage.core.common.errors import SourceError
from photon_triage.core.embedding.store import Places
from photon_triage.core.frames import Batch, FrameKey
from photon_triage.core.prepare import Preparation
from photon_triage.core.session.session import Session
from photon_triage.core.session.store.frames import read_pixels
from photon_triage.core.sources import FrameReader

AT_ONCE, BYTES_AT_ONCE = 64, 1 << 26
_BRIGHT = 1e9


def reaching(session: Session) -> Places:
    """The frames of a session that reach its network, or pass all stages where it has none; raises SessionError."""
    reader = session.results()
    try:
        everything = reader.frames().columns()
    finally:
        reader.close()
    reached = everything.passed >= session.recipe().stages_before_network
    return Places(everything.files, everything.file[reached], everything.index[reached])


def evenly(count: int, most: int | None) -> NDArray[np.int64]:
    """`most` places of `count`, spread evenly over them, (most,); all where there are no more."""
    if most is None or count <= most:
        return np.arange(count)
    return (np.arange(most) * count) // most


class BatchReader:
    """Reads frames as batches, whole; files that cannot be read are passed over and counted."""

    def __init__(self, session: Session) -> None:
        recipe = session.recipe()
        self._frames = FrameReader(roots=recipe.source.roots)
        self._geometry = recipe.geometry.geometry()
        self.unreadable = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._frames.close()

    def read(self, places: Places) -> Iterator[tuple[Places, Batch]]:
        """Frames in the order of files and indices, at most AT_ONCE or BYTES_AT_ONCE each time, but one."""
        for place in range(len(places.files)):
            of_file = places.take(places.file == place)
            of_file = of_file.take(np.argsort(of_file.index))
            for part in read_pixels(
                self._frames, of_file.keys(), at_once=AT_ONCE, most_bytes=BYTES_AT_ONCE, failed=self._count
            ):
                mask = None if part.valid is None else torch.from_numpy(part.valid)
                geometry = part.info.geometry.over(self._geometry)
                chunk = of_file.take(np.isin(of_file.index, [key.index for key in part.keys]))
                yield chunk, Batch(part.keys, torch.from_numpy(part.pixels), mask, geometry)

    def _count(self, keys: Sequence[FrameKey], _: SourceError) -> None:
        self.unreadable += len(keys)


class RegionReader:
    """Reads the preparation's region of frames; files that cannot be read are passed over and counted."""

    def __init__(self, session: Session, preparation: Preparation) -> None:
        self._batches, self._preparation = BatchReader(session), preparation
        self.usable: NDArray[np.bool_] = np.ones((0, 0), np.bool_)
        """Which pixels of the region are good in the file that was read last, (rows, columns)."""

    @property
    def unreadable(self) -> int:
        """Frames that could not be read so far."""
        return self._batches.unreadable

    def __enter__(self) -> Self:
        self._batches.__enter__()
        return self

    def __exit__(self, *what: object) -> None:
        self._batches.__exit__(*what)

    def read(self, places: Places) -> Iterator[tuple[Places, NDArray[np.float32]]]:
        """Frames as the batches come, with counts (n, rows, columns)."""
        before = None
        for chunk, batch in self._batches.read(places):
            if before != (before := chunk.files[chunk.file[0]]):
                bright = torch.full((1, *batch.shape), _BRIGHT)
                self.usable = self._preparation.region(bright, batch.valid)[0].numpy() > 0
            yield chunk, self._preparation.region(batch.frames, batch.valid).numpy()


def as_small_integers(counts: NDArray[np.float32]) -> NDArray[Any]:
    """Counts as int16 where that loses nothing."""
    whole = counts.size == 0 or (counts.max() <= np.iinfo(np.int16).max and np.array_equal(counts, counts.round()))
    return counts.astype(np.int16) if whole else counts


def frames_in_memory(reader: RegionReader, places: Places) -> tuple[Sequence[Places], NDArray[Any]]:
    """All these frames at once, counts (n, rows, columns), and which they are."""
    parts, counts = [], []
    for chunk, region in reader.read(places):
        parts.append(chunk)
        counts.append(as_small_integers(region))
    return parts, np.concatenate(counts) if counts else np.empty((0, 0, 0), np.int16)
