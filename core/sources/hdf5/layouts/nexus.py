"""NeXus: NXmx and other definitions, DECTRIS's master files, ESRF's BLISS and LIMA, Lambda detectors, NXtomo.

Sources: the NeXus definitions NXmx, NXdata and NXdetector in their present and older forms (before 2014 a data set
said signal=1 of itself), and the HDF5 files of DECTRIS detectors.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import h5py

from photon_triage.core.common.errors import MissingError
from photon_triage.core.sources.common.names import calibration_name
from photon_triage.core.sources.hdf5.axis_view import datasets_in, marked
from photon_triage.core.sources.hdf5.geometry import detector_geometry, energy, photon_energy, wavelength_energy
from photon_triage.core.sources.hdf5.layouts.layout import (
    SMALLEST_SIDE,
    Layout,
    first_images,
    first_mask,
    found,
    is_images,
)
from photon_triage.core.sources.hdf5.layouts.look_alikes import counts_rows, look_alike
from photon_triage.core.sources.hdf5.links import (
    OpenFiles,
    attribute,
    first,
    names_in,
    number,
    numbered_members,
    text,
)
from photon_triage.core.sources.hdf5.masks import NXMX

_MOST_ENTRIES = 2000
_MOST_CHILDREN = 100
_MOST_UNMARKED = 60
_SMALLEST_DETECTOR = 8
_DEEPEST_DEFAULT = 8
_MASKS = ("pixel_mask", "detectorSpecific/pixel_mask", "detector_information/pixel_mask", "mask")
_STRICT = ("NXmx", "NXsas")
_CLASSES = ("NXdata", "NXinstrument", "NXdetector", "NXsubentry")
_BEAMS = ("instrument/beam", "beam", "sample/beam", "instrument/monochromator")
_BEAM_CLASSES = ("NXbeam", "NXmonochromator")
_TOMOGRAPHY_FRAMES = ("data/data", "instrument/detector/data")
_USUAL = ("data/data", "instrument/detector/data", "measurement/data")


def recognise(files: OpenFiles) -> Layout | None:
    """The first entry of a NeXus file that has images."""
    waited: MissingError | None = None
    for name in entries(files):
        entry = files.optional(name)
        try:
            taken = _frames(files, name, entry)
        except MissingError as error:  # another entry may have what this one waits for
            waited = waited or error
            continue
        if taken is not None:
            return _layout(files, name, entry, *taken)
    if waited is not None:
        raise waited
    return None


def _layout(files: OpenFiles, name: str, entry: Any, dataset: str, reason: str) -> Layout:
    definition = text(files.optional("definition", entry))
    detector_path = _detector(files, entry, files.optional(dataset))
    detector = files.optional(detector_path, entry)
    energy_ev = photon_energy(files, list(beams(files, entry)))
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


def entries(files: OpenFiles) -> Iterator[str]:
    """The default entry of a NeXus file, then the others that call themselves one or have a part of one."""
    default = attribute(files.main, "default").strip("/")
    seen = set()
    unmarked = 0
    for name in (default, "entry", "entry1", "entry_0000", *names_in(files.main, _MOST_ENTRIES)):
        if not name or name in seen:
            continue
        seen.add(name)
        node = files.optional(name)
        if not isinstance(node, h5py.Group):
            continue
        marked = attribute(node, "NX_class") in ("NXentry", "NXsubentry")
        if not (marked or name == "entry"):
            unmarked += 1
            if unmarked > _MOST_UNMARKED or not _has_part(files, node):
                continue
        yield name
        yield from (f"{name}/{child}" for child in _of_class(files, node, "NXsubentry"))


def _has_part(files: OpenFiles, group: Any) -> bool:
    """Whether a group without a class has what an entry has."""
    if isinstance(files.optional("measurement/data", group), h5py.Dataset):
        return True
    return attribute(group, "NX_class") == "" and any(
        attribute(files.optional(child, group), "NX_class") in _CLASSES for child in names_in(group, _MOST_UNMARKED)
    )


def _frames(files: OpenFiles, name: str, entry: Any) -> tuple[str, str] | None:
    """The path of an entry's frames, and why it is that.

    Where what the entry surely names leads to a file that is not there, that is waited for. Of its many detectors and
    groups one may be without its file: then the next has its turn, and the first is waited for if none has images.
    """
    strict = text(files.optional("definition", entry)) in _STRICT
    data = files.optional("data", entry)
    numbered = isinstance(data, h5py.Group) and bool(numbered_members(data))
    place, signal = _default(files, entry)
    if numbered and (signal.startswith("data_") or found(files, "data", data) is None):
        return f"/{name}/data", "its group of data sets data_000001, data_000002 ... is one stack"
    if place and (taken := _images(files, name, entry, f"{place}/{signal or 'data'}", strict)):
        return taken, "the file's default entry and signal lead to it"
    for usual in _USUAL:
        if taken := _images(files, name, entry, usual, strict):
            return taken, "an entry of a NeXus file has its frames there"
    waited: MissingError | None = None
    for place, why in _others(files, entry):
        try:
            taken = _images(files, name, entry, place, strict)
        except MissingError as error:
            waited = waited or error
            continue
        if taken:
            return taken, why
    if waited is not None:
        raise waited
    return None


def _default(files: OpenFiles, entry: Any) -> tuple[str, str]:
    """Where the chain of @default below an entry ends, and the signal there; "" where there is no chain."""
    place, group = "", entry
    for _ in range(_DEEPEST_DEFAULT):
        default = attribute(group, "default").strip("/")
        node = files.optional(default, group) if default else None
        if not isinstance(node, h5py.Group) or node == group:
            break
        place, group = f"{place}/{default}".strip("/"), node
    return place, signal_of(files, group) if place else ""


def _others(files: OpenFiles, entry: Any) -> Iterator[tuple[str, str]]:
    """Where else an entry may have its frames: a detector's data, the signal of a group, what was measured."""
    for instrument in _of_class(files, entry, "NXinstrument"):
        for detector in _of_class(files, files.optional(instrument, entry), "NXdetector"):
            place = f"{instrument}/{detector}"
            yield f"{place}/data", f"the data of the detector {detector}"
            signal = signal_of(files, files.optional(place, entry))
            if signal not in ("", "data"):
                yield f"{place}/{signal}", f"the signal of the detector {detector}"
    for group, signal in _signals(files, entry):
        yield f"{group}/{signal}", f"the signal of the group {group}"
    measured = files.optional("measurement", entry)
    if isinstance(measured, h5py.Group):
        for child in names_in(measured, _MOST_CHILDREN):
            if isinstance(files.optional(child, measured), h5py.Group):
                for name in ("data", "frames"):
                    yield f"measurement/{child}/{name}", "a measurement of the entry"
            else:
                yield f"measurement/{child}", "a measurement of the entry"
    group = files.optional("instrument", entry)
    for child in names_in(group, _MOST_CHILDREN):  # without classes
        yield f"instrument/{child}/data", f"the data of {child}"


def signal_of(files: OpenFiles, group: Any) -> str:
    """The name of the data set that a group is about, "" where it says none.

    Since 2014 the group names it; before, the data set had signal=1, as a number or a text.
    """
    told = attribute(group, "signal")
    if told:
        return told
    return next((name for name, node in datasets_in(files, group) if marked(node, "signal") == 1), "")


def _signals(files: OpenFiles, entry: Any) -> Iterator[tuple[str, str]]:
    """The groups of an entry that name a signal, or have one that says so itself, each with it; two levels deep."""
    for name, group in _groups(files, entry):
        signal = signal_of(files, group)
        if signal:
            yield name, signal
        elif attribute(group, "NX_class") not in ("NXdetector", "NXinstrument", "NXsubentry"):
            for child, inner in _groups(files, group):
                signal = signal_of(files, inner)
                if signal and attribute(inner, "NX_class") != "NXdetector":
                    yield f"{name}/{child}", signal


def _groups(files: OpenFiles, group: Any) -> Iterator[tuple[str, Any]]:
    for name in names_in(group, _MOST_CHILDREN):
        node = files.optional(name, group)
        if isinstance(node, h5py.Group):
            yield name, node


def _images(files: OpenFiles, name: str, entry: Any, place: str, strict: bool) -> str | None:
    node = found(files, place, entry)
    path = f"/{name}/{place}"
    surely = strict or "detector" in place or getattr(node, "ndim", 0) > 2
    if not is_images(files, path, node, _SMALLEST_DETECTOR if surely else SMALLEST_SIDE):
        return None
    if look_alike(files, path, node, list(_holders(files, entry, node))):
        return None
    if not strict and (calibration_name(files.state.path) or (not surely and counts_rows(files, node))):
        return None
    return path


def _holders(files: OpenFiles, entry: Any, node: Any) -> Iterator[tuple[Any, str]]:
    """The groups of an entry whose signal a data set is, each with its name there: they describe its axes."""
    for _, group in _groups(files, entry):
        if attribute(group, "NX_class") == "NXdata":
            signal = signal_of(files, group) or "data"
            if files.optional(signal, group) == node:
                yield group, signal


def beams(files: OpenFiles, entry: Any) -> Iterator[Any]:
    """The groups of an entry that tell of its photons: those at usual places, then all of such a class."""
    yield from (node for node in (files.optional(place, entry) for place in _BEAMS) if node is not None)
    for _, group in _groups(files, entry):
        kind = attribute(group, "NX_class")
        if kind in _BEAM_CLASSES:
            yield group
        elif kind in ("NXinstrument", "NXsample"):
            yield from (inner for _, inner in _groups(files, group) if attribute(inner, "NX_class") in _BEAM_CLASSES)


def _detector(files: OpenFiles, entry: Any, frames: Any) -> str:
    """The path below the entry of the detector's group: the one that holds the frames, if one does."""
    usual = "instrument/detector"
    named = [
        f"{instrument}/{detector}"
        for instrument in _of_class(files, entry, "NXinstrument")
        for detector in _of_class(files, files.optional(instrument, entry), "NXdetector")
    ]
    if len(named) > 1 and isinstance(frames, h5py.Dataset):
        for place in named:
            if files.optional(f"{place}/data", entry) == frames or files.optional(place, entry) == frames.parent:
                return place
    if isinstance(files.optional(usual, entry), h5py.Group):
        return usual
    if named:
        return named[0]
    group = files.optional("instrument", entry)
    if isinstance(group, h5py.Group):  # at the ESRF, without classes
        for child in names_in(group, _MOST_CHILDREN):
            if "jungfrau" in child:
                return f"instrument/{child}"
    return usual


def _of_class(files: OpenFiles, group: Any, nexus_class: str) -> Iterator[str]:
    for name in names_in(group, _MOST_CHILDREN):
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


def recognise_nxtomo(files: OpenFiles) -> Layout | None:
    """A NeXus file with the definition NXtomo, or with an image_key, which no other has."""
    for place in entries(files):
        entry = files.optional(place)
        key = files.optional("instrument/detector/image_key", entry)
        if text(files.optional("definition", entry)) != "NXtomo" and not isinstance(key, h5py.Dataset):
            continue
        dataset = first_images(files, tuple(f"{place}/{name}" for name in _TOMOGRAPHY_FRAMES))
        if dataset is not None:
            detector = files.optional("instrument/detector", entry)
            geometry = detector_geometry(files, detector, photon_energy(files, list(beams(files, entry))))
            return Layout("NXtomo", dataset, f"{place} is a tomography entry (NXtomo)", geometry=geometry)
    return None
