"""The orders of the queues "kinds" and "outliers", as ids of results.db."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from photon_triage.core.embedding.store import FOLDER, ORDER, places_of, read_arrays
from photon_triage.core.session.store.filters import EMBEDDED
from photon_triage.core.session.store.reader import ResultsReader

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
    places, (files, file, index, ids) = places_of(arrays), reader.frame_ids()
    known = {each: place for place, each in enumerate(files)}
    there = np.array([known.get(each, -1) for each in places.files], np.int64)[places.file]
    codes, wanted = file * INDICES + index, np.where(there < 0, -1, there * INDICES + places.index)
    by_code = np.argsort(codes)
    at = by_code[np.searchsorted(codes, wanted, sorter=by_code).clip(max=len(codes) - 1)] if len(codes) else wanted
    found = np.where(codes[at] == wanted, ids[at], -1) if len(codes) else np.full(len(wanted), -1)
    in_order = {queue: found[arrays[queue]] for queue in EMBEDDED}
    return {queue: some[some >= 0] for queue, some in in_order.items()}
