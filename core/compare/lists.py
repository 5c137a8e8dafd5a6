"""Selections from elsewhere: CrystFEL lists, indices, 0/1 vectors, CSV tables, Cheetah's lists, other sessions."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Literal

from photon_triage.core.cells import plain_cell
from photon_triage.core.compare.frames import KnownFrames
from photon_triage.core.errors import ExportError
from photon_triage.core.frames import FrameKey
from photon_triage.core.session.label_files import ALIASES
from photon_triage.core.session.rows import FileRow
from photon_triage.core.session.session import Session
from photon_triage.models.regular import read_regular

Kind = Literal["CrystFEL", "indices", "vector", "Cheetah", "CSV", "session", "folder", "EM", "checkpoint"]
LIMIT = 2**30
"""Bytes of a list: a longer file is none."""
_NUMBER = re.compile(r"\d+", re.ASCII)
_EVENT = re.compile(r".*\S\s+\S*//\S*$")
_CHEETAH = "# timestamp, event_id, hit, filename, index"
_HINT = (
    "A list is a CrystFEL event list, text of indices or of 0 and 1, frames.txt or cleaned.txt, a CSV table with path "
    "and index, or a session."
)


@dataclass(frozen=True, slots=True)
class LoadedList:
    """A list and the session's frames that it selects; unmatched: what it names that the session has not read."""

    name: str
    kind: Kind
    keys: frozenset[FrameKey]
    unmatched: int


def load_list(path: Path, known: KnownFrames) -> LoadedList:
    """Read a list and find its frames in a session; raises ExportError that names the line and what is allowed."""
    path = path.expanduser().absolute()
    if path.is_dir():
        if (path / "recipe.toml").is_file():
            return _session(path, known)
        return _folder(path, known)
    text = _text(path)
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    first = next((line for line in lines if line.strip()), "")
    bare = [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip() and line.strip()[0] != "#"]
    if first.startswith(_CHEETAH):
        return _loaded(path, "Cheetah", _cheetah(path, bare, known))
    if not bare:
        return _loaded(path, "indices", ())
    if all(_NUMBER.fullmatch(line) for _, line in bare):
        return _numbers(path, [int(line) for _, line in bare], known)
    if _EVENT.fullmatch(first):
        return _loaded(path, "CrystFEL", _crystfel(path, lines, known))
    return _loaded(path, "CSV", _table(path, text, known))


def _loaded(path: Path, kind: Kind, found: Iterable[FrameKey | None]) -> LoadedList:
    keys = list(found)
    return LoadedList(str(path), kind, frozenset(key for key in keys if key is not None), keys.count(None))


def _crystfel(path: Path, lines: Iterable[str], known: KnownFrames) -> Iterator[FrameKey | None]:
    """`PATH EVENT` a line, split at the last space; a path may hold spaces."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        name, _, event = line.rpartition(" ")
        if not name or "//" not in event:
            raise _unreadable(path, number, f"got {line!a}, expected a path, a space and an event such as //7")
        file, index = known.file(name, path.parent), event.removeprefix("//")
        if file is None:
            yield None
        elif _NUMBER.fullmatch(index):
            yield known.frame(file, int(index))
        else:
            yield known.of_event(file, event)


def _numbers(path: Path, numbers: list[int], known: KnownFrames) -> LoadedList:
    """Indices of one file, or a 0/1 vector: as Dragonfly tells them, by their number."""
    file = known.of_name(path.stem)
    if file is None:
        raise ExportError(
            f"Could not match {path} with frames: it holds numbers, and the session has {len(known.files)} files of "
            "which none alone has its name.",
            f"Name it {Path(known.files[0].path).stem if known.files else 'FILE'}.txt after the file that it is of.",
        )
    if len(numbers) == file.frames and max(numbers, default=2) < 2:
        return _loaded(path, "vector", (known.frame(file, place) for place, value in enumerate(numbers) if value))
    return _loaded(path, "indices", (known.frame(file, index) for index in numbers))


def _cheetah(path: Path, lines: Iterable[tuple[int, str]], known: KnownFrames) -> Iterator[FrameKey | None]:
    for number, line in lines:
        fields = [field.strip() for field in line.split(",")]
        if len(fields) < 5 or not _NUMBER.fullmatch(fields[4]):
            raise _unreadable(path, number, f"got {line!a}, expected timestamp, event_id, hit, filename, index")
        if fields[2] in ("1", "True"):
            yield _at(known.file(fields[3], path.parent), int(fields[4]), known)


def _table(path: Path, text: str, known: KnownFrames) -> Iterator[FrameKey | None]:
    """Rows with file and index; where there is a verdict and no score, the accepted ones."""
    try:
        yield from _rows(path, text, known)
    except csv.Error as error:
        raise ExportError(f"Could not read a list from {path}: {error}.", _HINT) from error


def _rows(path: Path, text: str, known: KnownFrames) -> Iterator[FrameKey | None]:
    first = text.partition("\n")[0]
    rows = csv.reader(StringIO(text, newline=""), delimiter=max(",;\t", key=first.count))
    head = [" ".join(cell.lower().replace("_", " ").split()) for cell in next(rows, [])]
    names = [ALIASES.get(name, name) for name in head]
    if "file" not in names or "index" not in names:
        raise _unreadable(path, 1, f"no column file and no column index in {first[:200]!a}")
    only_accepted = "verdict" in names and "score" not in names
    for cells in rows:
        row = {name: plain_cell(cell) for name, cell in zip(names, cells, strict=False)}
        if not any(cell.strip() for cell in cells):
            continue
        if not _NUMBER.fullmatch(row.get("index", "").strip()):
            raise _unreadable(path, rows.line_num, f"got {row.get('index', '')!a} for index, allowed: 0, 1, 2, ...")
        if not only_accepted or row.get("verdict", "").strip().lower() == "accepted":
            yield _at(known.file(row.get("file", ""), path.parent), int(row["index"]), known)


def _session(path: Path, known: KnownFrames) -> LoadedList:
    """What another session selects, by path and index, else by the frames' digests."""
    other = KnownFrames.of(Session.open(path))
    found = []
    for key in sorted(other.selected):
        here, digest = _at(known.file(key.file, path), key.index, known), other.digests[key]
        if here is None or (digest and known.digests[here] not in (None, digest)):
            here = known.of_digest(digest) if digest else None
        found.append(here)
    return _loaded(path, "session", found)


def _folder(path: Path, known: KnownFrames) -> LoadedList:
    """The lists in a folder together, such as one of indices for each file."""
    lists = [load_list(each, known) for each in sorted(path.iterdir()) if each.suffix in (".txt", ".lst", ".csv")]
    if not lists:
        raise ExportError(f"Could not read a list from {path}: there is no .txt, .lst or .csv in it.", _HINT)
    keys = frozenset[FrameKey]().union(*(each.keys for each in lists))
    return LoadedList(str(path), "folder", keys, sum(each.unmatched for each in lists))


def _at(file: FileRow | None, index: int, known: KnownFrames) -> FrameKey | None:
    return None if file is None else known.frame(file, index)


def _text(path: Path) -> str:
    try:
        return read_regular(path, LIMIT).decode("utf-8-sig", "surrogateescape")
    except OSError as error:
        raise ExportError(f"Could not read a list from {path}: {error.strerror}.", _HINT) from error


def _unreadable(path: Path, line: int, reason: str) -> ExportError:
    return ExportError(f"Could not read a list from {path}, line {line}: {reason}.", _HINT)
