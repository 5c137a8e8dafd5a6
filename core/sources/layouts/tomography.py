"""Tomography: NXtomo and Data Exchange. Flats and darks are no frames.

Sources: the NeXus definition NXtomo, and Data Exchange (De Carlo et al. 2014, J. Synchrotron Rad. 21, 1224).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import h5py

from photon_triage.core.frames import Geometry
from photon_triage.core.sources.layouts.layout import Layout, first_images, found, is_images
from photon_triage.core.sources.links import OpenFiles
from photon_triage.core.sources.values import attribute, detector_geometry, distance, energy, first, pixel_size, text

_MOST_CHILDREN = 50
_FRAMES = ("data/data", "instrument/detector/data")


def recognise_nxtomo(files: OpenFiles) -> Layout | None:
    """A NeXus file with the definition NXtomo, or with an image_key, which no other has."""
    for place in _entries(files):
        entry = files.optional(place)
        key = files.optional("instrument/detector/image_key", entry)
        if text(files.optional("definition", entry)) != "NXtomo" and not isinstance(key, h5py.Dataset):
            continue
        dataset = first_images(files, tuple(f"{place}/{name}" for name in _FRAMES))
        if dataset is not None:
            detector = files.optional("instrument/detector", entry)
            beam = first(files, entry, ("instrument/beam/incident_energy", "beam/incident_energy"), energy)
            geometry = detector_geometry(files, detector, beam)
            return Layout("NXtomo", dataset, f"{place} is a tomography entry (NXtomo)", geometry=geometry)
    return None


def recognise_data_exchange(files: OpenFiles) -> Layout | None:
    """A Data Exchange file."""
    exchange = files.optional("exchange")
    if not isinstance(exchange, h5py.Group) or not is_images(files, "/exchange/data", found(files, "exchange/data")):
        return None
    flats, darks = (files.optional(name, exchange) for name in ("data_white", "data_dark"))
    others = [
        f"{len(node) if node.ndim > 2 else 1} {kind} in {name}"
        for node, kind, name in ((flats, "flats", "data_white"), (darks, "darks", "data_dark"))
        if isinstance(node, h5py.Dataset) and node.ndim
    ]
    notes = (f"{' and '.join(others)} are no frames",) if others else ()
    measured = "measurement/instrument"
    geometry = Geometry(
        first(files, files.main, (f"{measured}/monochromator/energy",), energy),
        first(files, files.main, (f"{measured}/detector/distance",), distance),
        first(
            files, files.main, (f"{measured}/detector/pixel_size_x", f"{measured}/detector/x_pixel_size"), pixel_size
        ),
    )
    return Layout("DataExchange", "/exchange/data", "the file has a group exchange", geometry=geometry, notes=notes)


def _entries(files: OpenFiles) -> Iterator[str]:
    """Entries and their subentries, such as entry1/tomo_entry."""
    for name in islice(files.main, _MOST_CHILDREN):
        entry = files.optional(name)
        if not isinstance(entry, h5py.Group):
            continue
        is_entry = attribute(entry, "NX_class") == "NXentry" or name.startswith("entry")
        if is_entry:
            for child in islice(entry, _MOST_CHILDREN):
                node = files.optional(child, entry)
                named = child.endswith("tomo_entry")
                if isinstance(node, h5py.Group) and (named or attribute(node, "NX_class") == "NXsubentry"):
                    yield f"{name}/{child}"
            yield name
