"""What is new in a folder, by looking: network file systems tell nobody what other nodes write."""

from __future__ import annotations

import glob
import os
import re
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

SUFFIXES = (".h5", ".hdf5", ".nxs", ".cxi", ".tif", ".tiff")

_FULL_ROUND = 60.0
_GROWING = 60.0
_SEGMENT = re.compile(r"_data_\d+(?=\.[^.]+$)")
_NUMBERS = re.compile(r"(\d+)")


@dataclass(frozen=True, slots=True)
class WatchedFile:
    """A file as it was at a scan; the key of what it holds is (device, inode, size, mtime_ns)."""

    path: str
    size: int
    mtime_ns: int
    device: int
    inode: int


@dataclass(slots=True)
class _Known:
    file: WatchedFile | None
    entry_inode: int
    changed: float


class FolderWatch:
    """The new and changed files of some folders.

    paths: folders, single files, or patterns such as /data/run_*; folders are not searched below. A scan lists names,
    and asks the file system only about names that are new or have changed in the last minute; once a minute it asks
    about all. Links that lead out of the folders, hidden files, FIFOs and devices are passed over, and so are an
    Eiger's numbered data files once their master file, which links to them, is there.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        suffixes: Sequence[str] = SUFFIXES,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._paths = [os.path.expanduser(path) for path in paths]  # noqa: PTH111 - names may hold patterns
        self._suffixes = tuple(suffix.lower() for suffix in suffixes)
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._full_round = -_FULL_ROUND

    def scan(self) -> list[WatchedFile]:
        """New or changed files since the last scan (the first time: all), by modification time, then name.

        A folder that is not there, or cannot be listed just now, has no files. Raises nothing.
        """
        now = self._clock()
        ask_all = now - self._full_round >= _FULL_ROUND
        if ask_all:
            self._full_round = now
        found = []
        seen = set()
        for path, inode, root in self._names():
            if path in seen:
                continue
            seen.add(path)
            known = self._known.get(path)
            if known and 0 <= inode == known.entry_inode and not ask_all and now - known.changed > _GROWING:
                continue
            file = _ask(path, root)
            if known is None or known.file != file:
                self._known[path] = _Known(file, inode, now)
                if file is not None:
                    found.append(file)
        for path in self._known.keys() - seen:
            del self._known[path]
        return sorted(found, key=lambda file: (file.mtime_ns, natural_order(file.path)))

    def _names(self) -> Iterator[tuple[str, int, str]]:
        """(path, inode of the entry, folder it must stay in) of every name that is wanted."""
        for place in self._places():
            try:
                entries = list(os.scandir(place))
            except NotADirectoryError:
                yield place, -1, os.path.dirname(os.path.realpath(place))  # noqa: PTH120
                continue
            except OSError:
                continue
            names = {entry.name for entry in entries}
            root = os.path.realpath(place)
            for entry in entries:
                if self._wanted(entry.name, names):
                    yield entry.path, entry.inode(), root

    def _places(self) -> Iterable[str]:
        for path in self._paths:
            if glob.has_magic(path) and not os.path.lexists(path):
                yield from sorted(glob.glob(path), key=natural_order)  # noqa: PTH207
            else:
                yield path

    def _wanted(self, name: str, names: set[str]) -> bool:
        if name.startswith(".") or not name.lower().endswith(self._suffixes):
            return False
        segment = _SEGMENT.search(name)
        return not (segment and f"{name[: segment.start()]}_master{name[segment.end() :]}" in names)


def natural_order(text: str) -> list[tuple[int, str]]:
    """A sorting key under which frame_9 comes before frame_10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in _NUMBERS.split(text)]


def _ask(path: str, root: str) -> WatchedFile | None:
    """The file as it is now, None where it is gone, no regular file, or elsewhere."""
    try:
        told = os.lstat(path)
        if stat.S_ISLNK(told.st_mode):
            real = os.path.realpath(path)
            if os.path.commonpath([real, root]) != root:
                return None
            told = os.stat(real)  # noqa: PTH116
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(told.st_mode):
        return None
    return WatchedFile(os.path.realpath(path), told.st_size, told.st_mtime_ns, told.st_dev, told.st_ino)
