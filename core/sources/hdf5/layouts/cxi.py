"""CXI: Cheetah, psocake, condor, single particles, and the virtual files of EXtra-data.

Sources: CXI file format 1.6 (Maia 2012), the files of spi_processing, and those that EXtra-data writes (version 150).
"""

from __future__ import annotations

from typing import Any

import h5py

from photon_triage.core.frames import Geometry
from photon_triage.core.sources.hdf5.geometry import detector_geometry, photon_energy
from photon_triage.core.sources.hdf5.layouts.layout import Layout, first_images, first_mask
from photon_triage.core.sources.hdf5.links import OpenFiles, first, number, numbers, text, text_of
from photon_triage.core.sources.hdf5.masks import ANY, CXI

_NUMBERS = range(1, 10)
_DATA = ("entry_1/data_{}/data", "entry_1/instrument_1/detector_{}/data")
_CORRECTED = "entry_1/instrument_1/detector_{}/detector_corrected/data"
_FRAMES = tuple(place.format(number) for number in _NUMBERS for place in (*_DATA, _CORRECTED))
_IMAGES = tuple(f"entry_1/image_{number}" for number in _NUMBERS)
_BEAMS = ("source_1", "instrument_1/source_1", "instrument_1/beam_1", "instrument_1/monochromator_1", "beam_1")
_DETECTORS = tuple(f"instrument_1/detector_{number}" for number in _NUMBERS)


def recognise(files: OpenFiles) -> Layout | None:
    """A CXI file of detector frames."""
    entry = files.optional("entry_1")
    if not isinstance(entry, h5py.Group):
        return None
    dataset = first_images(files, _FRAMES)
    image = None
    if dataset is None:
        image = next((place for place in _IMAGES if first_images(files, (f"{place}/data",))), None)
        if image is None:
            return None
        dataset = f"/{image}/data"
    holder = files.optional(dataset.rpartition("/")[0])
    beams = [files.optional(place, group) for group in (holder, entry) for place in _BEAMS]
    energy_ev = photon_energy(files, [beam for beam in beams if isinstance(beam, h5py.Group)])
    if energy_ev is None:
        energy_ev = first(files, files.main, ("LCLS/photon_energy_eV",), number)
    geometry = detector_geometry(files, holder, energy_ev)
    detector_path = _detector(files, entry, holder, files.optional(dataset))
    geometry = geometry.over(detector_geometry(files, files.optional(detector_path), energy_ev))
    run = text(files.optional("experiment_identifier", entry))
    masks: tuple[str, ...] = (f"{image}/mask",)
    if image is None:
        beside = f"{dataset.strip('/').rpartition('/')[0]}/mask"
        masks = (beside, "entry_1/data_1/mask", f"{detector_path}/mask", f"{detector_path}/mask_shared")
    if image is not None:
        geometry = geometry.over(_image_geometry(files, holder, energy_ev))
        reason = "the file has images in a CXI entry"
        return Layout("SPI CXI", dataset, reason, first_mask(files, masks), CXI, geometry, run)
    virtual = isinstance(files.optional("trainId", entry), h5py.Dataset)
    return Layout(
        "EXtra-data CXI" if virtual else "CXI",
        dataset,
        "the file has the European XFEL's trainId in a CXI entry" if virtual else "the file has a CXI entry",
        first_mask(files, masks),
        ANY if virtual else CXI,
        geometry,
        run,
    )


def _detector(files: OpenFiles, entry: Any, holder: Any, frames: Any) -> str:
    """The path of the detector of the frames: what their group leads to, what holds them, else the first."""
    if isinstance(holder, h5py.Group) and isinstance(files.optional("detector_1", holder), h5py.Group):
        return f"{text_of(holder.name).strip('/')}/detector_1"
    for place in _DETECTORS:
        for name in ("data", "detector_corrected/data"):
            if frames is not None and files.optional(f"{place}/{name}", entry) == frames:
                return f"entry_1/{place}"
    return f"entry_1/{_DETECTORS[0]}"


def _image_geometry(files: OpenFiles, image: Any, photon_energy_ev: float | None) -> Geometry:
    center = numbers(files, files.optional("image_center", image), 3)
    if center is None:
        return Geometry(photon_energy_ev)
    return Geometry(photon_energy_ev, beam_center_x=center[0], beam_center_y=center[1])
