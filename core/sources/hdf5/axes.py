"""What a NeXus file says of the axes of a data set, as it is said since 2014 and as it was said before.

Sources: NXdata of the NeXus definitions ("signal", "axes" and "AXISNAME_indices" at the group), and its older forms:
"signal" and "axes" at the data set, "axis" and "primary" at the data sets of the coordinates.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np

from photon_triage.core.sources.hdf5 import virtual
from photon_triage.core.sources.hdf5.axis_view import View, frames_last, plain_view
from photon_triage.core.sources.hdf5.links import OpenFiles, names_in, text_of
from photon_triage.core.sources.hdf5.values import attribute, text, texts, unit_of

_MOST_CHILDREN = 200
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


def signal_of(files: OpenFiles, group: Any) -> str:
    """The name of the data set that a group is about, "" where it says none.

    Since 2014 the group names it; before, the data set had signal=1, as a number or a text.
    """
    told = attribute(group, "signal")
    if told:
        return told
    return next((name for name, node in _children(files, group) if marked(node, "signal") == 1), "")


def marked(node: Any, name: str) -> int | None:
    """An attribute that is a whole number, also where it is written as a text or in an array; None for none."""
    if not isinstance(node, h5py.Dataset):
        return None
    told = attribute(node, name)
    try:
        return int(told or np.ravel(node.attrs[name])[0])
    except (KeyError, OSError, RuntimeError, ValueError, TypeError, IndexError, OverflowError):
        return None


def axis_names(files: OpenFiles, dataset: Any, group: Any = None, name: str = "") -> tuple[str, ...]:
    """The names of a data set's axes in lower case, () where the file gives none for each.

    group, name: a group that holds it and its name there; its own, unless they are given.
    """
    own = attribute(dataset, "axes").strip("[]() ")
    names = tuple(part.strip().lower() for part in re.split(r"[:,]", own)) if own else ()
    if len(names) == dataset.ndim:
        return names
    parent = dataset.parent if group is None else group
    name = name or text_of(dataset.name).rpartition("/")[2]
    if attribute(parent, "signal") == name:
        for attribute_name in ("axes", f"{name}_axes"):
            told = texts(parent, attribute_name)
            names = tuple(each.strip().lower() for each in (told[0].split(",") if len(told) == 1 else told))
            if len(names) == dataset.ndim:
                return names
    return _names_by_number(files, parent, dataset.ndim)


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
    for name, node in _children(files, dataset.parent):
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
    for name, node in _children(files, group):
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


def _names_by_number(files: OpenFiles, group: Any, axes: int) -> tuple[str, ...]:
    """Names of axes by the attribute "axis" (from 1) of the coordinates beside a data set; primary ones go before."""
    found: dict[int, tuple[int, str]] = {}
    if not attribute(group, "NX_class"):
        return ()
    for name, node in _children(files, group):
        number = marked(node, "axis")
        if number is not None:
            rank = marked(node, "primary")
            found[number] = min(found.get(number, (99, name)), (9 if rank is None else rank, name.lower()))
    return tuple(found[number][1] for number in range(1, axes + 1)) if set(range(1, axes + 1)) <= set(found) else ()


def _children(files: OpenFiles, group: Any) -> Iterator[tuple[str, Any]]:
    """The data sets of a group; what lies in other files is no part of its description."""
    for name in names_in(group, _MOST_CHILDREN):
        try:
            if group.id.links.get_info(name.encode("utf-8", "surrogateescape")).type == h5py.h5l.TYPE_EXTERNAL:
                continue
        except (KeyError, OSError, RuntimeError, ValueError):
            continue
        node = files.optional(name, group)
        if isinstance(node, h5py.Dataset):
            yield name, node


def _is_numbers(node: Any) -> bool:
    try:
        return bool(node.dtype.kind in "iuf")
    except (TypeError, ValueError):  # a type that NumPy has not
        return False


SMALLEST_SIDE = 32
"""Rows and columns that a data set must have to be taken for images where no convention names it."""

_ROWS = frozenset({"y", "row", "rows", "ss", "slow", "height", "det_y", "detector_y", "dety"})
_COLUMNS = frozenset({"x", "column", "columns", "fs", "fast", "width", "det_x", "detector_x", "detx"})
_TILES = ("module", "panel", "asic")
_EUXFEL_IMAGE = re.compile(r"/INSTRUMENT/.+/image/data$")
_VELOX = re.compile(r"/Data/Image/[0-9a-f]+/Data$")
_FRAMES_FIRST = re.compile(r"/(entry_\d+|exchange|INSTRUMENT|data/[^/]*data|entry\d*/(data|instrument/.+)/data)(/|$)")
"""Where conventions put (frame, y, x), however small an image may be."""

_EVENT_LISTS = ("timestamp", "event_time", "fiducials")
"""What psana's files have for each event: where the first axis counts those, the second counts modules."""

_MOST_CHANNELS = 4
_MOST_CHILDREN_OF_DETECTOR = 60


def view_of(files: OpenFiles, path: str, dataset: Any) -> View:
    """The roles of a data set's axes. path: where it was found, links and all."""
    shape = tuple(int(side) for side in dataset.shape)
    names = axis_names(files, dataset)
    tiles = tuple(axis for axis, name in enumerate(names) if any(part in name for part in _TILES))
    fixed = {axis: "of counts and gains, the counts are taken" for axis, name in enumerate(names) if "gain" in name}
    named = () if names[-1:] == (".",) else names  # what a scan over y and x has behind its axes is the detector's
    rows = [axis for axis, name in enumerate(named) if name in _ROWS]
    columns = [axis for axis, name in enumerate(named) if name in _COLUMNS]
    if len(rows) == len(columns) == 1 and (rows[0], columns[0]) != (len(shape) - 2, len(shape) - 1):
        others = (axis for axis in range(len(shape)) if axis not in (*rows, *columns, *tiles, *fixed))
        note = f"the axes are {', '.join(names)}"
        return View(shape, tuple(others), tiles, tuple((axis, 0) for axis in fixed), rows[0], columns[0], (note,))
    if len(shape) == 3 and not tiles and _has_frames_last(path, dataset, shape):
        return frames_last(shape)
    if len(shape) >= 4 and not tiles and not fixed:
        if _EUXFEL_IMAGE.search(path):
            note = "raw: of counts and gains, the counts are taken" if shape[1] == 2 else ""
            return plain_view(shape, fixed={1: note})
        if path.startswith("/entry_1/"):
            return plain_view(shape, tiles=(1,), fixed=dict.fromkeys(range(2, len(shape) - 2), ""))
        kind = _second_axis(files, path, dataset, shape)
        if kind == "module":
            return plain_view(shape, tiles=(1,))
        if kind == "channel":
            note = f"of {shape[1]} energy channels, the first is taken" if shape[1] > 1 else ""
            return plain_view(shape, fixed={1: note})
    return plain_view(shape, tiles=tiles, fixed=fixed)


def _has_frames_last(path: str, dataset: Any, shape: tuple[int, ...]) -> bool:
    if _VELOX.search(path):
        return shape[2] > 1
    if _FRAMES_FIRST.match(path):
        return False
    chunks = dataset.chunks
    if chunks and chunks[2] == 1 and min(chunks[:2]) > 1 and shape[2] > 1:
        return True
    return min(shape[:2]) >= SMALLEST_SIDE > shape[2] > 1 and not (chunks and chunks[0] == 1)


def _second_axis(files: OpenFiles, path: str, dataset: Any, shape: tuple[int, ...]) -> str:
    """What the second axis of four counts: "module", "channel" of energy, or "" for more frames."""
    if dataset.is_virtual and virtual.is_put_together_along(dataset, 1):
        return "module"
    if len(shape) != 4:
        return ""
    if any(_counts_events(files.optional(name), shape[0]) for name in _EVENT_LISTS):
        return "module"
    entry = path.strip("/").partition("/")[0]
    detector = files.optional(f"{entry}/instrument/detector")
    if not isinstance(detector, h5py.Group):
        return ""
    mask = next((node for node in (files.optional(name, detector) for name in ("pixel_mask", "mask")) if node), None)
    masked = tuple(mask.shape) if isinstance(mask, h5py.Dataset) else ()
    axes_of_module = _axes_of_module(files, detector)
    if axes_of_module >= 3 or (masked == shape[1:] and shape[1] > _MOST_CHANNELS):
        return "module"
    is_nxmx = text(files.optional(f"{entry}/definition")) == "NXmx"
    return "channel" if is_nxmx and shape[1] <= _MOST_CHANNELS and (masked or axes_of_module) else ""


def _counts_events(node: Any, events: int) -> bool:
    return isinstance(node, h5py.Dataset) and node.shape == (events,)


def _axes_of_module(files: OpenFiles, detector: Any) -> int:
    """How many axes the modules of a NeXus detector are placed in: two of the image, three where modules have one."""
    for name in names_in(detector, _MOST_CHILDREN_OF_DETECTOR):
        size = files.optional(f"{name}/data_size", detector)
        if isinstance(size, h5py.Dataset):
            return int(size.size)
    return 0
