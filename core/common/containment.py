"""Files within a session: opened only where they are regular files that lie in it, and read only up to a size.

A session may come from somebody else. What is found in it is opened through this module, so that a named pipe, a device
or a link costs one line, and nothing outside of the session is read or written in its name.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO, TextIO, cast

from photon_triage.models.common import input_files as regular
from photon_triage.models.common.input_files import RefusedError, parse_json, refused

__all__ = ["RefusedError", "parse_json", "refused"]

log = logging.getLogger("photon_triage.refused")

LARGEST_TEXT = 2**20
"""Bytes of a file that states facts: a recipe, a status, settings."""
LARGEST_TABLE = 2**29
"""Bytes of a journal, a curve or a table: millions of lines."""

_reported: set[tuple[str, str]] = set()


def require_within(path: Path, root: Path) -> Path:
    """The path with all links resolved; raises RefusedError where they lead out of the folder `root`."""
    real = Path(os.path.realpath(path))
    if not real.is_relative_to(os.path.realpath(root)):
        raise refused(path, "it is reached by a link that leads out of the session")
    return real


def open_regular(path: Path, root: Path, flags: int = os.O_RDONLY, mode: int = 0o666) -> int:
    """A descriptor of a regular file within `root`; raises RefusedError for anything else, else OSError."""
    return regular.open_regular(require_within(path, root), flags | os.O_NOFOLLOW, mode)


def open_binary(path: Path, root: Path, largest: int | None = None) -> BinaryIO:
    """A regular file of at most `largest` bytes within `root`, to read; raises RefusedError or OSError."""
    return cast(BinaryIO, _opened(path, root, largest, "rb"))


def open_text(path: Path, root: Path, largest: int | None = None, **options: Any) -> TextIO:
    """The same as text; options: those of open()."""
    return cast(TextIO, _opened(path, root, largest, "r", **options))


def open_to_append(path: Path, root: Path) -> BinaryIO:
    """A regular file within `root` to append to, made where there is none; raises RefusedError or OSError."""
    descriptor = open_regular(path, root, os.O_RDWR | os.O_APPEND | os.O_CREAT)
    return cast(BinaryIO, open(descriptor, "ab+"))  # noqa: PTH123 - a descriptor has no path


def read_bytes(path: Path, root: Path, largest: int = LARGEST_TEXT) -> bytes:
    """The content of a regular file within `root`; raises RefusedError or OSError."""
    return regular.read_regular(require_within(path, root), largest, os.O_NOFOLLOW)


def read_text(path: Path, root: Path, largest: int = LARGEST_TEXT) -> str:
    """The same as UTF-8 text with \\n as line ends; raises UnicodeDecodeError too."""
    return read_bytes(path, root, largest).decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")


def read_json(path: Path, root: Path, largest: int = LARGEST_TEXT) -> Any:
    """The JSON value in a regular file within `root`; raises RefusedError, OSError or ValueError."""
    return parse_json(read_text(path, root, largest))


def require_regular(path: Path, root: Path, largest: int | None = None) -> bool:
    """Whether there is a file, for those that a library opens by its path; raises RefusedError or OSError."""
    try:
        descriptor = open_regular(path, root)
    except FileNotFoundError:
        return False
    try:
        if largest is not None:
            regular.require_size(descriptor, path, largest)
    finally:
        os.close(descriptor)
    return True


def require_entry(path: Path, root: Path) -> bool:
    """Whether there is an entry, which then is a regular file within `root`; it is looked at and not opened.

    For files of SQLite: to close any descriptor of one would let go of the locks that this process has on it. Raises
    RefusedError.
    """
    real = require_within(path, root)
    if not os.path.lexists(path):
        return False
    if not real.is_file():
        raise refused(path, "it is no regular file")
    return True


def require_folder(path: Path, root: Path) -> None:
    """Raise RefusedError where something stands at `path` that is no folder within `root`."""
    real = require_within(path, root)
    if os.path.lexists(path) and not real.is_dir():
        raise refused(path, "it is no folder")


def make_folder(path: Path, root: Path) -> None:
    """Make a folder within `root` where there is none; raises RefusedError or OSError."""
    require_folder(path, root)
    path.mkdir(parents=True, exist_ok=True)


def make_mark(path: Path, root: Path) -> None:
    """Make an empty file within `root` that says something by being there; raises RefusedError or OSError."""
    os.close(open_regular(path, root, os.O_WRONLY | os.O_CREAT))


def regular_files(folder: Path, root: Path, *, suffix: str = "") -> list[Path]:
    """The regular files in a folder within `root` whose names end so, by name; others cost one line of log each."""
    found = []
    try:
        require_folder(folder, root)
        entries = sorted(entry.name for entry in os.scandir(folder) if entry.name.endswith(suffix))
    except FileNotFoundError:
        return []
    except OSError as error:
        report(error)
        return []
    for name in entries:
        try:
            require_within(folder / name, root)
            if not (folder / name).is_file():
                raise refused(folder / name, "it is no regular file")
            found.append(folder / name)
        except OSError as error:
            report(error)
    return found


def folders_in(folder: Path, root: Path) -> Iterator[Path]:
    """The folders in a folder within `root`; links out of it cost one line of log each. Raises OSError."""
    require_folder(folder, root)
    for entry in os.scandir(folder):
        if entry.is_dir():
            try:
                require_within(Path(entry.path), root)
            except RefusedError as error:
                report(error)
            else:
                yield Path(entry.path)


def foreign_entry(folder: Path, root: Path) -> RefusedError | None:
    """Why a folder within `root` is not looked into: it, or an entry at any depth, is no folder or regular file."""
    try:
        require_folder(folder, root)
        for place, folders, files in os.walk(folder):
            for name in (*folders, *files):
                mode = (path := Path(place, name)).lstat().st_mode
                if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                    return refused(folder, f"{path.relative_to(folder)} in it is no regular file")
    except RefusedError as error:
        return error
    except OSError as error:
        return refused(folder, error.strerror or str(error))
    return None


def report(error: OSError) -> None:
    """Log that an entry was left out, once."""
    reason = error.strerror or str(error)
    name = str(error.filename or "an entry")
    if (name, reason) not in _reported:
        _reported.add((name, reason))
        log.warning("Skipped %s: %s.", name, reason)


def _opened(path: Path, root: Path, largest: int | None, mode: str, **options: Any) -> IO[Any]:
    descriptor = open_regular(path, root)
    try:
        if largest is not None:
            regular.require_size(descriptor, path, largest)
    except BaseException:
        os.close(descriptor)
        raise
    return open(descriptor, mode, **options)  # noqa: PTH123 - a descriptor has no path
