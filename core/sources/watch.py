"""What is new in a folder, by looking: network file systems tell nobody what other nodes write."""

from __future__ import annotations

import glob
import os
import re
import stat
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from photon_triage.core.sources.common.file_probe import NUMBERS, natural_order
from photon_triage.core.sources.common.formats import COMPRESSED, HDF5_SIGNATURE, START, SUFFIXES_OF, format_of

_PLAIN = tuple(suffix for suffixes in SUFFIXES_OF.values() for suffix in suffixes)
SUFFIXES = (*_PLAIN, *(suffix + ending for suffix in _PLAIN for ending in COMPRESSED))

_FULL_ROUND_S = 60.0
"""Within this time the file system is asked about every file, whatever its name tells."""
_SIGNED = 2**63 - 1
_LIVELY_S = 15.0
"""Seconds since its last change for which a file is asked about in every scan."""
_LEAST_ASKED = 100
_BETWEEN_SIGNS = 5000
_SEGMENT = re.compile(r"_data_\d+(?=\.[^.]+$)")
_NO_FRAMES = (
    ".txt .log .json .jsonl .csv .tsv .md .rst .html .xml .yaml .yml .toml .ini .cfg .conf .sh .py .ipynb .m .pdf .ps "
    ".png .jpg .jpeg .gif .bmp .svg .mp4 .avi .db .sqlite .lock .pid .lst .stream .geom .npy .npz .zip .tar .tgz .pt "
    ".pth .weights .safetensors .onnx .tmp .temp .part .partial .filepart .crdownload .swp .bak .sock ~"
)
_NEVER = tuple(_NO_FRAMES.split())
"""Endings of files that hold no frames, or that are being copied under another name; they are not opened."""

_SHORT = 16
"""Bytes from which a file's beginning tells its format."""
_MOST_UNSURE = 1000
_USER_BLOCK = 512
"""Where HDF5 begins behind a user block, as MATLAB writes it."""
FOLDERS = "folders"
"""Among the suffixes of what is ignored: folders inside the one that is watched."""


@dataclass(frozen=True, slots=True)
class WatchedFile:
    """A file as it was at a scan; the key of what it holds is (device, inode, size, mtime_ns)."""

    path: str
    size: int
    mtime_ns: int
    device: int
    inode: int


@dataclass(slots=True)
class _Folder:
    """What is known of a folder: little for each name, for there may be a hundred thousand."""

    names: set[str] = field(default_factory=set)
    """All that the folder lists."""
    files: dict[str, int | None] = field(default_factory=dict)
    """The names that are wanted, with a hash of what the file system said of each; None where it is no file to read."""
    ignored: dict[str, str] = field(default_factory=dict)
    """The other names, with their suffixes."""
    unsure: set[str] = field(default_factory=set)
    """Of those, files that are too short yet to tell their format."""
    lively: dict[str, float] = field(default_factory=dict)
    """When the files that change were last seen to."""
    round: Iterator[str] = field(default_factory=lambda: iter(()))
    owed: float = 0.0
    asked: float | None = None


class FolderWatch:
    """The new and changed files of some folders.

    paths: folders, single files, or patterns such as /data/run_*; folders are not searched below. A scan lists names,
    and asks the file system only about names that are new or have changed lately, and about some of the others, so that
    it has asked about each within a minute. Wanted are files with the endings of detector files, and those of other
    names that begin as a detector file does. Passed over are links that lead out of the folders and of `roots`, hidden
    files, FIFOs and devices, and an Eiger's numbered data files once their master file, which links to them, is there.

    gone, problems: of the last scan, the files that are not there any more, and why a folder could not be listed.
    ignored: how many names there are of what is not read, by suffix, "" for files without one; `FOLDERS` count too.
    alive: called now and then during a scan.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        suffixes: Sequence[str] = SUFFIXES,
        *,
        roots: Sequence[str] = (),
        clock: Callable[[], float] = time.monotonic,
        alive: Callable[[], None] = lambda: None,
    ) -> None:
        self._paths = [os.path.expanduser(path) for path in paths]  # noqa: PTH111 - names may hold patterns
        self._roots = [os.path.realpath(os.path.expanduser(root)) for root in roots]  # noqa: PTH111
        self._suffixes = tuple(suffix.lower() for suffix in suffixes)
        self._clock, self._alive = clock, alive
        self._folders: dict[str, _Folder] = {}
        self.problems: dict[str, str] = {}
        self.ignored: dict[str, int] = {}
        self.gone: list[str] = []

    def scan(self) -> list[WatchedFile]:
        """New or changed files since the last scan (the first time: all), by modification time, then name.

        A folder that is not there has no files; one that cannot be listed just now keeps those it had. Raises nothing.
        """
        now = self._clock()
        self.problems, self.gone = {}, []
        found: dict[str, WatchedFile] = {}
        places = dict.fromkeys(self._places())
        for place in places:
            first = place not in self._folders
            folder = self._folders.setdefault(place, _Folder())
            root, names = self._names_to_ask(place, folder, now)
            for number, name in enumerate(names):
                if number % _BETWEEN_SIGNS == 0:
                    self._alive()
                file = _ask(root, name, self._roots)
                told = None if file is None else hash((file.size, file.mtime_ns, file.device, file.inode))
                if name not in folder.files or folder.files[name] != told:
                    folder.files[name] = told
                    if file is not None:
                        found[file.path] = file
                    if not first or (file is not None and time.time() - file.mtime_ns / 1e9 < _LIVELY_S):
                        folder.lively[name] = now
                elif now - folder.lively.get(name, now) > _LIVELY_S:
                    del folder.lively[name]
        for place in self._folders.keys() - places.keys():
            del self._folders[place]
        ignored = Counter(suffix for folder in self._folders.values() for suffix in folder.ignored.values())
        self.ignored = dict(ignored.most_common())
        return sorted(found.values(), key=lambda file: (file.mtime_ns, NUMBERS.sub(_padded, file.path)))

    def _names_to_ask(self, place: str, folder: _Folder, now: float) -> tuple[str, Iterable[str]]:
        """The real folder, and the names in it that the file system is to be asked about."""
        root = os.path.realpath(place)
        try:
            listed = os.listdir(place)  # noqa: PTH208 - half the time of the alternatives
        except FileNotFoundError:
            listed = []
        except NotADirectoryError:
            root, name = os.path.split(os.path.abspath(place))  # noqa: PTH100
            return os.path.realpath(root), [name]
        except OSError as error:
            self.problems[place] = error.strerror or str(error)
            return root, ()
        self._alive()
        names = dict.fromkeys(self._changed(root, folder, listed))
        names.update(dict.fromkeys(folder.lively))
        for name in self._some_others(folder, now):
            if name in folder.files:
                names[name] = None
        return root, names

    def _changed(self, root: str, folder: _Folder, listed: list[str]) -> list[str]:
        """The names that are wanted and new in a folder; those that are gone are forgotten."""
        before = folder.names
        if len(listed) == len(before) and before.issuperset(listed):
            return self._sorted_out(root, folder, list(folder.unsure)[:_MOST_UNSURE])
        folder.names = names = set(listed)
        gone = before - names
        for name in gone:
            folder.ignored.pop(name, None)
            if folder.files.pop(name, None) is not None:
                self.gone.append(_joined(root, name))
            folder.lively.pop(name, None)
            folder.unsure.discard(name)
        new = names - before
        if any("_master." in name for name in new | gone):
            new |= {name for name in names if _SEGMENT.search(name)}
        wanted, others = [], []
        for name in new:
            if self._wanted(name, names):
                wanted.append(name)
                continue
            folder.files.pop(name, None)
            folder.lively.pop(name, None)
            if not (name.startswith(".") or name.lower().endswith(self._suffixes)):
                others.append(name)
        return wanted + self._sorted_out(root, folder, [*others, *(folder.unsure - new)][: len(others) + _MOST_UNSURE])

    def _sorted_out(self, root: str, folder: _Folder, names: list[str]) -> list[str]:
        """Of names with other suffixes those of files that begin as a detector file does; the rest is ignored."""
        wanted = []
        for number, name in enumerate(names):
            if number % _BETWEEN_SIGNS == 0:
                self._alive()
            folder.unsure.discard(name)
            suffix, shows = _sort_out(root, name, self._roots)
            if shows:
                folder.ignored.pop(name, None)
                wanted.append(name)
                continue
            if shows is None:
                folder.unsure.add(name)
            if suffix is not None:
                folder.ignored[name] = suffix
        return wanted

    def _some_others(self, folder: _Folder, now: float) -> Iterator[str]:
        """So many names, in turn, that each has its turn within a full round."""
        since = 0.0 if folder.asked is None else now - folder.asked
        folder.asked = now
        folder.owed += len(folder.files) * since / _FULL_ROUND_S
        count = min(max(int(folder.owed), _LEAST_ASKED), len(folder.files))
        folder.owed = max(folder.owed - count, 0.0)
        for _ in range(count):
            name = next(folder.round, None)
            if name is None:
                folder.round = iter(list(folder.files))
                name = next(folder.round, None)
            if name is not None:
                yield name

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


def _sort_out(root: str, name: str, roots: Sequence[str]) -> tuple[str | None, bool | None]:
    """(the suffix of a name, whether its file begins as a detector file does; None while it is too short to tell).

    The suffix is `FOLDERS` for a folder, and None for what is neither a folder nor a file that may be read.
    """
    lower = name.lower()
    stem, dot, ending = lower.rpartition(".")
    told = f".{ending}" if dot and stem and len(ending) <= 10 else ""
    if lower.endswith(_NEVER):
        return told, False
    file = _ask(root, name, roots)
    if file is None:
        return (FOLDERS if os.path.isdir(_joined(root, name)) else None), False  # noqa: PTH112
    try:
        descriptor = os.open(file.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            start = os.pread(descriptor, START, 0)
            behind = os.pread(descriptor, len(HDF5_SIGNATURE), _USER_BLOCK)
        finally:
            os.close(descriptor)
    except OSError:
        return told, False
    if len(start) < _SHORT:
        return told, None
    return told, format_of(start) is not None or behind == HDF5_SIGNATURE


def _joined(root: str, name: str) -> str:
    return f"{root.rstrip('/')}/{name}"


def _padded(number: re.Match[str]) -> str:
    return number[0].zfill(20)


def _ask(root: str, name: str, roots: Sequence[str]) -> WatchedFile | None:
    """The file of that name in a real folder as it is now, None where it is gone, no regular file, or elsewhere."""
    path = _joined(root, name)
    try:
        told = os.lstat(path)
        if stat.S_ISLNK(told.st_mode):
            path = os.path.realpath(path)
            if all(os.path.commonpath([path, folder]) != folder for folder in (root, *roots)):
                return None
            told = os.stat(path)  # noqa: PTH116
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(told.st_mode):
        return None
    # Some file systems number files beyond what a data base holds.
    return WatchedFile(path, told.st_size, told.st_mtime_ns, told.st_dev & _SIGNED, told.st_ino & _SIGNED)
