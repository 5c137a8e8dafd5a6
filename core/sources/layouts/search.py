"""A file of no known convention: the largest data set of images, and what else could be one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import h5py

from photon_triage.core.sources.info import Alternative
from photon_triage.core.sources.layouts.layout import SMALLEST_SIDE, Layout, is_images
from photon_triage.core.sources.layouts.look_alikes import (
    file_look_alike,
    is_named_as_mask,
    look_alike,
    unread_kind,
)
from photon_triage.core.sources.links import OpenFiles
from photon_triage.core.sources.members import MOST_OBJECTS

_MOST_JUDGED = 200
_MOST_TOLD = 12
_MOST_LINKED = 2000
_DEEPEST = 8


def recognise(files: OpenFiles, *, any_image: bool = False) -> Layout | None:
    """The largest numeric data set whose last two axes have 32 elements or more, and which is no look-alike.

    any_image: take masks, darks and the like too.
    """
    for found, where in ((data_sets(files), ""), (linked_data_sets(files), " that it links to")):
        images = [(path, node) for path, node in found if is_images(files, path, node, SMALLEST_SIDE)]
        for path, node in images[:_MOST_JUDGED]:
            if any_image or not refusal(files, path, node):
                what = "the only data set" if len(images) == 1 else f"the largest of {len(images)} data sets"
                return Layout("largest data set", path, f"no convention is known; {what} of images{where}")
    return None


def data_sets(files: OpenFiles) -> list[tuple[str, Any]]:
    """The data sets of two axes or more that lie in a file, the largest first."""
    found: list[tuple[str, Any]] = []
    seen = 0

    def visit(name: str, node: Any) -> bool | None:
        nonlocal seen
        seen += 1
        if isinstance(node, h5py.Dataset) and node.ndim > 1:
            found.append((f"/{name}", node))
        return True if seen > MOST_OBJECTS else None

    files.main.visititems(visit)
    return sorted(found, key=lambda one: -int(one[1].size))


def linked_data_sets(files: OpenFiles) -> list[tuple[str, Any]]:
    """The data sets of two axes or more behind soft and external links, the largest first."""
    return sorted(_linked(files, files.main, "", 0, [0]), key=lambda one: -int(one[1].size))


def others(files: OpenFiles, taken: str) -> tuple[Alternative, ...]:
    """What else in a file has two long axes, the largest first, and why it was not taken.

    taken: the path of the frames, which are left out.
    """
    told: list[Alternative] = []
    frames = files.optional(taken) if taken and "%" not in taken else None
    for path, node in data_sets(files) or linked_data_sets(files):
        if len(told) == _MOST_TOLD:
            break
        if _same(path, taken) or node == frames or sorted(node.shape)[-2] < (SMALLEST_SIDE if unread_kind(node) else 2):
            continue
        told.append(Alternative(path, tuple(int(side) for side in node.shape), *_judged(files, path, node)))
    return tuple(told)


def refusal(files: OpenFiles, path: str, node: Any) -> str:
    """Why a data set is not taken for frames, "" where nothing speaks against it."""
    kind = unread_kind(node) or file_look_alike(files.main) or look_alike(path, node)
    if kind:
        return kind
    if not is_images(files, path, node, SMALLEST_SIDE):
        return f"its images have less than {SMALLEST_SIDE} rows or columns"
    if node.ndim == 2 and is_named_as_mask(files.state.path):
        return "a mask (the file's name says so)"
    return ""


def _judged(files: OpenFiles, path: str, node: Any) -> tuple[str, str]:
    """The dtype of a data set, in words, and why it is not taken."""
    try:
        dtype = node.dtype
    except (TypeError, ValueError):
        return "unknown", refusal(files, path, node)
    return "records" if dtype.names else str(dtype), refusal(files, path, node)


def _same(path: str, taken: str) -> bool:
    if "%" in taken:
        before, _, after = taken.partition("%")
        return path.startswith(before) and path.endswith(after)
    return path == taken or path.startswith(f"{taken}/data_")


def _linked(files: OpenFiles, group: Any, path: str, depth: int, seen: list[int]) -> Iterator[tuple[str, Any]]:
    """Data sets behind soft and external links, which h5py's own walk does not follow."""
    for name in group:
        seen[0] += 1
        if seen[0] > _MOST_LINKED:
            return
        node = files.optional(name, group)
        if isinstance(node, h5py.Dataset) and node.ndim > 1:
            yield f"{path}/{name}", node
        elif isinstance(node, h5py.Group) and depth < _DEEPEST:
            yield from _linked(files, node, f"{path}/{name}", depth + 1, seen)
