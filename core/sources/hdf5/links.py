"""HDF5 files open for one look, the links between them, followed by hand, and the small values that they lead to.

HDF5 itself follows links to any file of the system; here a link leads to a regular file in the folder of the file that
was named, or in a folder that the user allows, or nowhere.
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from photon_triage.core.common.errors import ErrorKind, MissingError, NotYetError, SourceError
from photon_triage.core.sources.common.file_probe import FileState, translated, waited_for
from photon_triage.core.sources.common.names import natural_order
from photon_triage.core.sources.registry import look

_HOPS = 16

MOST_OBJECTS = 20_000
_MOST_TAGS = 1_000_000
_NUMBERS = re.compile(r"(\d+)")
_LONGEST_TEXT = 4096
_MOST_TEXTS = 16
_MOST_NUMBERS = 2_000_000
_SAME = 1e-6
"""Values of which the largest and the least differ by less of their size are one value."""


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
    return [name for name in all_names_in(group, most) if is_text(name)]


def is_text(name: str) -> bool:
    """Whether a name is UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


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
    for name in sorted(filter(_NUMBERS.search, islice(start, _MOST_TAGS)), key=natural_order):
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
