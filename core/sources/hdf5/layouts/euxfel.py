"""The European XFEL's raw and corrected files, one detector module each.

Sources: the data format of the European XFEL (0.5 to 1.3) and the files that EXtra-data's tests build.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import h5py

from photon_triage.core.sources.hdf5.layouts.layout import Layout, first_images, first_mask
from photon_triage.core.sources.hdf5.links import OpenFiles, names_in
from photon_triage.core.sources.hdf5.values import first, number

_MOST_CHILDREN = 1000
_PLACES = ("image/data", "data/adc", "data/image/data", "data/image/pixels")
"""Below a source's output channel: XTDF detectors (AGIPD, DSSC, LPD), JUNGFRAU and Gotthard, ePix and cameras."""

_MODULE = re.compile(r"/(\d+)CH\d+:|/JNGFR(\d+):")


def recognise(files: OpenFiles) -> Layout | None:
    """A file of the European XFEL with a detector's images."""
    if not all(isinstance(files.optional(name), h5py.Group) for name in ("METADATA", "INDEX", "INSTRUMENT")):
        return None
    sources = list(_sources(files))
    for place in _PLACES:
        dataset = first_images(files, tuple(f"{source}/{place}" for source in sources), smallest=32)
        if dataset is not None:
            return _layout(files, dataset)
    return None


def _layout(files: OpenFiles, dataset: str) -> Layout:
    run = first(files, files.main, ("METADATA/runNumber",), number)
    module = _MODULE.search(dataset)
    told = f"the file of module {module[1] or module[2]}" if module else "a file"
    mask = first_mask(files, (f"{dataset.strip('/').rpartition('/')[0]}/mask",))
    return Layout(
        "EuXFEL",
        dataset,
        f"{told} of a European XFEL run",
        mask,
        run="" if run is None else f"r{int(run):04}",
    )


def _sources(files: OpenFiles) -> Iterator[str]:
    """The output channels below INSTRUMENT: domain, type, member:channel; old device names are shorter."""
    queue: list[tuple[str, Any, int]] = [("INSTRUMENT", files.optional("INSTRUMENT"), 0)]
    while queue:
        path, group, depth = queue.pop(0)
        for name in sorted(names_in(group, _MOST_CHILDREN)):
            if ":" in name:
                yield f"{path}/{name}"
            elif depth < 3 and isinstance(child := files.optional(name, group), h5py.Group):
                queue.append((f"{path}/{name}", child, depth + 1))
