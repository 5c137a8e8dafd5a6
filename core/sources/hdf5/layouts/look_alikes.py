"""Data sets that look like frames and are none: masks, flats, logos, spectra, previews, lists."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from photon_triage.core.sources.hdf5.axes import spectral_axis
from photon_triage.core.sources.hdf5.axis_view import MOST_AXES, image_dtype
from photon_triage.core.sources.hdf5.links import OpenFiles, names_in, text_of
from photon_triage.core.sources.hdf5.values import attribute

_WORDS = {
    "a mask": r"(?:pixel|bad|beam)?_?masks?|(?:bad|hot|dead)_?pix(?:els?)?|pixel_?(?:quality|status)",
    "a flat field or gain map": r"flat_?field|flats?|white|gain_?map|gain|sensitivity|trimbit|efficiency",
    "a dark": r"darks?|pedestals?|offsets?|background|bkg|noise|rms",
    "a calibration": r"calibration\w*|calib_\w+|geometry|polar_angle|azimuth\w*|distance|[xyz]_pixel_offset|pixel_[xyz]"
    r"|countrate_\w+",
    "an error estimate": r"errors?|uncertaint\w+|sigma|variance|weights?|std|stddev|idev|qdev",
    "a preview": r"preview\w*|thumb\w*|logo|icon|snapshot|screenshot|photo|webcam|overview",
    "spectra": r"spectr\w*|mcas?|xrf|fluo\w*|xspress\w*|xmap\w*|vortex\w*|edxd\w*|histogram\w*|waveforms?|traces?"
    r"|digitizer\w*",
    "a list of pixels or peaks": r"sparse\w*|place_(?:ones|multi)|count_multi|n?peak\w*|(?:events?|pixel)_?list|index",
    "a coordinate": r"q?[xyz]",
    "a table": r"motors?|positions?|scan_?points?|timestamps?|table",
}
_PATTERNS = {
    kind: re.compile(rf"(?:.*[_\W])?(?:{words})(?:[_\W\d].*)?$", re.IGNORECASE) for kind, words in _WORDS.items()
}
_CORRECTED = re.compile(r"corrected|subtracted|removed|[_\W]free", re.IGNORECASE)
"""Frames after a dark or a flat field was applied, not these."""

_MASK_FILE = re.compile(r"(^|[_\-.])(mask|bad_?pix(el)?s?(map|mask)?|pixel_?mask)", re.IGNORECASE)
_COLOURS = (3, 4)
_OTHER_FILES = {
    "keras_version|layer_names|model_weights|optimizer_weights|_layer_checkpoint_dependencies": "weights of a network",
    "LOOM_SPEC_VERSION|row_attrs": "a table of a Loom file",
}
_MOST_NAMES = 1000
_SETTINGS = ("CONTROL", "RUN", "INDEX", "METADATA")
"""Groups of the European XFEL's files that hold no frames."""


def look_alike(files: OpenFiles, path: str, dataset: Any, groups: Sequence[tuple[Any, str]] = ()) -> str | None:
    """What a data set is that only looks like frames, None where nothing says so.

    groups: other groups that hold it too, each with its name there.
    """
    parts = [part for part in path.split("/") if part]
    colour = _colour(dataset)
    if colour:
        return colour
    meant = _interpretation(dataset)
    if meant in ("spectrum", "vertex"):
        return "spectra (its interpretation says so)"
    if meant.endswith("-image"):
        return f"a colour picture (its interpretation is {meant})"
    if attribute(dataset.parent, "NX_class") == "NXmonitor":
        return "a monitor (its group says so)"
    if attribute(dataset.parent, "pandas_type"):
        return "a table (its group is one of pandas)"
    for group, name in ((dataset.parent, ""), *groups):
        spectral = spectral_axis(files, dataset, group, name)
        if spectral:
            return f"spectra (its last axis is {spectral})"
    for part in reversed(parts[-2:]):
        for kind, pattern in () if _CORRECTED.search(part) else _PATTERNS.items():
            if pattern.match(part) and (
                kind != "a coordinate" or (part == parts[-1] and _is_coordinate(part, dataset))
            ):
                return f"{kind} (its name says so)"
    if parts and parts[0] in _SETTINGS and "INDEX" in dataset.file and "METADATA" in dataset.file:
        return "settings and readings (of the European XFEL's control system)"
    if any(part.lower() in ("preview", "thumbnail", "calibration") for part in parts):
        return "a preview or calibration (its group says so)"
    return None


def is_named_as_mask(path: str) -> bool:
    """Whether a file's name says that it holds a mask."""
    return bool(_MASK_FILE.search(Path(path).stem))


def file_look_alike(root: Any) -> str:
    """What a whole file is that holds matrices and no frames, "" where nothing says so."""
    names = set(names_in(root, _MOST_NAMES))
    for marks, kind in _OTHER_FILES.items():
        if any(mark in names or mark in root.attrs for mark in marks.split("|")):
            return kind
    if {"layers", "vars"} <= names:
        return "weights of a network"
    if attribute(root, "encoding-type") == "anndata" or {"X", "obs", "var"} <= names:
        return "a table of an AnnData file"
    return ""


def unread_kind(dataset: Any) -> str:
    """Why the values of a data set make no image, "" where they do."""
    if dataset.id.get_create_plist().get_external_count():
        return "its bytes lie in other files (external storage)"
    try:
        dtype = dataset.dtype
    except (TypeError, ValueError):  # types that NumPy has not
        return "numbers of a type that is not read"
    if dtype.kind == "V":
        return f"records of {', '.join(dtype.names)}" if dtype.names else "bytes of no type"
    if dtype.kind == "b":
        return "true and false: a mask"
    if image_dtype(dtype) is None:
        kinds = {"c": "complex numbers", "f": f"numbers of {8 * dtype.itemsize} bits"}
        return kinds.get(dtype.kind, "texts or references")
    return "" if dataset.ndim <= MOST_AXES else f"it has more than {MOST_AXES} axes"


def _is_coordinate(name: str, dataset: Any) -> bool:
    """Whether an array of such a name is a coordinate: no counts, and of several modules only beside another axis."""
    if dataset.dtype.kind != "f":
        return False
    beside = [letter for letter in "xyzXYZ" if letter != name[-1] and f"{name[:-1]}{letter}" in dataset.parent]
    return dataset.ndim == 2 or bool(beside)


def _interpretation(dataset: Any) -> str:
    """What NeXus calls the interpretation, of the data set or of the group whose signal it is."""
    parent = dataset.parent
    is_signal = attribute(parent, "signal") == text_of(dataset.name).rpartition("/")[2]
    return attribute(dataset, "interpretation") or (attribute(parent, "interpretation") if is_signal else "")


def _colour(dataset: Any) -> str | None:
    if attribute(dataset, "IMAGE_SUBCLASS") in ("IMAGE_TRUECOLOR", "IMAGE_INDEXED"):
        return "a colour picture"
    shape = dataset.shape
    if dataset.dtype.itemsize == 1 and len(shape) == 3 and shape[-1] in _COLOURS and min(shape[:2]) > max(_COLOURS):
        return "a colour picture"
    return None
