"""NeXus: NXmx and other definitions, DECTRIS's master files, ESRF's BLISS and LIMA, Lambda detectors.

Sources: the NeXus definitions NXmx, NXdata and NXdetector, and the HDF5 files of DECTRIS detectors.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

import h5py

from photon_triage.core.errors import MissingError, SourceError
from photon_triage.core.sources.layouts.layout import SMALLEST_SIDE, Layout, first_mask, found, is_images
from photon_triage.core.sources.layouts.look_alikes import look_alike
from photon_triage.core.sources.links import OpenFiles
from photon_triage.core.sources.masks import NXMX
from photon_triage.core.sources.members import numbered_members
from photon_triage.core.sources.values import (
    attribute,
    detector_geometry,
    energy,
    first,
    number,
    text,
    wavelength_energy,
)

_MOST_CHILDREN = 60
_MOST_TOLD = 5
_SMALLEST_DETECTOR = 8
_MASKS = ("pixel_mask", "detectorSpecific/pixel_mask", "detector_information/pixel_mask", "mask")
_ENERGIES = ("instrument/beam/incident_energy", "instrument/monochromator/energy", "instrument/beam/energy")
_WAVELENGTHS = (
    "instrument/beam/incident_wavelength",
    "sample/beam/incident_wavelength",
    "instrument/monochromator/wavelength",
)


def recognise(files: OpenFiles) -> Layout | None:
    """The first entry of a NeXus file that has images."""
    waited: MissingError | None = None
    for name in _entries(files):
        entry = files.optional(name)
        try:
            taken = _frames(files, name, entry)
        except MissingError as error:  # another entry may have what this one waits for
            waited = waited or error
            continue
        if taken is not None:
            return replace(_layout(files, name, entry, *taken), notes=_others_with_frames(files, name))
    if waited is not None:
        raise waited
    return None


def _layout(files: OpenFiles, name: str, entry: Any, dataset: str, reason: str) -> Layout:
    definition = text(files.optional("definition", entry))
    detector_path = _detector(files, entry)
    detector = files.optional(detector_path, entry)
    energy_ev = first(files, entry, _ENERGIES, energy)
    if energy_ev is None:
        energy_ev = first(files, entry, _WAVELENGTHS, wavelength_energy)
    if energy_ev is None and detector is not None:
        energy_ev = first(files, detector, ("detectorSpecific/photon_energy",), energy)
        if energy_ev is None:
            energy_ev = first(files, detector, ("beam/incident_wavelength",), wavelength_energy)
    described = files.optional("detector_information", detector)
    geometry = detector_geometry(files, detector, energy_ev)
    if isinstance(described, h5py.Group):
        geometry = geometry.over(detector_geometry(files, described, energy_ev))
    return Layout(
        _name(files, definition, dataset, detector, detector_path),
        dataset,
        reason,
        first_mask(files, tuple(f"{name}/{detector_path}/{mask}" for mask in _MASKS)),
        NXMX,
        geometry,
        expected=_expected(files, detector),
    )


def _name(files: OpenFiles, definition: str, dataset: str, detector: Any, detector_path: str) -> str:
    if definition == "NXmx" or isinstance(files.optional(dataset), h5py.Group):
        return "NXmx"
    if "lambda" in text(files.optional("description", detector)).lower():
        return "Lambda"
    creator = f"{attribute(files.main, 'creator')} {detector_path}".lower()
    return "ESRF BLISS" if any(word in creator for word in ("bliss", "lima", "jungfrau")) else "NeXus"


def _others_with_frames(files: OpenFiles, taken: str) -> tuple[str, ...]:
    """A note on the other entries that have frames, such as the further scans of a file."""
    told: list[str] = []
    for name in _entries(files):
        if name != taken and len(told) < _MOST_TOLD:
            try:
                found = _frames(files, name, files.optional(name))
            except SourceError:
                continue
            told += [] if found is None else [found[0]]
    return (f"other entries have frames too, which can be named: {', '.join(told)}",) if told else ()


def _entries(files: OpenFiles) -> Iterator[str]:
    """The default entry of a NeXus file, then the others that call themselves one."""
    default = attribute(files.main, "default").strip("/")
    seen = set()
    for name in (default, "entry", "entry1", "entry_0000", *islice(files.main, _MOST_CHILDREN)):
        if not name or name in seen:
            continue
        seen.add(name)
        node = files.optional(name)
        if not isinstance(node, h5py.Group):
            continue
        marked = attribute(node, "NX_class") in ("NXentry", "NXsubentry")
        if marked or name == "entry" or isinstance(files.optional("measurement/data", node), h5py.Dataset):
            yield name


def _frames(files: OpenFiles, name: str, entry: Any) -> tuple[str, str] | None:
    """The path of an entry's frames, and why it is that."""
    strict = text(files.optional("definition", entry)) in ("NXmx", "NXsas")
    data = files.optional("data", entry)
    numbered = isinstance(data, h5py.Group) and bool(numbered_members(data))
    default = attribute(entry, "default")
    group = files.optional(default, entry) if default else None
    signal = attribute(group, "signal") if isinstance(group, h5py.Group) else ""
    if numbered and (signal.startswith("data_") or found(files, "data", data) is None):
        return f"/{name}/data", "its group of data sets data_000001, data_000002 ... is one stack"
    if isinstance(group, h5py.Group) and (
        taken := _images(files, name, entry, f"{default}/{signal or 'data'}", strict)
    ):
        return taken, "the file's default entry and signal lead to it"
    for place in ("data/data", "instrument/detector/data", "measurement/data"):
        if taken := _images(files, name, entry, place, strict):
            return taken, "an entry of a NeXus file has its frames there"
    for place, why in _others(files, entry):
        if taken := _images(files, name, entry, place, strict):
            return taken, why
    return None


def _others(files: OpenFiles, entry: Any) -> Iterator[tuple[str, str]]:
    """Where else an entry may have its frames: a detector's data, the signal of a group, what was measured."""
    for instrument in _of_class(files, entry, "NXinstrument"):
        for detector in _of_class(files, files.optional(instrument, entry), "NXdetector"):
            yield f"{instrument}/{detector}/data", f"the data of the detector {detector}"
    for group in _of_class(files, entry, "NXdata"):
        signal = attribute(files.optional(group, entry), "signal")
        if signal:
            yield f"{group}/{signal}", f"the signal of the group {group}"
    measured = files.optional("measurement", entry)
    if isinstance(measured, h5py.Group):
        for child in islice(measured, _MOST_CHILDREN):
            if isinstance(files.optional(child, measured), h5py.Group):
                for name in ("data", "frames"):
                    yield f"measurement/{child}/{name}", "a measurement of the entry"
            else:
                yield f"measurement/{child}", "a measurement of the entry"
    group = files.optional("instrument", entry)
    for child in islice(group, _MOST_CHILDREN) if isinstance(group, h5py.Group) else ():  # without classes
        yield f"instrument/{child}/data", f"the data of {child}"


def _images(files: OpenFiles, name: str, entry: Any, place: str, strict: bool) -> str | None:
    node = found(files, place, entry)
    path = f"/{name}/{place}"
    surely = strict or "detector" in place or getattr(node, "ndim", 0) > 2
    if not is_images(files, path, node, _SMALLEST_DETECTOR if surely else SMALLEST_SIDE):
        return None
    return None if look_alike(path, node) else path


def _detector(files: OpenFiles, entry: Any) -> str:
    """The path below the entry of the detector's group."""
    usual = "instrument/detector"
    if isinstance(files.optional(usual, entry), h5py.Group):
        return usual
    for instrument in _of_class(files, entry, "NXinstrument"):
        for detector in _of_class(files, files.optional(instrument, entry), "NXdetector"):
            return f"{instrument}/{detector}"
    group = files.optional("instrument", entry)
    if isinstance(group, h5py.Group):  # at the ESRF, without classes
        for child in islice(group, _MOST_CHILDREN):
            if "jungfrau" in child:
                return f"instrument/{child}"
    return usual


def _of_class(files: OpenFiles, group: Any, nexus_class: str) -> Iterator[str]:
    for name in islice(group, _MOST_CHILDREN) if isinstance(group, h5py.Group) else ():
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
