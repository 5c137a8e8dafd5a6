"""Geometry in the text headers of image files: DECTRIS's comments, SMV, EDF."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from pathlib import Path

from photon_triage.core.common.errors import SourceError
from photon_triage.core.frames import PLANCK_EV_M, Geometry

_KINDS = {
    "a dark": "dark darks darkfield darkfields darkframe darkframes darkcurrent darkimage darkimages darkend pedestal "
    "pedestals df",
    "a flat field": "flat flats flatfield flatfields flatimage flatimages white whites whitefield whitefields ff "
    "bright brightfield openbeam ob ref refs refhst reference references",
    "a background": "bg bgs bkg bkgs background backgrounds empty emptybeam",
}
_KIND_OF = {word: kind for kind, words in _KINDS.items() for word in words.split()}
_FIELD = ("field", "fields", "frame", "frames", "current", "image", "images", "img", "beam")
_OTHERS = "avg average averaged mean median sum before after begin end start pre post raw corr data master ms sec us of"
_QUALIFIERS = frozenset((*_FIELD, *_OTHERS.split(), "tomo", "scan", "exp", "det"))
"""Words that may follow without making another thing of it."""

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


def calibration_name(path: str) -> str:
    """What a file is by its name ("a dark", "a flat field", "a background"), "" where the name says nothing.

    The name says it where the last of its words that is no number and no qualifier is one of those: dark_00001,
    scan2_flats_0003, FlatField, ref0000_0000; but not dark_sample_01. Single letters and numbers do not count.
    """
    words = [word.lower() for word in _WORD.findall(Path(path).name.split(".")[0])]
    joined: list[str] = []
    for word in words:
        if joined and word in _FIELD and joined[-1] + word in _KIND_OF:
            joined[-1] += word
        else:
            joined.append(word)
    for word in reversed(joined):
        if word in _KIND_OF:
            return _KIND_OF[word]
        if word not in _QUALIFIERS and len(word) > 1:
            return ""
    return ""


def require_frames(path: str, *, any_image: bool) -> None:
    """SourceError for a file whose name says that it is a flat, a dark or the like; any_image: take it all the same."""
    kind = "" if any_image else calibration_name(path)
    if kind:
        raise SourceError(
            f"Reading {path}: it holds no frames: {kind} (the file's name says so).",
            "If it holds frames, give it a name without that word.",
        )


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


def without_blank_end(count: int, is_blank: Callable[[int], bool]) -> int:
    """`count` without the frames at the end that are blank, found by bisection.

    Frames are written in order: before a frame that holds something, all are written.
    """
    low, high, probe = 0, count, count - 1
    while low < high:
        low, high = (low, probe) if is_blank(probe) else (probe + 1, high)
        probe = (low + high) // 2
    return low


_SEGMENT = re.compile(r"(_master|_data_\d+)$")
_RUN_NUMBER = re.compile(r"[_\-.]?\d+$")
_KINDS_OF_RUN = frozenset({"", "run", "scan", "series", "r"})


def run_name(path: str, *, one_of_many: bool) -> str:
    """The run of a file: its name without what counts files within the run.

    one_of_many: the file holds a single frame, so that a number at its name's end counts frames (lysozyme_00012.tif is
    of the run lysozyme); otherwise only the second of two numbers does (run_0001_00012 is of run_0001).
    """
    parent, name = os.path.split(path)
    folder = os.path.basename(parent)  # noqa: PTH119 - for each of many thousand files
    stem = _SEGMENT.sub("", name.rpartition(".")[0] or name)
    shorter = _RUN_NUMBER.sub("", stem)
    if shorter == stem:
        return stem
    if not shorter and one_of_many:
        return folder or stem
    if shorter.lower() in _KINDS_OF_RUN or not (one_of_many or _RUN_NUMBER.search(shorter)):
        return stem
    return shorter


def printable(text: str) -> str:
    """A text with the bytes that are no UTF-8 shown as \\xNN, so that it can be written anywhere."""
    try:
        raw = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half a character of UTF-16
        raw = text.encode("utf-8", "surrogatepass")
    return raw.decode("utf-8", "backslashreplace")


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
