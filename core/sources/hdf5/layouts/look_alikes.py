"""Data sets that look like frames and are none: masks, flats, logos, spectra, previews, lists."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from photon_triage.core.sources.hdf5.axis_view import MOST_AXES, axis_names, datasets_in, image_dtype, marked
from photon_triage.core.sources.hdf5.links import OpenFiles, attribute, names_in, text_of, unit_of

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
_SPECTRAL = re.compile(
    r"energy|channel|tof$|time_of_flight|wavelength|spectrum|^mca|frequency|two_?theta|2_?theta|^chi$|^ttheta$|^tth$"
    r"|energies",
    re.IGNORECASE,
)

_SPECTRAL_UNITS = {
    "an energy": frozenset({"ev", "kev", "mev", "electronvolt"}),
    "an angle": frozenset({"deg", "degree", "degrees", "rad", "radian", "radians", "°", "2th_deg", "2th_rad"}),
    "a momentum transfer": frozenset(
        f"{before}{length}{after}"
        for before, after in (("1/", ""), ("", "^-1"), ("", "-1"), ("", "**-1"))
        for length in ("angstrom", "angstroms", "a", "å", "nm")
    )
    | {"q_nm^-1", "q_a^-1"},
    "a time of flight": frozenset({"us", "µs", "μs", "ns", "microsecond", "microseconds"}),
}

_TIMES_OF_FLIGHT = ("time_of_flight", "tof")

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


def spectral_axis(files: OpenFiles, dataset: Any, group: Any = None, name: str = "") -> str:
    """What makes spectra of the rows of a data set, "" where nothing says so."""
    parent = dataset.parent if group is None else group
    names = axis_names(files, dataset, group, name)
    if names:
        last = names[-1]
        if last == "." and names[-3:-1] in (("y", "x"), ("x", "y")):
            return "behind those of a map"
        if _SPECTRAL.search(last) or (last == "q" and names[-2] != "q"):
            return last
        long = [each for each, side in zip(names, dataset.shape, strict=True) if side > 1]
        told = next((each for each in long[-2:] if each in _TIMES_OF_FLIGHT), "")
        if told:
            return told
    beside = list(_coordinates(files, parent, dataset))
    behind = {unit_of(node).strip().lower() for axis, _, node in beside if axis == dataset.ndim - 2}
    for axis, each, node in beside:
        if axis == dataset.ndim - 1 and (kind := _spectral_kind(each, node, behind)):
            return kind
    return ""


def counts_rows(files: OpenFiles, dataset: Any) -> str:
    """What says that each row of a data set of two axes is an entry of a list; "" where it may be a row of an image."""
    if dataset.ndim != 2:
        return ""
    if dataset.maxshape[0] is None and dataset.maxshape[1] is not None:
        return "rows are appended to it"
    rows, columns = dataset.shape
    if rows == columns:
        return ""
    lengths: dict[int, str] = {}
    for name, node in datasets_in(files, dataset.parent):
        if node.ndim == 1:
            lengths.setdefault(int(node.shape[0]), name)
    return f"one row for each of {lengths[rows]}" if rows in lengths and columns not in lengths else ""


def _spectral_kind(name: str, node: Any, behind: set[str]) -> str:
    """What a coordinate along the last axis makes of it. behind: the units of coordinates along the axis before."""
    told = f"{name} {attribute(node, 'long_name')}".lower()
    unit = unit_of(node).strip().lower()
    if unit and unit in behind:  # an image in those coordinates
        return ""
    for kind, units in _SPECTRAL_UNITS.items():
        if unit in units:
            return f"{kind} in {unit}"
    if any(_SPECTRAL.search(word) for word in re.split(r"[\s(]+", told)):
        return told.strip()
    return "Q" if name.lower() == "q" else ""


def _coordinates(files: OpenFiles, group: Any, dataset: Any) -> Iterator[tuple[int, str, Any]]:
    """(axis, name, data set) of what lies beside a data set and could be its coordinates."""
    shape = [int(side) for side in dataset.shape]
    names = axis_names(files, dataset, group) if group is not None else ()
    for name, node in datasets_in(files, group):
        if node.ndim < 1 or node == dataset or not _is_numbers(node):
            continue
        number = marked(node, "axis")
        if number is not None:
            axis = number - 1
        elif name.lower() in names:
            axis = names.index(name.lower())
        elif node.ndim == 1 and node.shape[0] in (shape[-1], shape[-1] + 1) and shape.count(node.shape[0]) < 2:
            axis = len(shape) - 1
        else:
            continue
        if 0 <= axis < len(shape):
            yield axis, name, node


def _is_numbers(node: Any) -> bool:
    try:
        return bool(node.dtype.kind in "iuf")
    except (TypeError, ValueError):  # a type that NumPy has not
        return False
