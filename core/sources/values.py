"""Small values out of HDF5 files: texts, numbers with units, the geometry they make."""

from __future__ import annotations

import math
from itertools import islice
from typing import Any

import h5py
import numpy as np

from photon_triage.core.frames import PLANCK_EV_M, Geometry
from photon_triage.core.sources.links import OpenFiles

JOULE_PER_EV = 1.602176634e-19
"""CODATA 2018, exact."""

_LONGEST_TEXT = 4096
_MOST_TEXTS = 16
_METRES = {
    **dict.fromkeys(("m", "meter", "metre", "meters", "metres"), 1.0),
    "cm": 1e-2,
    **dict.fromkeys(("mm", "millimeter", "millimetre", "millimeters", "millimetres"), 1e-3),
    **dict.fromkeys(("um", "µm", "μm", "micron", "microns", "micrometer", "micrometre"), 1e-6),
    **dict.fromkeys(("nm", "nanometer", "nanometre"), 1e-9),
    **dict.fromkeys(("angstrom", "angstroms", "ångström", "å", "a"), 1e-10),
    "pm": 1e-12,
}
_EV = {"ev": 1.0, "kev": 1e3, **dict.fromkeys(("j", "joule", "joules"), 1 / JOULE_PER_EV)}
_TRANSLATIONS = ("transformations", "detector_z", "geometry/translation")
_ALONG_BEAM = 0.99


def is_own(node: Any) -> bool:
    """Whether an object is a data set whose bytes lie in its own file: others could be those of any file."""
    return isinstance(node, h5py.Dataset) and not node.external and not node.is_virtual


def text(node: Any) -> str:
    """A text data set or attribute value, "" where it is empty or no text."""
    value = node
    if isinstance(node, h5py.Dataset):
        if not is_own(node) or node.size != 1 or node.dtype.kind not in "SO" or node.dtype.itemsize > _LONGEST_TEXT:
            return ""
        value = node[()]
    if isinstance(value, np.ndarray):
        value = value.ravel()[0] if value.size == 1 else ""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return value.strip("\0 \n") if isinstance(value, str) else ""


def attribute(node: Any, name: str) -> str:
    """A text attribute, read by its name: enumerating the attributes of a damaged file can hang."""
    try:
        return text(node.attrs[name])
    except (KeyError, OSError, RuntimeError, ValueError, TypeError):
        return ""


def texts(node: Any, name: str) -> tuple[str, ...]:
    """The elements of an attribute that is an array of texts, or the one text that it is."""
    try:
        value = node.attrs[name]
    except (KeyError, OSError, RuntimeError, ValueError, TypeError):
        return ()
    elements = value.ravel().tolist() if isinstance(value, np.ndarray) else [value]
    return tuple(text(element) for element in elements[:_MOST_TEXTS])


def number(node: Any) -> float | None:
    """The first element of a numeric data set, None where it is no finite number."""
    if not is_own(node) or node.dtype.kind not in "iuf" or not node.size:
        return None
    value = float(node[(0,) * node.ndim])
    return value if math.isfinite(value) else None


def numbers(node: Any, count: int) -> tuple[float, ...] | None:
    """The elements of a numeric data set of so many, None where it is something else."""
    if not is_own(node) or node.dtype.kind not in "iuf" or node.size != count:
        return None
    values = tuple(float(value) for value in node[()].ravel())
    return values if all(map(math.isfinite, values)) else None


def length(node: Any, unit: str = "m") -> float | None:
    """A positive length in m; `unit` is meant where the file names none."""
    value = number(node)
    if value is None or value <= 0:
        return None
    return value * _METRES.get(attribute(node, "units").strip().lower() or unit, 1.0)


def pixel_size(node: Any) -> float | None:
    """The side of a pixel in m; without a unit, a number from 1 is in µm and one from 0.001 in mm."""
    value = number(node)
    return length(node, "um" if value and value >= 1 else "mm" if value and value >= 1e-3 else "m")


def distance(node: Any) -> float | None:
    """The detector's distance in m; without a unit, a number from 50 is in mm."""
    value = number(node)
    return length(node, "mm" if value and value >= 50 else "m")


def energy(node: Any) -> float | None:
    """A photon energy in eV.

    CXI stores joules (CXI file format 1.6, source_1/energy), with or without saying so: below 1e-10 it is joules.
    Without a unit, a number below 150 is in keV: no facility of these formats has photons of so few eV.
    """
    value = number(node)
    if value is None or value <= 0:
        return None
    if value < 1e-10:
        return value / JOULE_PER_EV
    unit = attribute(node, "units").strip().lower()
    return value * (_EV.get(unit, 1.0) if unit else 1e3 if value < 150 else 1.0)


def wavelength_energy(node: Any) -> float | None:
    """The photon energy in eV of a wavelength data set, in angstrom unless it says otherwise or is far below one."""
    value = number(node)
    metres = length(node, "m" if value and value < 1e-6 else "angstrom")
    return PLANCK_EV_M / metres if metres else None


def first(files: OpenFiles, start: Any, names: tuple[str, ...], read: Any) -> Any:
    """What `read` makes of the first of `names` below `start` that gives something."""
    for name in names:
        value = read(files.optional(name, start))
        if value is not None:
            return value
    return None


def detector_geometry(files: OpenFiles, detector: Any, photon_energy_ev: float | None) -> Geometry:
    """The geometry of a CXI or NeXus detector group; lengths in m, the beam centre in pixels."""
    if detector is None:
        return Geometry(photon_energy_ev)
    pixel = first(files, detector, ("x_pixel_size", "y_pixel_size"), pixel_size)
    center_x, center_y = (_beam_center(files.optional(f"beam_center_{axis}", detector), pixel) for axis in "xy")
    if center_x is None and pixel:
        for name in ("corner_position", "corner_positions"):
            corner = numbers(files.optional(name, detector), 3)
            if corner:
                center_x, center_y = abs(corner[0]) / pixel, abs(corner[1]) / pixel
    away = first(files, detector, ("distance", "detector_distance"), distance) or _translation(files, detector)
    return Geometry(photon_energy_ev, away, pixel, center_x, center_y)


def _beam_center(node: Any, pixel: float | None) -> float | None:
    """A beam centre in pixels: in pixels in nearly every file, and a length where its unit says so."""
    value, unit = number(node), attribute(node, "units").strip().lower() if isinstance(node, h5py.Dataset) else ""
    if value is None or unit not in _METRES:
        return value
    return value * _METRES[unit] / pixel if pixel else None


def _translation(files: OpenFiles, detector: Any) -> float | None:
    """The detector's translation along the beam (NXtransformations), in m."""
    for place in _TRANSLATIONS:
        group = files.optional(place, detector)
        for name in islice(group, _MOST_TEXTS) if isinstance(group, h5py.Group) else ():
            node = files.optional(name, group)
            if isinstance(node, h5py.Dataset) and attribute(node, "transformation_type") == "translation":
                vector = _vector(node)
                if len(vector) == 3 and abs(vector[2]) > _ALONG_BEAM:
                    return length(node, "mm")
    return None


def _vector(node: Any) -> tuple[float, ...]:
    try:
        return tuple(float(value) for value in np.ravel(node.attrs["vector"])[:3])
    except (KeyError, OSError, RuntimeError, ValueError, TypeError):
        return ()
