"""Lists of frames from other programs, and selections held against labels and against each other."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Literal

from photon_triage.core.common.errors import ExportError
from photon_triage.core.compare.selected_frames import KnownFrames
from photon_triage.core.frames import FrameKey
from photon_triage.core.metrics import Confusion
from photon_triage.core.session.decisions.csv_tables import TableError, decode_table, index_of, table_rows
from photon_triage.core.session.decisions.label_files import ALIASES
from photon_triage.core.session.session import Session
from photon_triage.core.session.store.rows import FileRow
from photon_triage.models.common.input_files import read_regular

Kind = Literal["CrystFEL", "indices", "vector", "Cheetah", "CSV", "session", "folder", "EM", "checkpoint"]
LIMIT = 2**30
"""Bytes of a list: a longer file is none."""
LONGEST_LINE = 8192
"""Characters of a path and an event; Linux has no longer paths than half of it."""
_NUMBER = re.compile(r"\d+", re.ASCII)
_EVENT = re.compile(r"(?P<file>.*\S)\s+(?P<group>\S*?)//\s*(?P<place>[0-9]*(?:/[0-9]+)*)\s*", re.ASCII)
"""A path, blanks, and an event; OM leaves a blank behind the //, and streams of CrystFEL say "Event:" before it."""
_CHEETAH = "# timestamp, event_id, hit, filename, index"
_HINT = (
    "A list is a CrystFEL event list, text of indices or of 0 and 1, frames.txt or cleaned.txt, a CSV table with path "
    "and index, or a session."
)
OWN = "this session"
COMMON = "common to all lists"


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
    if _event(first):
        return _loaded(path, "CrystFEL", _crystfel(path, lines, known))
    if all(_is_file(line, path.parent, known) for _, line in bare):
        files = [known.file(line, path.parent) for _, line in bare]
        return _loaded(path, "CrystFEL", (key for file in files for key in (known.frames_of(file) if file else [None])))
    return _loaded(path, "CSV", _table(path, text, known))


def _loaded(path: Path, kind: Kind, found: Iterable[FrameKey | None]) -> LoadedList:
    keys = list(found)
    return LoadedList(str(path), kind, frozenset(key for key in keys if key is not None), keys.count(None))


def _crystfel(path: Path, lines: Iterable[str], known: KnownFrames) -> Iterator[FrameKey | None]:
    """`PATH EVENT` a line; a path may hold blanks."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        found = _event(line)
        if found is None:
            raise _unreadable(
                path, number, f"got {line[:200]!a}, expected a path, a blank and an event such as //7, or paths alone"
            )
        file = known.file(found["file"].removesuffix("Event:").rstrip(), path.parent)
        if file is None:
            yield None
        elif not found["group"] and _NUMBER.fullmatch(found["place"]):
            yield known.frame(file, int(found["place"]))
        else:
            yield known.of_event(file, f"{found['group']}//{_without_zeros(found['place'])}")


def _event(line: str) -> re.Match[str] | None:
    """The path and the event on a line; a line that is longer than any path has none."""
    return _EVENT.fullmatch(line) if "//" in line and len(line) <= LONGEST_LINE else None


def _is_file(line: str, folder: Path, known: KnownFrames) -> bool:
    """Whether a line is the path of a file alone, which means all its frames."""
    return len(line) <= LONGEST_LINE and (known.file(line, folder) is not None or os.path.isfile(folder / line))  # noqa: PTH113 - false, not an error, for names that no file can have


def _without_zeros(place: str) -> str:
    return "/".join(str(int(part)) if part else "" for part in place.split("/"))


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
    columns: list[str] = []

    def names_of(head: list[str]) -> list[str]:
        names = [" ".join(cell.lower().replace("_", " ").split()) for cell in head]
        columns.extend(ALIASES.get(name, name) for name in names)
        if "file" not in columns or "index" not in columns:
            raise ValueError(f"no column file and no column index in {ascii(head)[:200]}")
        return columns

    try:
        for row in table_rows(text, names_of):
            try:
                index, file = index_of(row.cells.get("index", "")), row.cells.get("file", "")
            except ValueError as error:
                raise TableError(row.line, str(error)) from None
            only_accepted = "verdict" in columns and "score" not in columns
            if not only_accepted or row.cells.get("verdict", "").strip().lower() in ("accepted", "accept"):
                yield _at(known.file(file, path.parent), index, known)
    except TableError as error:
        raise _unreadable(path, error.line, str(error)) from error


def _session(path: Path, known: KnownFrames) -> LoadedList:
    """What another session selects, by path and index, else by the frames' digests."""
    other = KnownFrames.of(Session.open(path))
    found = []
    for key in sorted(other.selected):
        here, digest = _at(known.file(key.file, path), key.index, known), other.digests.get(key)
        if here is None or (digest and known.digests.get(here) not in (None, digest)):
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
        return decode_table(read_regular(path, LIMIT))
    except OSError as error:
        raise ExportError(f"Could not read a list from {path}: {error.strerror}.", _HINT) from error
    except TableError as error:
        raise _unreadable(path, error.line, str(error)) from error


def _unreadable(path: Path, line: int, reason: str) -> ExportError:
    place = f", line {line}" if line else ""
    return ExportError(f"Could not read a list from {path}{place}: {reason}.", _HINT)


@dataclass(frozen=True, slots=True)
class AgainstLabels:
    """A selection: its frames, its entries that the session has not read, and the labelled frames by both."""

    name: str
    kind: str
    selected: int
    unmatched: int
    confusion: Confusion


@dataclass(frozen=True, slots=True)
class AgainstAnother:
    """Two selections over all frames that were read, the second taken for the truth."""

    first: str
    second: str
    confusion: Confusion


@dataclass(frozen=True, slots=True)
class ComparisonTable:
    """The table. common: the frames that all lists hold."""

    frames: int
    lists: tuple[AgainstLabels, ...]
    pairs: tuple[AgainstAnother, ...]
    common: frozenset[FrameKey]


def compare(known: KnownFrames, lists: Sequence[LoadedList], members: Sequence[LoadedList] = ()) -> ComparisonTable:
    """Hold lists, what they have in common and the session's own selection against its labels; and each pair.

    members: what lists were made of, held against the labels alone.
    """
    common = frozenset.intersection(*(each.keys for each in lists)) if lists else frozenset()
    every = [LoadedList(OWN, "session", known.selected, 0), *lists]
    shown = [*every, LoadedList(COMMON, "session", common, 0)] if len(lists) > 1 else every
    shown = [*members, *shown]
    against = tuple(
        AgainstLabels(each.name, each.kind, len(each.keys), each.unmatched, _with_labels(each.keys, known.labels))
        for each in shown
    )
    pairs = tuple(
        AgainstAnother(one.name, other.name, _with_another(one.keys, other.keys, known.count))
        for one, other in combinations(every, 2)
    )
    return ComparisonTable(known.count, against, pairs, common)


def _with_labels(keys: Set[FrameKey], labels: Mapping[FrameKey, bool]) -> Confusion:
    tp = sum(true and key in keys for key, true in labels.items())
    fp = sum(not true and key in keys for key, true in labels.items())
    positives = sum(labels.values())
    return Confusion(tp, fp, positives - tp, len(labels) - positives - fp)


def _with_another(keys: Set[FrameKey], others: Set[FrameKey], frames: int) -> Confusion:
    both = len(keys & others)
    return Confusion(both, len(keys) - both, len(others) - both, frames - len(keys | others))
