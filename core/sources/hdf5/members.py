"""The data sets that together are one stack: numbered ones in a group, or one in each of many groups."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

import h5py

from photon_triage.core.sources.hdf5.links import OpenFiles, names_in

MOST_OBJECTS = 20_000
_MOST_TAGS = 1_000_000
_NUMBERS = re.compile(r"(\d+)")


def numbered_members(group: Any) -> list[str]:
    """The names data_000001, data_000002 ... of a group, in order."""
    names = (name for name in names_in(group, MOST_OBJECTS) if name.startswith("data_") and name[5:].isdigit())
    return sorted(names, key=lambda name: int(name[5:]))


def tagged_members(files: OpenFiles, pattern: str) -> list[str]:
    """The data sets that a pattern such as /%/data names, in the order of the numbers in the groups' names.

    CrystFEL's notation: "%" stands for the name of any group. A group without that data set is passed over.
    """
    parts = [part for part in pattern.split("/") if part]
    return [f"/{path}" for path in _expanded(files, files.main, parts, "")] if "%" in parts else [f"/{pattern}"]


def _expanded(files: OpenFiles, group: Any, parts: list[str], prefix: str) -> Iterator[str]:
    place = parts.index("%")
    start = files.find("/".join(parts[:place]), group) if place else group
    if not isinstance(start, h5py.Group):
        return
    before = f"{prefix}{'/'.join(parts[:place])}/" if place else prefix
    rest = parts[place + 1 :]
    for name in sorted(filter(_NUMBERS.search, islice(start, _MOST_TAGS)), key=_natural):
        if not _is_group_with(start, name, rest[0] if rest else ""):
            continue
        if "%" in rest:
            yield from _expanded(files, start[name], rest, f"{before}{name}/")
        else:
            yield f"{before}{'/'.join((name, *rest))}"


def _is_group_with(group: Any, name: str, child: str) -> bool:
    """Whether a group has a child `name`, no link, with that child in turn; nothing is opened for it."""
    links, key = group.id.links, name.encode("utf-8", "surrogateescape")
    if links.get_info(key).type != h5py.h5l.TYPE_HARD:
        return False
    if child == "%":
        return isinstance(group[name], h5py.Group)
    if group.get(name, getclass=True) is not h5py.Group:
        return False
    return not child or bool(links.exists(key + b"/" + child.encode("utf-8", "surrogateescape")))


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in _NUMBERS.split(name)]
