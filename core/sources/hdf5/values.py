"""Small values out of HDF5 files: texts, and numbers that are one for the file or one for each frame."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import h5py
import numpy as np

from photon_triage.core.sources.hdf5.links import OpenFiles, text_of

_LONGEST_TEXT = 4096
_MOST_TEXTS = 16
_MOST_NUMBERS = 2_000_000
_SAME = 1e-6
"""Values of which the largest and the least differ by less of their size are one value."""


class UnclearError(ValueError):
    """A value that says something that is not understood; the message says what."""


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


def unit_of(node: Any) -> str:
    """The unit of a data set as it is spelt, "" where it names none."""
    return attribute(node, "units") or attribute(node, "unit")


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
    """A number that a data set gives once, or for each frame: then the median. None where it is no finite number."""
    values = _finite(node)
    return float(np.median(values)) if len(values) else None


def variation(node: Any) -> str:
    """A note on a number that a data set gives for each frame, "" where all are the same."""
    values = _finite(node)
    if len(values) < 2 or np.ptp(values) <= _SAME * float(np.abs(values).max()):
        return ""
    span = f"{values.min():.6g} to {values.max():.6g}"
    return f"{text_of(node.name)} varies from {span}: the median {np.median(values):.6g} is taken"


def _finite(node: Any) -> np.ndarray:
    """The finite numbers of a data set, float64; the positive ones where there are others too."""
    if not is_own(node) or node.dtype.kind not in "iuf" or not 0 < node.size <= _MOST_NUMBERS:
        return np.empty(0)
    values = np.asarray(node[()], np.float64).ravel()
    values = values[np.isfinite(values)]
    positive = values > 0
    return values[positive] if positive.any() else values


def numbers(files: OpenFiles, node: Any, count: int) -> tuple[float, ...] | None:
    """The elements of a numeric data set of so many, or of such a row for each frame: then the median of each."""
    if not is_own(node) or node.dtype.kind not in "iuf" or not 0 < node.size <= _MOST_NUMBERS:
        return None
    if node.size != count and (node.ndim != 2 or node.shape[1] != count):
        return None
    rows = np.asarray(node[()], np.float64).reshape(-1, count)
    rows = rows[np.isfinite(rows).all(1)]
    if not len(rows):
        return None
    if (np.ptp(rows, axis=0) > _SAME * np.abs(rows).max()).any():
        files.remark(f"{text_of(node.name)} varies from frame to frame: its median is taken")
    return tuple(float(value) for value in np.median(rows, axis=0))


def first(files: OpenFiles, start: Any, names: Iterable[str], read: Callable[[Any], float | None]) -> float | None:
    """What `read` makes of the first of `names` below `start` that gives something.

    What is not understood, or differs from frame to frame, is remarked.
    """
    for name in names:
        node = files.optional(name, start)
        try:
            value = read(node)
        except UnclearError as error:
            files.remark(f"{text_of(node.name)} is passed over: {error}")
            continue
        if value is not None:
            files.remark(variation(node))
            return value
    return None
