"""The geometry that an HDF5 file tells: lengths in m, energies in eV, the beam centre in pixels."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np

from photon_triage.core.frames import PLANCK_EV_M, Geometry
from photon_triage.core.sources.common.text_headers import JOULE_PER_EV, electronvolts, is_pixels, metres
from photon_triage.core.sources.hdf5.links import (
    OpenFiles,
    UnclearError,
    attribute,
    first,
    names_in,
    number,
    numbers,
    text,
    text_of,
    unit_of,
)

_MOST_CHILDREN = 100
_LONGEST_CHAIN = 10
_TRANSLATIONS = ("transformations", "detector_z", "../detector_z", "geometry/translation")
_CXI_TRANSLATIONS = ("geometry_1/translation", "geometry/translation")
_ALONG_BEAM = 0.99
_PIXELS_X = ("x_pixel_size", "pixel_size_x", "fast_pixel_size", "pixel_size")
_PIXELS_Y = ("y_pixel_size", "pixel_size_y", "slow_pixel_size", "pixel_size")
_ENERGIES = ("incident_energy", "energy", "photon_energy", "incident_photon_energy")
_WAVELENGTHS = ("incident_wavelength", "wavelength")


def length(node: Any, unit: str = "m") -> float | None:
    """A positive length in m; `unit` is meant where the file names none. UnclearError for an unknown unit."""
    value = number(node)
    if value is None or value <= 0:
        return None
    told = unit_of(node) or unit
    factor = metres(told)
    if factor is None:
        raise UnclearError(f"{told} is no known unit of length")
    return value * factor


def pixel_size(node: Any) -> float | None:
    """The side of a pixel in m; without a unit, a number from 1 is in µm and one from 0.001 in mm."""
    value = number(node)
    return length(node, "um" if value and value >= 1 else "mm" if value and value >= 1e-3 else "m")


def distance(node: Any) -> float | None:
    """The detector's distance in m; without a unit, a number from 50 is in mm."""
    value = number(node)
    return length(node, "mm" if value and value >= 50 else "m")


def energy(node: Any) -> float | None:
    """A photon energy in eV; UnclearError for an unknown unit.

    CXI stores joules (CXI file format 1.6, source_1/energy), with or without saying so: below 1e-10 it is joules.
    Without a unit, a number below 150 is in keV: no facility of these formats has photons of so few eV.
    """
    value = number(node)
    if value is None or value <= 0:
        return None
    unit = unit_of(node)
    if not unit:
        return value / JOULE_PER_EV if value < 1e-10 else value * (1e3 if value < 150 else 1.0)
    factor = electronvolts(unit)
    if factor is None:
        raise UnclearError(f"{unit} is no known unit of energy")
    return value / JOULE_PER_EV if value < 1e-10 and factor == 1 else value * factor


def wavelength_energy(node: Any) -> float | None:
    """The photon energy in eV of a wavelength data set, in angstrom unless it says otherwise or is far below one."""
    value = number(node)
    metres_ = length(node, "m" if value and value < 1e-6 else "angstrom")
    return PLANCK_EV_M / metres_ if metres_ else None


def photon_energy(files: OpenFiles, groups: list[Any]) -> float | None:
    """The photon energy in eV that the first of some groups (beams, monochromators, sources) tells."""
    for group in groups:
        found = first(files, group, _ENERGIES, energy) or first(files, group, _WAVELENGTHS, wavelength_energy)
        if found is not None:
            return found
    return None


def detector_geometry(files: OpenFiles, detector: Any, photon_energy_ev: float | None) -> Geometry:
    """The geometry of a CXI or NeXus detector group; lengths in m, the beam centre in pixels."""
    if not isinstance(detector, h5py.Group):
        return Geometry(photon_energy_ev)
    across = first(files, detector, _PIXELS_X, pixel_size) or _of_module(files, detector, "fast_pixel_direction")
    down = first(files, detector, _PIXELS_Y, pixel_size) or _of_module(files, detector, "slow_pixel_direction")
    pixel = across or down
    center_x, center_y = (
        first(files, detector, (f"beam_center_{axis}", f"beam_centre_{axis}"), _beam_center(side))
        for axis, side in (("x", across or down), ("y", down or across))
    )
    if center_x is None and pixel:
        for name in ("corner_position", "corner_positions"):
            corner = numbers(files, files.optional(name, detector), 3)
            if corner:
                center_x, center_y = abs(corner[0]) / pixel, abs(corner[1]) / pixel
    away = first(files, detector, ("distance", "detector_distance"), distance) or _translation(files, detector)
    return Geometry(photon_energy_ev, away, pixel, center_x, center_y)


def _beam_center(pixel: float | None) -> Any:
    """Reads a beam centre in pixels: in pixels in nearly every file, and a length where its unit says so."""

    def read(node: Any) -> float | None:
        value = number(node)
        if value is None or is_pixels(unit := unit_of(node)):
            return value
        factor = metres(unit)
        if factor is None:
            raise UnclearError(f"{unit} is no known unit of length")
        if not pixel:
            raise UnclearError(f"it is in {unit}, and the size of a pixel is unknown")
        return value * factor / pixel

    return read


def _of_module(files: OpenFiles, detector: Any, name: str) -> float | None:
    """The size of a pixel that the detector's first module tells (NXdetector_module)."""
    for child in names_in(detector, _MOST_CHILDREN):
        node = files.optional(child, detector) if child.startswith("module") else None
        if isinstance(node, h5py.Group):
            return first(files, node, (name,), pixel_size)
    return None


def _translation(files: OpenFiles, detector: Any) -> float | None:
    """The detector's distance along the beam in m: its chain of transformations (NeXus), or its translation (CXI)."""
    chain = _chain(files, detector)
    if chain:
        return chain
    for place in _TRANSLATIONS:
        group = files.optional(place, detector) if not place.startswith("../") else _beside(files, detector, place[3:])
        for name in names_in(group, _MOST_CHILDREN):
            found = _along_beam(files, files.optional(name, group))
            if found:
                return found
    for place in _CXI_TRANSLATIONS:
        moved = numbers(files, files.optional(place, detector), 3)
        if moved and moved[2]:
            return abs(moved[2])
    return None


def _chain(files: OpenFiles, detector: Any) -> float:
    """The sum of the translations along the beam that a detector depends on, in m; 0 where there are none."""
    node, told, total = detector, text(files.optional("depends_on", detector)), 0.0
    for _ in range(_LONGEST_CHAIN):
        if told in ("", "."):
            break
        node = files.optional(told, None if told.startswith("/") else detector if node is detector else node.parent)
        if not isinstance(node, h5py.Dataset):
            break
        total += _along_beam(files, node) or 0.0
        told = attribute(node, "depends_on")
    return total


def _along_beam(files: OpenFiles, node: Any) -> float | None:
    if not isinstance(node, h5py.Dataset) or attribute(node, "transformation_type") != "translation":
        return None
    vector = _vector(node)
    if len(vector) != 3 or abs(vector[2]) <= _ALONG_BEAM:
        return None
    return first(files, node.parent, (text_of(node.name).rpartition("/")[2],), lambda found: length(found, "mm"))


def _beside(files: OpenFiles, group: Any, name: str) -> Any:
    return files.optional(name, group.parent)


def _vector(node: Any) -> tuple[float, ...]:
    try:
        return tuple(float(value) for value in np.ravel(node.attrs["vector"])[:3])
    except (KeyError, OSError, RuntimeError, ValueError, TypeError):
        return ()
