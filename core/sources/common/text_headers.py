"""Geometry in the text headers of image files (DECTRIS's comments, SMV, EDF), and the units that headers name."""

from __future__ import annotations

import math
import re

from photon_triage.core.frames import PLANCK_EV_M, Geometry

JOULE_PER_EV = 1.602176634e-19
"""CODATA 2018, exact."""

_METRES = {
    **dict.fromkeys(("m", "meter", "metre", "meters", "metres"), 1.0),
    **dict.fromkeys(("cm", "centimeter", "centimetre", "centimeters", "centimetres"), 1e-2),
    **dict.fromkeys(("mm", "millimeter", "millimetre", "millimeters", "millimetres"), 1e-3),
    **dict.fromkeys(("um", "µm", "μm", "micron", "microns"), 1e-6),
    **dict.fromkeys(("micrometer", "micrometre", "micrometers", "micrometres"), 1e-6),
    **dict.fromkeys(("nm", "nanometer", "nanometre", "nanometers", "nanometres"), 1e-9),
    **dict.fromkeys(("angstrom", "angstroms", "angstroem", "ångström", "ang", "å", "å", "a"), 1e-10),
    **dict.fromkeys(("pm", "picometer", "picometre"), 1e-12),
}
_EV = {
    **dict.fromkeys(("ev", "electronvolt", "electronvolts"), 1.0),
    **dict.fromkeys(("kev", "kiloelectronvolt", "kiloelectronvolts"), 1e3),
    **dict.fromkeys(("j", "joule", "joules"), 1 / JOULE_PER_EV),
}
_BY_CASE = {"MeV": 1e6, "meV": 1e-3, "GeV": 1e9}
"""Energies in which the case of a letter makes the difference."""

_PIXELS = frozenset({"", "pixel", "pixels", "px", "pix", "pixel_number", "dimensionless", "1"})

_VALUE = r"([-+]?[0-9.]+(?:[eE][-+]?\d+)?)"
_NUMBER = rf"{_VALUE}\s*([^\s;,)x]*)"
"""A number and the unit behind it, which may be missing."""

_PATTERNS = {
    # The comments of miniCBF headers, which PILATUS detectors write into TIFF files too.
    "DECTRIS": {
        "wavelength": (rf"# Wavelength\s+{_NUMBER}", "A"),
        "detector_distance": (rf"# Detector_distance\s+{_NUMBER}", "m"),
        "pixel_size": (rf"# Pixel_size\s+{_NUMBER}", "m"),
        "beam_center_x": (rf"# Beam_xy\s+\(\s*{_VALUE}[^)\n]*\)[ \t]*(\w*)", ""),
        "beam_center_y": (rf"# Beam_xy\s+\([^,]*,\s*{_VALUE}\s*\)[ \t]*(\w*)", ""),
    },
    # Millimetres and angstrom; programs disagree on what its beam centre is, so that stays unknown.
    "SMV": {
        "wavelength": (rf"\bWAVELENGTH\s*=\s*{_NUMBER}", "A"),
        "detector_distance": (rf"\bDISTANCE\s*=\s*{_NUMBER}", "mm"),
        "pixel_size": (rf"\bPIXEL_SIZE\s*=\s*{_NUMBER}", "mm"),
    },
    # The names of SAXS headers (Boesecke 2007), in metres and pixels.
    "EDF": {
        "wavelength": (rf"\bWaveLength\s*=\s*{_NUMBER}", "m"),
        "detector_distance": (rf"\bSampleDistance\s*=\s*{_NUMBER}", "m"),
        "pixel_size": (rf"\bPSize_1\s*=\s*{_NUMBER}", "m"),
        "beam_center_x": (rf"\bCenter_1\s*=\s*{_NUMBER}", ""),
        "beam_center_y": (rf"\bCenter_2\s*=\s*{_NUMBER}", ""),
    },
}
_LONGEST_UNIT = 20


def metres(unit: str) -> float | None:
    """The length of a unit in m, None for an unknown one."""
    return None if unit.strip() == "Mm" else _METRES.get(unit.strip().lower())


def electronvolts(unit: str) -> float | None:
    """The energy of a unit in eV, None for an unknown one."""
    name = unit.strip()
    return _BY_CASE[name] if name in _BY_CASE else _EV.get(name.lower())


def is_pixels(unit: str) -> bool:
    """Whether a position with this unit is in pixels: also one without a unit."""
    return unit.strip().lower() in _PIXELS


def text_geometry(kind: str, header: str) -> tuple[Geometry, tuple[str, ...]]:
    """The geometry that a header of this kind ("DECTRIS", "SMV", "EDF") tells, and notes on what is not understood.

    What is no number is unknown, and so is what has an unknown unit.
    """
    values: dict[str, float] = {}
    notes = []
    for name, (pattern, usual) in _PATTERNS[kind].items():
        found = re.search(pattern, header)
        try:
            value = float(found[1]) if found else math.nan
        except ValueError:
            continue
        if found is None or not math.isfinite(value) or (value <= 0 and usual):
            continue
        unit = found[2].strip() or usual
        factor = metres(unit) if usual else 1.0 if is_pixels(unit) else None
        if factor is None:
            notes.append(f"{name.replace('_', ' ')} is passed over: {unit[:_LONGEST_UNIT]} is no known unit")
        else:
            values[name] = value * factor
    length = values.pop("wavelength", None)
    return Geometry(**values, photon_energy_ev=PLANCK_EV_M / length if length else None), tuple(notes)
