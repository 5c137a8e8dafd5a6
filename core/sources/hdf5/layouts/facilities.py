"""The European XFEL, SACLA, PAL-XFEL, SwissFEL, Data Exchange (tomography), and the files of older programs.

Sources: the data format of the European XFEL (0.5 to 1.3) and the files that EXtra-data's tests build; the
files that DataConvert3 and Cheetah write at SACLA; the readers of the PAL-XFEL's and Cheetah's files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import h5py

from photon_triage.core.frames import Geometry
from photon_triage.core.sources.hdf5.geometry import (
    detector_geometry,
    distance,
    energy,
    length,
    pixel_size,
    wavelength_energy,
)
from photon_triage.core.sources.hdf5.layouts.layout import Layout, first_images, first_mask, found, is_images
from photon_triage.core.sources.hdf5.layouts.look_alikes import is_named_as_mask
from photon_triage.core.sources.hdf5.links import OpenFiles, first, names_in, number, tagged_members

_MOST_CHILDREN = 1000
_TAG = re.compile(r"tag-\d+$")
_SACLA_RUN = re.compile(r"run_\d+$")
_PAL_RUN = re.compile(r"R\d+$")
_EUXFEL_PLACES = ("image/data", "data/adc", "data/image/data", "data/image/pixels")
"""Below a source's output channel: XTDF detectors (AGIPD, DSSC, LPD), JUNGFRAU and Gotthard, ePix and cameras."""

_EUXFEL_MODULE = re.compile(r"/(\d+)CH\d+:|/JNGFR(\d+):")


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


def recognise_sacla_tags(files: OpenFiles) -> Layout | None:
    """Cheetah's files at SACLA: a group of the root for each frame, tag-<number>."""
    if not any(_TAG.match(name) for name in names_in(files.main, _MOST_CHILDREN)):
        return None
    tags = tagged_members(files, "/%/data")
    if not tags or not first_images(files, (tags[0].strip("/"),)):
        return None
    told = files.optional("metadata")
    pixel = first(files, told, ("pixelsize_in_um", "pixelsize_in_micro_meter"), number) if told else None
    distance = first(files, told, ("distance_in_mm",), number) if told else None
    geometry = Geometry(
        first(files, files.main, (f"{tags[0].rpartition('/')[0]}/photon_energy_ev",), number),
        distance / 1e3 if distance else None,
        pixel / 1e6 if pixel else None,
    )
    mask = first_mask(files, ("metadata/pixelmask",))
    return Layout("SACLA", "/%/data", "every group tag-<number> holds a frame", mask, geometry=geometry)


def recognise_sacla_run(files: OpenFiles) -> Layout | None:
    """DataConvert's files at SACLA: a group for each frame below run_<number>/detector_2d_*."""
    for run in names_in(files.main, _MOST_CHILDREN):
        group = files.optional(run)
        if not _SACLA_RUN.match(run) or not isinstance(group, h5py.Group):
            continue
        for detector in names_in(group, _MOST_CHILDREN):
            if not detector.startswith("detector_2d_"):
                continue
            pattern = f"/{run}/{detector}/%/detector_data"
            tags = tagged_members(files, pattern)
            if tags and first_images(files, (tags[0].strip("/"),)):
                pixel = number(files.optional(f"{run}/{detector}/detector_info/pixel_size_in_micro_meter"))
                energy_ev = number(files.optional(f"{run}/run_info/sacla_config/photon_energy_in_eV"))
                geometry = Geometry(energy_ev, None, pixel / 1e6 if pixel else None)
                why = f"every group tag_<number> of {detector} holds a frame"
                return Layout("SACLA", pattern, why, geometry=geometry, run=run)
    return None


def recognise_pal(files: OpenFiles) -> Layout | None:
    """PAL-XFEL: a run's group with scan_dat."""
    for run in names_in(files.main, _MOST_CHILDREN):
        if not _PAL_RUN.match(run):
            continue
        dataset = first_images(files, (f"{run}/scan_dat/raymx_data",))
        if dataset is not None:
            start = files.optional(run)
            energy_ev = first(files, start, ("scan_dat/photon_energy",), energy)
            if energy_ev is None:
                energy_ev = first(files, start, ("scan_dat/photon_wavelength",), wavelength_energy)
            distance = first(files, start, ("header/detector_0_distance",), lambda node: length(node, "mm"))
            geometry = Geometry(energy_ev, distance)
            return Layout("PAL-XFEL", dataset, f"{run}/scan_dat holds the Rayonix's frames", geometry=geometry, run=run)
    return None


def recognise_old_cheetah(files: OpenFiles) -> Layout | None:
    """Files of Cheetah before CXI, one frame or a stack each, and of programs that followed it."""
    dataset = first_images(files, ("data/data", "data/rawdata0", "data/rawdata"))
    if dataset is None or is_named_as_mask(files.state.path):
        return None
    energy_ev = first(files, files.main, ("LCLS/photon_energy_eV",), number)
    geometry = detector_geometry(files, files.optional("data"), energy_ev)
    mask = first_mask(files, ("data/mask", "mask/mask"))
    return Layout("old Cheetah", dataset, "the data set is where Cheetah wrote it before CXI", mask, geometry=geometry)


def recognise_swissfel(files: OpenFiles) -> Layout | None:
    """SwissFEL's data acquisition: data/<detector>/data, with what is known of each pulse beside it.

    Source: the files that jungfrau_utils reads.
    """
    group = files.optional("data")
    for detector in names_in(group, _MOST_CHILDREN):
        if not isinstance(files.optional(f"{detector}/pulse_id", group), h5py.Dataset):
            continue
        dataset = first_images(files, (f"data/{detector}/data",))
        if dataset is None:
            continue
        mask = first_mask(files, (f"data/{detector}/pixel_mask", f"data/{detector}/meta/pixel_mask"))
        return Layout("SwissFEL", dataset, f"the frames of {detector} with their pulse_id", mask)
    return None


def recognise_photon_converter(files: OpenFiles) -> Layout | None:
    """Counted photons: photonConverter/<detector>/photonCount."""
    group = files.optional("photonConverter")
    for detector in names_in(group, _MOST_CHILDREN):
        dataset = first_images(files, (f"photonConverter/{detector}/photonCount",))
        if dataset is not None:
            return Layout("photonConverter", dataset, f"the photons counted on {detector}")
    return None


def recognise_euxfel(files: OpenFiles) -> Layout | None:
    """A file of the European XFEL with a detector's images."""
    if not all(isinstance(files.optional(name), h5py.Group) for name in ("METADATA", "INDEX", "INSTRUMENT")):
        return None
    sources = list(_output_channels(files))
    for place in _EUXFEL_PLACES:
        dataset = first_images(files, tuple(f"{source}/{place}" for source in sources), smallest=32)
        if dataset is not None:
            return _euxfel_layout(files, dataset)
    return None


def _euxfel_layout(files: OpenFiles, dataset: str) -> Layout:
    run = first(files, files.main, ("METADATA/runNumber",), number)
    module = _EUXFEL_MODULE.search(dataset)
    told = f"the file of module {module[1] or module[2]}" if module else "a file"
    mask = first_mask(files, (f"{dataset.strip('/').rpartition('/')[0]}/mask",))
    return Layout(
        "EuXFEL",
        dataset,
        f"{told} of a European XFEL run",
        mask,
        run="" if run is None else f"r{int(run):04}",
    )


def _output_channels(files: OpenFiles) -> Iterator[str]:
    """The output channels below INSTRUMENT: domain, type, member:channel; old device names are shorter."""
    queue: list[tuple[str, Any, int]] = [("INSTRUMENT", files.optional("INSTRUMENT"), 0)]
    while queue:
        path, group, depth = queue.pop(0)
        for name in sorted(names_in(group, _MOST_CHILDREN)):
            if ":" in name:
                yield f"{path}/{name}"
            elif depth < 3 and isinstance(child := files.optional(name, group), h5py.Group):
                queue.append((f"{path}/{name}", child, depth + 1))
