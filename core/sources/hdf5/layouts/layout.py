"""What every convention needs: the layout that was recognised, and looking for its data sets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import h5py

from photon_triage.core.common.errors import MissingError
from photon_triage.core.frames import Geometry
from photon_triage.core.sources.common.file_probe import ABANDONED
from photon_triage.core.sources.hdf5.axis_view import SMALLEST_SIDE, is_numeric, view_of
from photon_triage.core.sources.hdf5.links import OpenFiles
from photon_triage.core.sources.hdf5.masks import ANY, MaskRule

UNKNOWN = Geometry()


@dataclass(frozen=True, slots=True)
class Layout:
    """A recognised convention.

    dataset: a data set, a group of numbered ones, or a pattern (see FrameStack). mask, mask_rule: the mask's data set
    and what in it makes a pixel bad. expected: how many frames were asked for. reason: why these are the frames.
    """

    name: str
    dataset: str
    reason: str
    mask: str | None = None
    mask_rule: MaskRule = ANY
    geometry: Geometry = UNKNOWN
    run: str = ""
    expected: int | None = None
    notes: tuple[str, ...] = field(default=())


def is_images(files: OpenFiles, path: str, node: Any, smallest: int = 1) -> bool:
    """Whether an object is a numeric data set of images with at least so many rows and columns."""
    if not is_numeric(node) or sorted(node.shape)[-2] < smallest:
        return False
    view = view_of(files, path, node)
    return min(view.shape[view.rows], view.shape[view.columns]) >= smallest


def first_images(files: OpenFiles, places: tuple[str, ...], smallest: int = 1) -> str | None:
    """The first of the places with images.

    A link to a file that is not there is waited for, and not passed over before the file that links has long rested.
    """
    for place in places:
        node = found(files, place)
        if node is not None and is_images(files, f"/{place}", node, smallest):
            return f"/{place}"
    return None


def found(files: OpenFiles, place: str, start: Any = None) -> Any:
    """The object at a place, None where there is none; MissingError where a link leads to a file that is to come."""
    try:
        return files.find(place, start)
    except MissingError:
        if files.state.age < ABANDONED:
            raise
        return None
    except (OSError, RuntimeError, KeyError, ValueError):
        return None


def first_mask(files: OpenFiles, places: tuple[str, ...]) -> str | None:
    """The first of the places with something that can be a mask."""
    for place in places:
        node = files.optional(place)
        if isinstance(node, h5py.Dataset) and node.dtype.kind in "iubf" and 2 <= node.ndim <= 6:
            return f"/{place}"
    return None


__all__ = [
    "SMALLEST_SIDE",
    "UNKNOWN",
    "Layout",
    "first_images",
    "first_mask",
    "found",
    "is_images",
]
