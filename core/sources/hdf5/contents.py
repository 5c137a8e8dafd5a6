"""The objects of an HDF5 file, each once, those near the root first, links last and within bounds."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import h5py

from photon_triage.core.common.errors import MissingError, SourceError
from photon_triage.core.sources.common.headers import printable
from photon_triage.core.sources.hdf5.links import OpenFiles, all_names_in

MOST_OBJECTS = 20_000
_MOST_FILES = 50
_LONGEST_S = 5.0
_UNREADABLE = (SourceError, OSError, RuntimeError, KeyError, ValueError, TypeError)

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
            if printable(name) != name:
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
