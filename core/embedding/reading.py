"""Frames for networks that need no labels: those that reach the network, read some at a time, region only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from photon_triage.core.embedding.store import Places
from photon_triage.core.errors import SourceError
from photon_triage.core.frames import as_counts
from photon_triage.core.prepare import Preparation
from photon_triage.core.session.session import Session
from photon_triage.core.sources import FrameReader

AT_ONCE = 64
_BRIGHT = 1e9


def reaching(session: Session) -> Places:
    """The frames of a session that reach its network, or pass all stages where it has none; raises SessionError."""
    reader = session.results()
    try:
        everything = reader.listing("frames").population()
    finally:
        reader.close()
    reached = everything.passed >= session.recipe().stages_before_network
    return Places(everything.files, everything.file[reached], everything.index[reached])


def evenly(count: int, most: int | None) -> NDArray[np.int64]:
    """`most` places of `count`, spread evenly over them, (most,); all where there are no more."""
    if most is None or count <= most:
        return np.arange(count)
    return (np.arange(most) * count) // most


class RegionReader:
    """Reads the preparation's region of frames; files that cannot be read are passed over and counted."""

    def __init__(self, session: Session, preparation: Preparation) -> None:
        self._frames = FrameReader(roots=session.recipe().source.roots)
        self._preparation = preparation
        self.unreadable = 0
        self.usable: NDArray[np.bool_] = np.ones((0, 0), np.bool_)
        """Which pixels of the region are good in the file that was read last, (rows, columns)."""

    def __enter__(self) -> RegionReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._frames.close()

    def read(self, places: Places) -> Iterator[tuple[Places, NDArray[np.float32]]]:
        """Frames in the order of files and indices, at most AT_ONCE each time, with counts (n, rows, columns)."""
        for place, (path, dataset) in enumerate(places.files):
            of_file = places.take(places.file == place)
            if not len(of_file):
                continue
            of_file = of_file.take(np.argsort(of_file.index))
            try:
                info = self._frames.inspect(path, dataset or None)
                valid = self._frames.mask(info)
            except SourceError:
                self.unreadable += len(of_file)
                continue
            mask = None if valid is None else torch.from_numpy(valid)
            self.usable = self._preparation.region(torch.full((1, *info.shape), _BRIGHT), mask)[0].numpy() > 0
            for start in range(0, len(of_file), AT_ONCE):
                chunk = of_file.take(np.arange(start, min(start + AT_ONCE, len(of_file))))
                try:
                    raw = self._frames.read_indices(path, dataset, chunk.index.tolist())
                except SourceError:
                    self.unreadable += len(chunk)
                    continue
                yield chunk, self._preparation.region(torch.from_numpy(as_counts(raw)), mask).numpy()


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
