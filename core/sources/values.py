"""Small values out of HDF5 files: texts, numbers with units, the geometry they make."""

from __future__ import annotations

import math
from typing import Any

import h5py
import numpy as np

from photon_triage.core.frames import PLANCK_EV_M, Geometry
from photon_triage.core.sources.links import OpenFiles

JOULE_PER_EV = 1.602176634e-19
"""CODATA 2018, exact."""

_LONGEST_TEXT = 4096
_MOST_TEXTS = 16
_METRES = {"m": 1.0, "dm": 0.1, "cm": 1e-2, "mm": 1e-3, "um": 1e-6, "µm": 1e-6, "micron": 1e-6, "nm": 1e-9}
_ANGSTROM = {"angstrom": 1e-10, "angstroms": 1e-10, "å": 1e-10, "a": 1e-10}
_EV = {"ev": 1.0, "kev": 1e3, "mev": 1e6, "j": 1 / JOULE_PER_EV, "joule": 1 / JOULE_PER_EV}


def text(node: Any) -> str:
    """A text data set or attribute value, "" where it is empty or no text."""
    value = node
    if isinstance(node, h5py.Dataset):
        if node.size != 1 or node.dtype.kind not in "SO" or node.dtype.itemsize > _LONGEST_TEXT:
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
    if not isinstance(node, h5py.Dataset) or node.dtype.kind not in "iuf" or not node.size or node.external:
        return None
    if node.is_virtual:
        return None
    value = float(node[(0,) * node.ndim])
    return value if math.isfinite(value) else None


def length(node: Any, unit: str = "m") -> float | None:
    """A positive length in m; `unit` is meant where the file names none."""
    value = number(node)
    if value is None or value <= 0:
        return None
    named = attribute(node, "units").lower() or unit
    return value * {**_METRES, **_ANGSTROM}.get(named, 1.0)


def energy(node: Any) -> float | None:
    """A photon energy in eV.

    CXI stores joules (CXI file format 1.6, source_1/energy), with or without saying so: below 1e-10 it is joules.
    """
    value = number(node)
    if value is None or value <= 0:
        return None
    if value < 1e-10:
        return value / JOULE_PER_EV
    return value * _EV.get(attribute(node, "units").lower(), 1.0)


def wavelength_energy(node: Any) -> float | None:
    """The photon energy in eV of a wavelength data set, in angstrom unless it says otherwise."""
    metres = length(node, "angstrom")
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
    pixel = first(files, detector, ("x_pixel_size", "y_pixel_size"), length)
    center_x = first(files, detector, ("beam_center_x",), number)
    center_y = first(files, detector, ("beam_center_y",), number)
    if center_x is None and pixel:
        corner = files.optional("corner_position", detector) or files.optional("corner_positions", detector)
        if isinstance(corner, h5py.Dataset) and corner.shape[-1:] == (3,) and corner.size == 3:
            x, y = (abs(float(value)) / pixel for value in corner[()].ravel()[:2])
            center_x, center_y = (x, y) if math.isfinite(x) and math.isfinite(y) else (None, None)
    distance = first(files, detector, ("distance", "detector_distance"), length)
    return Geometry(photon_energy_ev, distance, pixel, center_x, center_y)
