"""Where frames live in the files of each facility.

Sources: CXI file format 1.6 (Maia 2012), the NeXus definitions NXmx and NXdata,
Data Exchange (De Carlo et al. 2014), and the HDF5 files of DECTRIS detectors.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import h5py

from photon_triage.core.errors import NotYetError, SourceError
from photon_triage.core.frames import Geometry
from photon_triage.core.sources.links import OpenFiles
from photon_triage.core.sources.opening import waited_for
from photon_triage.core.sources.values import (
    attribute,
    detector_geometry,
    energy,
    first,
    number,
    text,
    wavelength_energy,
)

SMALLEST_SIDE = 32
"""Rows and columns that a data set must have to be taken for images where no convention names it."""

_MOST_OBJECTS = 20_000
_CXI_FRAMES = (
    "entry_1/data_1/data",
    "entry_1/instrument_1/detector_1/data",
    "entry_1/instrument_1/detector_1/detector_corrected/data",
    "entry_1/image_1/data",
)
_CXI_MASKS = (
    "entry_1/data_1/mask",
    "entry_1/instrument_1/detector_1/mask",
    "entry_1/instrument_1/detector_1/mask_shared",
    "entry_1/image_1/mask",
)
_NEXUS_FRAMES = ("data/data", "instrument/detector/data", "measurement/data")
_NEXUS_MASKS = ("pixel_mask", "detectorSpecific/pixel_mask", "mask")
_BEAM_ENERGIES = ("instrument/beam/incident_energy", "instrument/monochromator/energy", "instrument/beam/energy")
_BEAM_WAVELENGTHS = (
    "instrument/beam/incident_wavelength",
    "sample/beam/incident_wavelength",
    "instrument/monochromator/wavelength",
)
_END_MARKERS = ("entry_1/end_time", "entry/end_time")


UNKNOWN = Geometry()


@dataclass(frozen=True, slots=True)
class Layout:
    """A recognised convention: the data set (or group of numbered ones), mask, geometry, run, expected frames."""

    name: str
    dataset: str
    mask: str | None = None
    geometry: Geometry = UNKNOWN
    run: str = ""
    expected: int | None = None


def ended(files: OpenFiles) -> bool:
    """Whether the file says that its run is over.

    Ask this before anything else is read: what is opened afterwards is then at least as new as the answer.
    """
    return any(text(files.optional(place)) for place in _END_MARKERS)


def simulated(files: OpenFiles) -> bool:
    """Whether the file says that it was simulated."""
    try:
        return bool(files.main.attrs["simulated"])
    except (KeyError, OSError, RuntimeError, ValueError, TypeError):
        return False


def find_layout(files: OpenFiles) -> Layout:
    """The first convention that the file follows; NotYetError or SourceError where there are no frames in it."""
    for recognise in (_cxi, _nexus, _data_exchange, _largest):
        layout = recognise(files)
        if layout is not None:
            return layout
    raise waited_for(
        files.state.path,
        f"it holds no numeric data set whose last two axes are {SMALLEST_SIDE} or more",
        files.state.age,
    )


def named_layout(files: OpenFiles, dataset: str) -> Layout:
    """The layout of a data set that the caller names, with the mask and geometry of the file's convention."""
    for recognise in (_cxi, _nexus, _data_exchange):
        try:
            layout = recognise(files)
        except SourceError:
            continue
        if layout is not None:
            return Layout(layout.name, dataset, layout.mask, layout.geometry, layout.run, layout.expected)
    return Layout("named data set", dataset)


def numbered_members(group: Any) -> list[str]:
    """The names data_000001, data_000002 ... of a group, in order."""
    names = (name for name in islice(group, _MOST_OBJECTS) if name.startswith("data_") and name[5:].isdigit())
    return sorted(names, key=lambda name: int(name[5:]))


def is_images(node: Any, smallest: int = 1) -> bool:
    """Whether an object is a numeric data set of two to four axes with images in its last two."""
    if not isinstance(node, h5py.Dataset):
        return False
    if node.id.get_create_plist().get_external_count():
        return False
    return node.dtype.kind in "iuf" and 2 <= node.ndim <= 4 and min(node.shape[-2:]) >= smallest


def _cxi(files: OpenFiles) -> Layout | None:
    entry = files.optional("entry_1")
    if not isinstance(entry, h5py.Group):
        return None
    dataset = _existing(files, _CXI_FRAMES)
    if dataset is None:
        return None
    detector = files.optional("instrument_1/detector_1", entry)
    found = first(files, entry, ("instrument_1/source_1/energy",), energy)
    if found is None:
        found = first(files, files.main, ("LCLS/photon_energy_eV",), number)
    geometry = detector_geometry(files, detector, found)
    center = files.optional("image_1/image_center", entry)
    if geometry.beam_center_x is None and isinstance(center, h5py.Dataset) and center.shape == (3,):
        x, y = (float(value) for value in center[:2])
        geometry = geometry.over(Geometry(beam_center_x=x, beam_center_y=y))
    run = text(files.optional("experiment_identifier", entry))
    return Layout("CXI", dataset, _mask(files, _CXI_MASKS), geometry, run)


def _nexus(files: OpenFiles) -> Layout | None:
    name, entry = _nexus_entry(files)
    if entry is None:
        return None
    dataset = _nexus_frames(files, name, entry)
    if dataset is None:
        return None
    definition = text(files.optional("definition", entry))
    detector_path = _nexus_detector(files, entry)
    detector = files.optional(detector_path, entry)
    found = first(files, entry, _BEAM_ENERGIES, energy)
    if found is None:
        found = first(files, entry, _BEAM_WAVELENGTHS, wavelength_energy)
    if found is None:
        found = first(files, detector, ("detectorSpecific/photon_energy",), energy) if detector else None
    members = isinstance(files.optional(dataset), h5py.Group)
    return Layout(
        "NXmx" if definition == "NXmx" or members else "NeXus",
        dataset,
        _mask(files, tuple(f"{name}/{detector_path}/{mask}" for mask in _NEXUS_MASKS)),
        detector_geometry(files, detector, found),
        "",
        _expected(files, detector),
    )


def _nexus_entry(files: OpenFiles) -> tuple[str, Any]:
    """The default entry of a NeXus file, else the first that calls itself one."""
    default = attribute(files.main, "default")
    for name in (default, "entry", "entry1", "entry_0000", *islice(files.main, 50)):
        node = files.optional(name) if name else None
        if isinstance(node, h5py.Group) and (name == "entry" or attribute(node, "NX_class") == "NXentry"):
            return name, node
    return "", None


def _nexus_frames(files: OpenFiles, name: str, entry: Any) -> str | None:
    places = []
    default = attribute(entry, "default")
    group = files.optional(default, entry) if default else None
    if isinstance(group, h5py.Group):
        places.append(f"{default}/{attribute(group, 'signal') or 'data'}")
    for place in (*places, *_NEXUS_FRAMES):
        node = _found(files, place, entry)
        if is_images(node, smallest=8):
            return f"/{name}/{place}"
    data = files.optional("data", entry)
    if isinstance(data, h5py.Group) and numbered_members(data):
        return f"/{name}/data"
    return None


def _nexus_detector(files: OpenFiles, entry: Any) -> str:
    """The path below the entry of the detector's group."""
    usual = "instrument/detector"
    if isinstance(files.optional(usual, entry), h5py.Group):
        return usual
    for instrument in _of_class(files, entry, "NXinstrument"):
        for detector in _of_class(files, files.optional(instrument, entry), "NXdetector"):
            return f"{instrument}/{detector}"
    return usual


def _of_class(files: OpenFiles, group: Any, nexus_class: str) -> Iterator[str]:
    for name in islice(group, 50):
        node = files.optional(name, group)
        if isinstance(node, h5py.Group) and attribute(node, "NX_class") == nexus_class:
            yield name


def _expected(files: OpenFiles, detector: Any) -> int | None:
    """How many frames the detector was armed for (DECTRIS: nimages times ntrigger)."""
    if detector is None:
        return None
    images = first(files, detector, ("detectorSpecific/nimages",), number)
    triggers = first(files, detector, ("detectorSpecific/ntrigger",), number)
    return int(images * (triggers or 1)) if images and images > 0 else None


def _data_exchange(files: OpenFiles) -> Layout | None:
    if is_images(files.optional("exchange/data")):
        return Layout("DataExchange", "/exchange/data")
    return None


def _largest(files: OpenFiles) -> Layout | None:
    best = ("", 0)
    seen = 0

    def visit(name: str, node: Any) -> bool | None:
        nonlocal best, seen
        seen += 1
        if is_images(node, SMALLEST_SIDE) and node.size > best[1]:
            best = (name, node.size)
        return True if seen > _MOST_OBJECTS else None

    files.main.visititems(visit)
    return Layout("largest data set", f"/{best[0]}") if best[1] else None


def _existing(files: OpenFiles, places: tuple[str, ...]) -> str | None:
    """The first of the places with images; a link to a file that is not there yet is waited for, not passed over."""
    for place in places:
        if is_images(_found(files, place, None)):
            return f"/{place}"
    return None


def _found(files: OpenFiles, place: str, start: Any) -> Any:
    try:
        return files.find(place, start)
    except NotYetError:
        raise
    except (OSError, RuntimeError, KeyError, ValueError):
        return None


def _mask(files: OpenFiles, places: tuple[str, ...]) -> str | None:
    for place in places:
        node = files.optional(place)
        if isinstance(node, h5py.Dataset) and node.dtype.kind in "iub" and 2 <= node.ndim <= 4:
            return f"/{place}"
    return None
