"""CXI: Cheetah, psocake, condor, single particles, and the virtual files of EXtra-data.

Sources: CXI file format 1.6 (Maia 2012), the files of spi_processing, and those that EXtra-data writes (version 150).
"""

from __future__ import annotations

from typing import Any

import h5py

from photon_triage.core.frames import Geometry
from photon_triage.core.sources.layouts.layout import Layout, first_images, first_mask
from photon_triage.core.sources.links import OpenFiles
from photon_triage.core.sources.masks import ANY, CXI
from photon_triage.core.sources.values import detector_geometry, energy, first, number, numbers, text

_FRAMES = (
    "entry_1/data_1/data",
    "entry_1/instrument_1/detector_1/data",
    "entry_1/instrument_1/detector_1/detector_corrected/data",
)
_IMAGES = tuple(f"entry_1/image_{number}" for number in range(1, 10))
_MASKS = (
    "entry_1/data_1/mask",
    "entry_1/instrument_1/detector_1/mask",
    "entry_1/instrument_1/detector_1/mask_shared",
)
_ENERGIES = ("instrument_1/source_1/energy", "instrument_1/beam_1/incident_energy")


def recognise(files: OpenFiles) -> Layout | None:
    """A CXI file of detector frames."""
    entry = files.optional("entry_1")
    if not isinstance(entry, h5py.Group):
        return None
    run = text(files.optional("experiment_identifier", entry))
    detector = files.optional("instrument_1/detector_1", entry)
    found = first(files, entry, _ENERGIES, energy)
    if found is None:
        found = first(files, files.main, ("LCLS/photon_energy_eV",), number)
    dataset = first_images(files, _FRAMES)
    if dataset is not None:
        geometry = detector_geometry(files, detector, found)
        virtual = isinstance(files.optional("trainId", entry), h5py.Dataset)
        return Layout(
            "EXtra-data CXI" if virtual else "CXI",
            dataset,
            "the file has the European XFEL's trainId in a CXI entry" if virtual else "the file has a CXI entry",
            first_mask(files, _MASKS),
            ANY if virtual else CXI,
            geometry,
            run,
        )
    image = next((place for place in _IMAGES if first_images(files, (f"{place}/data",))), None)
    if image is None:
        return None
    geometry = detector_geometry(files, detector, found).over(_image_geometry(files, files.optional(image), found))
    mask = first_mask(files, (f"{image}/mask",))
    return Layout("SPI CXI", f"/{image}/data", "the file has images in a CXI entry", mask, CXI, geometry, run)


def _image_geometry(files: OpenFiles, image: Any, photon_energy_ev: float | None) -> Geometry:
    center = numbers(files.optional("image_center", image), 3)
    if center is None:
        return Geometry(photon_energy_ev)
    return Geometry(photon_energy_ev, beam_center_x=center[0], beam_center_y=center[1])
