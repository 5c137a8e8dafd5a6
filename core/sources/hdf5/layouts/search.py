"""A file of no known convention: its best data set of images, and what else in a file could be frames."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import h5py

from photon_triage.core.common.errors import MissingError, SourceError
from photon_triage.core.sources.common.info import Alternative
from photon_triage.core.sources.common.names import calibration_name, printable
from photon_triage.core.sources.hdf5.axis_view import marked, view_of
from photon_triage.core.sources.hdf5.layouts.layout import SMALLEST_SIDE, Layout, is_images
from photon_triage.core.sources.hdf5.layouts.look_alikes import (
    counts_rows,
    file_look_alike,
    is_named_as_mask,
    look_alike,
    unread_kind,
)
from photon_triage.core.sources.hdf5.links import (
    MOST_OBJECTS,
    OpenFiles,
    all_names_in,
    attribute,
    is_text,
    names_in,
    text_of,
)

_MOST_JUDGED = 200
_MOST_TOLD = 12
_MOST_NAMED = 5
_MOST_DESCRIBED = 8
"""Further paths to a data set whose groups are asked what it is."""
_MOST_NOTED = 4000
"""Objects that are looked at for further frames where the frames are known."""

_LONGEST_IMAGE = 16
"""How many times longer than high an image may be: strips of a few modules are 8, spectra of a map more than 20."""

_MOST_FILES = 50
_LONGEST_S = 5.0
_UNREADABLE = (SourceError, OSError, RuntimeError, KeyError, ValueError, TypeError)


def recognise(files: OpenFiles, *, any_image: bool = False) -> Layout | None:
    """The largest numeric data set whose last two axes have 32 elements or more, and which is no look-alike.

    One that its group names as its signal goes before larger ones. any_image: take masks, darks and the like too.
    """
    for follow in (False, True):  # what it links to may be young, and then makes this file count as growing
        found = contents(files, MOST_OBJECTS, follow=follow)
        images = [(path, node) for path, node in found.datasets if is_images(files, path, node, SMALLEST_SIDE)]
        images.sort(key=lambda one: (not _is_signal(one[1]), -int(one[1].size)))
        for path, node in images[:_MOST_JUDGED]:
            if any_image or not refusal(files, path, node, _paths(found, node)):
                files.remark(found.unfinished)
                why = f"no convention is known; {_why(files, path, node, len(images))}"
                return Layout("largest data set", path, why)
    files.remark(found.unfinished)
    files.remark(_unnamed(found))
    return None


def _why(files: OpenFiles, path: str, node: Any, count: int) -> str:
    where = "" if node.file == files.main and text_of(node.name) == path else " that it links to"
    if count > 1 and _is_signal(node):
        return f"the signal of its group, among {count} data sets of images{where}"
    what = "the only data set" if count == 1 else f"the largest of {count} data sets"
    return f"{what} of images{where}"


def others(files: OpenFiles, taken: str) -> tuple[Alternative, ...]:
    """What else in a file has two long axes, the largest first, and why it was not taken.

    taken: the path of the frames, which are left out.
    """
    told: list[Alternative] = []
    frames = files.optional(taken) if taken and "%" not in taken else None
    found = contents(files, MOST_OBJECTS)
    for path, node in sorted(found.datasets, key=lambda one: -int(one[1].size)):
        if len(told) == _MOST_TOLD:
            break
        if _same(path, taken) or node == frames or sorted(node.shape)[-2] < (SMALLEST_SIDE if unread_kind(node) else 2):
            continue
        dtype, refused = _judged(files, path, node, _paths(found, node))
        told.append(Alternative(path, tuple(int(side) for side in node.shape), dtype, refused))
    return tuple(told)


def further_frames(files: OpenFiles, taken: str, frame_shape: tuple[int, int]) -> tuple[str, ...]:
    """Notes on the data sets of a file that are frames too and are not read, and on calibrations of their shape."""
    if "%" in taken:
        return ()
    found = contents(files, _MOST_NOTED)
    own = set(_addresses(files, taken))
    left: list[tuple[str, int]] = []
    calibrations: list[str] = []
    for path, node in found.datasets:
        if address(node) in own or any(_same(each, taken) for each in (path, *_paths(found, node))):
            continue
        if not is_images(files, path, node, min(SMALLEST_SIDE, *frame_shape)) or own & set(_sources(files, node)):
            continue
        view = view_of(files, path, node)
        reason = refusal(files, path, node, _paths(found, node), named=True)
        if not reason and min(view.frame_shape) < SMALLEST_SIDE:
            continue
        if not reason and (node.ndim > 2 or view.frame_shape == frame_shape):
            left.append((path, view.count))
        elif view.frame_shape == frame_shape and reason.startswith(("a dark", "a flat")) and "gain" not in path:
            calibrations.append(f"{view.count} in {path} ({reason.partition(' (')[0]})")
    notes = []
    if left:
        entries = {path.split("/")[1] for path, _ in left if path.count("/") > 1} - {taken.split("/")[1]}
        one, many = ("scan", "scans") if len(entries) == len(left) else ("data set of frames", "data sets of frames")
        what = (
            f"1 further {one} in this file was" if len(left) == 1 else f"{len(left)} further {many} in this file were"
        )
        notes.append(f"{what} not read: {_listed(left)}")
    if calibrations:
        notes.append(f"calibration images are no frames: {', '.join(calibrations[:_MOST_NAMED])}")
    if absent := [path for path in found.dangling if not _same(path, taken)]:
        more = f" and {len(absent) - _MOST_NAMED} more" if len(absent) > _MOST_NAMED else ""
        notes.append(f"links lead to files that are not there: {', '.join(absent[:_MOST_NAMED])}{more}")
    if unnamed := _unnamed(found):
        notes.append(unnamed)
    if found.unfinished:
        notes.append(f"{found.unfinished}, so that further frames may be in it")
    return tuple(notes)


def refusal(files: OpenFiles, path: str, node: Any, also: Sequence[str] = (), *, named: bool = False) -> str:
    """Why a data set is not taken for frames, "" where nothing speaks against it.

    also: further paths to it. named: the file is known to hold frames, so that its name says nothing.
    """
    kind = unread_kind(node) or file_look_alike(files.main) or _look_alike(files, path, node, also)
    if kind:
        return kind
    if not is_images(files, path, node, SMALLEST_SIDE):
        return f"its images have less than {SMALLEST_SIDE} rows or columns"
    height, width = sorted(view_of(files, path, node).frame_shape)
    if width > _LONGEST_IMAGE * height:
        return f"its rows are {width // height} times as long as there are of them, as spectra are"
    rows = counts_rows(files, node)
    if rows:
        return f"a list of rows ({rows})"
    if named:
        return ""
    if node.ndim == 2 and is_named_as_mask(files.state.path):
        return "a mask (the file's name says so)"
    kind = calibration_name(files.state.path)
    return f"{kind} (the file's name says so)" if kind else ""


def _look_alike(files: OpenFiles, path: str, node: Any, also: Sequence[str]) -> str | None:
    groups = []
    for each in also[:_MOST_DESCRIBED]:
        parent, _, name = each.rpartition("/")
        group = files.optional(parent or "/")
        if attribute(group, "NX_class"):
            groups.append((group, name))
    return look_alike(files, path, node, groups)


def _is_signal(node: Any) -> bool:
    return marked(node, "signal") == 1 or attribute(node.parent, "signal") == text_of(node.name).rpartition("/")[2]


def _paths(found: Contents, node: Any) -> list[str]:
    return found.also.get(address(node), [])


def _addresses(files: OpenFiles, taken: str) -> Iterator[Any]:
    """What the frames are kept in: their data set, the sources of a virtual one, the numbered ones of a group."""
    node = files.optional(taken)
    if isinstance(node, h5py.Dataset):
        yield address(node)
        yield from _sources(files, node)
    elif isinstance(node, h5py.Group):
        yield from (address(each) for each in _members(files, node))


def _members(files: OpenFiles, group: Any) -> Iterator[Any]:
    for name in names_in(group, MOST_OBJECTS):
        node = files.optional(name, group) if name.startswith("data_") else None
        if isinstance(node, h5py.Dataset):
            yield node


def _sources(files: OpenFiles, node: Any) -> Iterator[Any]:
    """The sources of a virtual data set that are open already or lie in its own file."""
    if not node.is_virtual:
        return
    for told in node.virtual_sources()[:_MOST_JUDGED]:
        inside = node.file if told.file_name == "." else files.opened(told.file_name, node)
        source = files.optional(told.dset_name, inside) if inside is not None else None
        if isinstance(source, h5py.Dataset):
            yield address(source)


def _unnamed(found: Contents) -> str:
    told = ", ".join(found.unnamed[:_MOST_NAMED])
    return f"{len(found.unnamed)} objects whose names are no UTF-8 were not looked at: {told}" if found.unnamed else ""


def _listed(left: list[tuple[str, int]]) -> str:
    told = ", ".join(f"{path} ({count} frames)" for path, count in left[:_MOST_NAMED])
    return told if len(left) <= _MOST_NAMED else f"{told} and {len(left) - _MOST_NAMED} more"


def _judged(files: OpenFiles, path: str, node: Any, also: Sequence[str]) -> tuple[str, str]:
    """The dtype of a data set, in words, and why it is not taken."""
    try:
        dtype = node.dtype
    except (TypeError, ValueError):
        return "unknown", refusal(files, path, node, also)
    return "records" if dtype.names else str(dtype), refusal(files, path, node, also)


def _same(path: str, taken: str) -> bool:
    if "%" in taken:
        before, _, after = taken.partition("%")
        return path.startswith(before) and path.endswith(after)
    return path == taken or path.startswith(f"{taken}/data_")


Address = tuple[int, int]
"""What tells an object from all others, whatever path leads to it: its file and its place in it."""


@dataclass(slots=True)
class Contents:
    """What was found in a file.

    datasets: paths and data sets of two axes or more, in the order of their depth. also: further paths to a data set.
    unfinished: why the search ended early, "" where it did not. dangling: links that lead nowhere. unnamed: what has
    a name that is no UTF-8, and was not looked at.
    """

    datasets: list[tuple[str, Any]] = field(default_factory=list)
    also: dict[Address, list[str]] = field(default_factory=dict)
    unfinished: str = ""
    dangling: list[str] = field(default_factory=list)
    unnamed: list[str] = field(default_factory=list)


def address(node: Any) -> Address:
    """What tells an object from all others."""
    info = h5py.h5o.get_info(node.id)
    return int(info.fileno), int(info.addr)


def contents(files: OpenFiles, most: int = MOST_OBJECTS, *, follow: bool = True) -> Contents:
    """The data sets of a file: first all that lie in it, then, to `follow`, what its soft and external links lead to.

    Each object is looked at once, so that links in a circle end; what cannot be opened is passed over. What was found
    in files that are open is found again without looking.
    """
    known = _known.setdefault(files, {})
    told = next(
        (
            kept
            for (limit, follows), kept in known.items()
            if follows == follow and (limit >= most or not kept.unfinished)
        ),
        None,
    )
    if told is None:
        told = known[most, follow] = _looked_into(files, most, follow)
    return told


_known: WeakKeyDictionary[OpenFiles, dict[tuple[int, bool], Contents]] = WeakKeyDictionary()


def _looked_into(files: OpenFiles, most: int, follow_links: bool) -> Contents:
    found = Contents()
    seen: dict[Address, bool] = {address(files.main): False}
    groups: deque[tuple[str, Any]] = deque([("", files.main)])
    links: deque[tuple[str, str, Any]] = deque()
    began, count = time.monotonic(), 0
    while groups or (links and follow_links):
        follow = not groups
        if follow:
            path, name, group = links.popleft()
            names = [name]
        else:
            path, group = groups.popleft()
            names = all_names_in(group, max(1, most - count))
        for name in names:
            count += 1
            if count >= most or time.monotonic() - began > _LONGEST_S:
                found.unfinished = f"the search ended after {count} objects of the file"
                return found
            if not is_text(name):
                found.unnamed.append(printable(f"{path}/{name}"))
                continue
            try:
                key = name.encode("utf-8", "surrogateescape")
                kind = group.id.links.get_info(key).type
                if kind == h5py.h5l.TYPE_HARD:
                    node = group[key]
                elif not follow:
                    links.append((path, name, group))
                    continue
                elif kind == h5py.h5l.TYPE_EXTERNAL and len(files.states) > _MOST_FILES:
                    found.unfinished = f"links to more than {_MOST_FILES} files were not all followed"
                    continue
                else:
                    node = files.find(name, group)
                _take(found, seen, groups, f"{path}/{name}", node)
            except MissingError:
                found.dangling.append(f"{path}/{name}")
            except _UNREADABLE:
                continue
    return found


def _take(found: Contents, seen: dict[Address, bool], groups: deque[tuple[str, Any]], path: str, node: Any) -> None:
    if not isinstance(node, h5py.Group | h5py.Dataset):
        return
    key = address(node)
    if key in seen:
        if seen[key]:
            found.also.setdefault(key, []).append(path)
        return
    seen[key] = isinstance(node, h5py.Dataset) and node.ndim > 1
    if seen[key]:
        found.datasets.append((path, node))
    elif isinstance(node, h5py.Group):
        groups.append((path, node))
