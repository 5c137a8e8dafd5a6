"""HDF5 files open for one look, and the links between them, followed by hand.

HDF5 itself follows links to any file of the system; here a link leads to a regular file in the folder of the file that
was named, or in a folder that the user allows, or nowhere.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import h5py

from photon_triage.core.common.errors import ErrorKind, MissingError, NotYetError, SourceError
from photon_triage.core.sources.common.file_probe import NUMBERS, FileState, look, natural_order, translated, waited_for
from photon_triage.core.sources.common.headers import printable

_HOPS = 16


def open_hdf5(state: FileState) -> Any:
    """An h5py file that a writer does not notice.

    SWMR where the superblock says that there is such a writer, plain otherwise, never a lock: a lock held here makes
    the writer's next open fail. Without a writer SWMR only does harm: HDF5 then waits for damaged metadata to be
    repaired, longer at every attempt.
    """
    if state.swmr:
        try:
            return h5py.File(state.path, "r", swmr=True, libver="latest", locking=False)
        except (OSError, RuntimeError, ValueError):
            pass
    try:
        return h5py.File(state.path, "r", locking=False)
    except (OSError, RuntimeError) as error:
        if state.writing:  # HDF5 opens no such file, but as a reader of SWMR where that mark is there too
            reason = "its superblock says that a writer has it open"
            raise waited_for(state.path, reason, state.age, ErrorKind.MARKED_WRITING) from error
        raise


def text_of(name: str | bytes | None) -> str:
    """The name of an object, which h5py gives as bytes where it is no UTF-8."""
    return name.decode("utf-8", "surrogateescape") if isinstance(name, bytes) else name or ""


def names_in(group: Any, most: int) -> list[str]:
    """The first names of a group, none of what is no group or is damaged: its fault is not that of the others.

    Names that are no UTF-8 are left out: neither a ledger nor an exported list can hold them.
    """
    return [name for name in all_names_in(group, most) if printable(name) == name]


def all_names_in(group: Any, most: int) -> list[str]:
    """Like `names_in`, with the names that are no UTF-8."""
    try:
        return [text_of(name) for name in islice(group, most)] if isinstance(group, h5py.Group) else []
    except (OSError, RuntimeError, KeyError, ValueError):
        return []


class OpenFiles:
    """The files of one look: the one that was named, and those that it links to; closes all together.

    A link leads to a file in the folder of the one that was named, or below one of its state's roots.
    dangling: files that links name and that are not there. remarks: what was met on the way and is to be told. lazily:
    open the named file when something in it is needed.
    """

    def __init__(self, state: FileState, *, lazily: bool = False) -> None:
        self.state = state
        self.folders = (Path(state.path).parent, *map(Path, state.roots))
        self.states = {state.path: state}
        self.dangling: list[str] = []
        self.remarks: list[str] = []
        self._files = {} if lazily else {state.path: open_hdf5(state)}

    def __enter__(self) -> OpenFiles:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def main(self) -> Any:
        """The file that was named."""
        path = self.state.path
        if path not in self._files:
            self._files[path] = open_hdf5(self.state)
        return self._files[path]

    def remark(self, note: str) -> None:
        """Keep a note on the file, once; "" is none."""
        if note and note not in self.remarks:
            self.remarks.append(note)

    def size_of(self, dataset: Any) -> int:
        """The size in bytes of the file that a data set lies in."""
        return self.states[os.fsdecode(dataset.file.filename)].size

    def close(self) -> None:
        """Close every file."""
        for file in self._files.values():
            file.close()

    def linked(self, name: str, origin: Any) -> Any:
        """The file that a link in the file of `origin` names.

        Raises SourceError where it lies outside the folders, NotYetError where it is not there yet.
        """
        where = Path(os.fsdecode(origin.file.filename)).parent
        target = os.path.realpath(where / name)
        if Path(name).is_absolute() and not Path(target).is_file():  # moved since: HDF5 too tries the name alone
            target = os.path.realpath(where / Path(name).name)
        return self.at(target, name)

    def at(self, target: str, name: str) -> Any:
        """The file at a real path, which a link calls `name`; raises like `linked`."""
        if target == self.state.path:
            return self.main
        if not any(map(Path(target).is_relative_to, self.folders)):
            raise SourceError(
                f"Reading {self.state.path}: it links to {name}, which lies outside its folder.",
                "Put that file beside it, or allow its folder (--root FOLDER, or roots in the recipe's [source]).",
            )
        if target not in self._files:
            try:
                state = look(target)
            except NotYetError as error:
                self.dangling.append(name)
                message = f"Reading {self.state.path}: it links to {name}, which is not there yet."
                raise MissingError(message) from error
            with translated(target):
                self._files[target] = open_hdf5(state)
            self.states[target] = state
        return self._files[target]

    def opened(self, name: str, origin: Any) -> Any:
        """The file that a link in the file of `origin` names, None unless it is open already."""
        where = Path(os.fsdecode(origin.file.filename)).parent
        return self._files.get(os.path.realpath(where / name))

    def find(self, path: str, start: Any = None) -> Any:
        """The group or data set at `path` below `start` (the root of the named file), None if there is none."""
        node = self.main if start is None else start
        parts = deque(path.split("/"))
        hops = 0
        while parts:
            name = parts.popleft()
            if name in ("", "."):
                continue
            if not isinstance(node, h5py.Group):
                return None
            key = name.encode("utf-8", "surrogateescape")
            links = node.id.links
            if not links.exists(key):
                return None
            kind = links.get_info(key).type
            if kind == h5py.h5l.TYPE_HARD:
                node = node[key]
                continue
            hops += 1
            if hops > _HOPS:
                raise SourceError(f"Reading {self.state.path}: the links of {path} go in a circle.")
            if kind == h5py.h5l.TYPE_SOFT:
                target = links.get_val(key).decode("utf-8", "surrogateescape")
                node = node.file if target.startswith("/") else node
            elif kind == h5py.h5l.TYPE_EXTERNAL:
                file_name, inner = links.get_val(key)
                node = self.linked(os.fsdecode(file_name), node)
                target = inner.decode("utf-8", "surrogateescape")
            else:
                return None
            parts.extendleft(reversed(target.split("/")))
        return node

    def optional(self, path: str, start: Any = None) -> Any:
        """Like `find`, None also where a link leads nowhere: for what a frame can do without."""
        try:
            return self.find(path, start)
        except (SourceError, OSError, RuntimeError, KeyError, ValueError):
            return None


MOST_OBJECTS = 20_000
_MOST_TAGS = 1_000_000


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
    for name in sorted(filter(NUMBERS.search, islice(start, _MOST_TAGS)), key=natural_order):
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
