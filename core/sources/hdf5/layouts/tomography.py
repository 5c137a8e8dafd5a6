"""Tomography: NXtomo and Data Exchange. Flats and darks are no frames.

Sources: the NeXus definition NXtomo, and Data Exchange (De Carlo et al. 2014, J. Synchrotron Rad. 21, 1224).
"""

from __future__ import annotations

import h5py

from photon_triage.core.frames import Geometry
from photon_triage.core.sources.hdf5.geometry import detector_geometry, distance, energy, photon_energy, pixel_size
from photon_triage.core.sources.hdf5.layouts.layout import Layout, first_images, found, is_images
from photon_triage.core.sources.hdf5.layouts.nexus import beams, entries
from photon_triage.core.sources.hdf5.links import OpenFiles
from photon_triage.core.sources.hdf5.values import first, text

_FRAMES = ("data/data", "instrument/detector/data")


def recognise_nxtomo(files: OpenFiles) -> Layout | None:
    """A NeXus file with the definition NXtomo, or with an image_key, which no other has."""
    for place in entries(files):
        entry = files.optional(place)
        key = files.optional("instrument/detector/image_key", entry)
        if text(files.optional("definition", entry)) != "NXtomo" and not isinstance(key, h5py.Dataset):
            continue
        dataset = first_images(files, tuple(f"{place}/{name}" for name in _FRAMES))
        if dataset is not None:
            detector = files.optional("instrument/detector", entry)
            geometry = detector_geometry(files, detector, photon_energy(files, list(beams(files, entry))))
            return Layout("NXtomo", dataset, f"{place} is a tomography entry (NXtomo)", geometry=geometry)
    return None


def recognise_data_exchange(files: OpenFiles) -> Layout | None:
    """A Data Exchange file."""
    exchange = files.optional("exchange")
    if not isinstance(exchange, h5py.Group) or not is_images(files, "/exchange/data", found(files, "exchange/data")):
        return None
    measured = "measurement/instrument"
    geometry = Geometry(
        first(files, files.main, (f"{measured}/monochromator/energy",), energy),
        first(files, files.main, (f"{measured}/detector/distance",), distance),
        first(
            files, files.main, (f"{measured}/detector/pixel_size_x", f"{measured}/detector/x_pixel_size"), pixel_size
        ),
    )
    return Layout("DataExchange", "/exchange/data", "the file has a group exchange", geometry=geometry)
