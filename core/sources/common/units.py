"""Units of length and energy as detector files spell them. An unknown unit leaves a value unknown: it has no factor."""

from __future__ import annotations

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
