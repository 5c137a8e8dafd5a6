"""Geometry in the text headers of image files: DECTRIS's comments, SMV, EDF."""

from __future__ import annotations

import math
import re

from photon_triage.core.frames import PLANCK_EV_M, Geometry

_NUMBER = r"([-+]?[0-9.]+(?:[eE][-+]?\d+)?)"
_PATTERNS = {
    # The comments of miniCBF headers, which PILATUS detectors write into TIFF files too.
    "DECTRIS": {
        "wavelength": (rf"# Wavelength\s+{_NUMBER}\s*A", 1e-10),
        "detector_distance": (rf"# Detector_distance\s+{_NUMBER}\s*m", 1.0),
        "pixel_size": (rf"# Pixel_size\s+{_NUMBER}\s*m", 1.0),
        "beam_center_x": (rf"# Beam_xy\s+\(\s*{_NUMBER}", 1.0),
        "beam_center_y": (rf"# Beam_xy\s+\([^,]*,\s*{_NUMBER}", 1.0),
    },
    # Millimetres and angstrom; programs disagree on what its beam centre is, so that stays unknown.
    "SMV": {
        "wavelength": (rf"\bWAVELENGTH\s*=\s*{_NUMBER}", 1e-10),
        "detector_distance": (rf"\bDISTANCE\s*=\s*{_NUMBER}", 1e-3),
        "pixel_size": (rf"\bPIXEL_SIZE\s*=\s*{_NUMBER}", 1e-3),
    },
    # The names of SAXS headers (Boesecke 2007), in metres and pixels.
    "EDF": {
        "wavelength": (rf"\bWaveLength\s*=\s*{_NUMBER}", 1.0),
        "detector_distance": (rf"\bSampleDistance\s*=\s*{_NUMBER}", 1.0),
        "pixel_size": (rf"\bPSize_1\s*=\s*{_NUMBER}", 1.0),
        "beam_center_x": (rf"\bCenter_1\s*=\s*{_NUMBER}", 1.0),
        "beam_center_y": (rf"\bCenter_2\s*=\s*{_NUMBER}", 1.0),
    },
}


def text_geometry(kind: str, header: str) -> Geometry:
    """The geometry that a header of this kind ("DECTRIS", "SMV", "EDF") tells; what is no number is unknown."""
    values = {}
    for name, (pattern, unit) in _PATTERNS[kind].items():
        found = re.search(pattern, header)
        try:
            value = float(found[1]) * unit if found else math.nan
        except ValueError:
            continue
        if math.isfinite(value) and (value > 0 or name.startswith("beam")):
            values[name] = value
    length = values.pop("wavelength", None)
    return Geometry(**values, photon_energy_ev=PLANCK_EV_M / length if length else None)
