"""Data sets that look like frames and are none: masks, flats, logos, spectra, previews, lists."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from photon_triage.core.sources.roles import axis_names
from photon_triage.core.sources.values import attribute

_WORDS = {
    "a mask": r"(?:pixel|bad|beam)?_?masks?|(?:bad|hot|dead)_?pix(?:els?)?|pixel_?(?:quality|status)",
    "a flat field or gain map": r"flat_?field|flats?|white|gain_?map|gain|sensitivity|trimbit|efficiency",
    "a dark": r"darks?|pedestals?|offsets?|background|bkg|noise|rms",
    "a calibration": r"calib\w*|geometry|polar_angle|azimuth\w*|distance|[xyz]_pixel_offset|pixel_[xyz]|countrate_\w+",
    "an error estimate": r"errors?|uncertaint\w+|sigma|variance|weights?|std|stddev|idev|qdev",
    "a preview": r"preview\w*|thumb\w*|logo|icon|snapshot|screenshot|photo|webcam|overview",
    "spectra": r"spectr\w*|mcas?|xrf|fluo\w*|histogram\w*|waveforms?|traces?|digitizer\w*",
    "a list of pixels or peaks": r"sparse\w*|place_(?:ones|multi)|count_multi|n?peak\w*|(?:events?|pixel)_?list|index",
    "a coordinate": r"q?[xyz]",
    "a table": r"motors?|positions?|scan_?points?|timestamps?|table",
}
_PATTERNS = {
    kind: re.compile(rf"(?:.*[_\W])?(?:{words})(?:[_\W\d].*)?$", re.IGNORECASE) for kind, words in _WORDS.items()
}
_MASK_FILE = re.compile(r"(^|[_\-.])(mask|bad_?pix(el)?s?(map|mask)?|pixel_?mask)", re.IGNORECASE)
_SPECTRAL = ("energy", "channel", "tof", "time_of_flight", "wavelength", "spectrum", "mca", "frequency", "two_theta")
_COLOURS = (3, 4)


def look_alike(path: str, dataset: Any) -> str | None:
    """What a data set is that only looks like frames, None where nothing says so."""
    parts = [part for part in path.split("/") if part]
    colour = _colour(dataset)
    if colour:
        return colour
    if attribute(dataset, "interpretation") in ("spectrum", "vertex"):
        return "spectra (its interpretation says so)"
    names = axis_names(dataset)
    if names and (any(word in names[-1] for word in _SPECTRAL) or (names[-1] == "q" and names[-2] != "q")):
        return f"spectra (its last axis is {names[-1]})"
    for part in reversed(parts[-2:]):
        for kind, pattern in _PATTERNS.items():
            if pattern.match(part) and (part == parts[-1] or kind != "a coordinate"):
                return f"{kind} (its name says so)"
    if any(part.lower() in ("preview", "thumbnail", "calibration") for part in parts):
        return "a preview or calibration (its group says so)"
    return None


def is_named_as_mask(path: str) -> bool:
    """Whether a file's name says that it holds a mask."""
    return bool(_MASK_FILE.search(Path(path).stem))


def _colour(dataset: Any) -> str | None:
    if attribute(dataset, "IMAGE_SUBCLASS") in ("IMAGE_TRUECOLOR", "IMAGE_INDEXED"):
        return "a colour picture"
    shape = dataset.shape
    if dataset.dtype.itemsize == 1 and len(shape) == 3 and shape[-1] in _COLOURS and min(shape[:2]) > max(_COLOURS):
        return "a colour picture"
    return None
