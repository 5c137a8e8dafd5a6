"""The frames of a session that can still be read, and their runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing

import numpy as np

from photon_triage.core.common.errors import SourceError
from photon_triage.core.frames import FrameKey, as_counts
from photon_triage.core.session.session import Session
from photon_triage.core.sources import FrameReader
from photon_triage.core.training.data.images import Image


def readable_frames(keys: Iterable[FrameKey], session: Session) -> Iterator[tuple[FrameKey, Image]]:
    """The frames that can still be read."""
    with FrameReader(roots=session.recipe().source.roots) as reader:
        for key in keys:
            try:
                info = reader.inspect(key.file, key.dataset or None)
                valid = reader.mask(info)
                pixels = as_counts(reader.read_indices(key.file, key.dataset, [key.index])[0], valid)
            except SourceError:
                continue
            usable = np.isfinite(pixels) if valid is None else np.isfinite(pixels) & valid
            yield key, Image(key, pixels, usable, info.simulated)


def runs_of(session: Session, keys: Iterable[FrameKey]) -> tuple[str, ...]:
    """The run of every frame, (n,); "" where the engine has not seen its file."""
    known: dict[str, str] = {}
    if session.results_path.exists():
        with closing(session.results()) as reader:
            known = {file.path: file.run for file in reader.files()}
    return tuple(known.get(key.file, "") for key in keys)
