"""Labels as CSV tables: file, dataset, index, verdict, class, who, time; x and y where they are of candidates."""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from operator import attrgetter
from pathlib import Path

from photon_triage.core.common.atomic import atomic_file
from photon_triage.core.common.errors import LabelError
from photon_triage.core.common.text_safety import csv_lines
from photon_triage.core.frames import FrameKey
from photon_triage.core.session.decisions.csv_tables import (
    TableError,
    decode_table,
    file_of,
    index_of,
    latin1,
    point_of,
    table_rows,
    time_of,
    verdict_of,
)
from photon_triage.core.session.decisions.labels import VERDICTS, Label
from photon_triage.core.session.store.rows import FileRow

COLUMNS = ("file", "dataset", "index", "verdict", "class", "who", "time")
DIGEST, CHANGED = "digest", "changed"
"""Written where labels have them: the digest of the frame's bytes that a label was given on; "yes" where the frame has
changed since."""
POINT_COLUMNS = ("x", "y")
"""Pixels of the whole frame, x along a row; written where a table holds candidates."""
ALIASES = {
    "path": "file",
    "filename": "file",
    "file name": "file",
    "data set": "dataset",
    "frame": "index",
    "label": "verdict",
    "decision": "verdict",
    "category": "class",
    "labelled by": "who",
    "user": "who",
    "labelled at": "time",
}
_DIGEST = re.compile(r"[!-~]{0,128}")

_ALLOWED = (
    f"Columns are {','.join(COLUMNS)}; verdict is {', '.join(VERDICTS[:-1])} or {VERDICTS[-1]}, or empty where a class "
    "is given; index counts from 0; time is ISO 8601 or Unix time, not in the future; x and y, for candidates, are "
    "pixels."
)


@dataclass(frozen=True)
class LabelTable:
    """The labels of a table in its order, the line that each begins on, and what is to be said of the table.

    changed: how many labels were left out, because the table marks their frames as changed since.
    """

    path: Path
    labels: tuple[Label, ...]
    lines: tuple[int, ...]
    notes: tuple[str, ...] = ()
    changed: int = 0


def read_labels(path: Path) -> list[Label]:
    """The labels of a CSV table, in its order, but those of frames that have changed since; see `read_table`."""
    return list(read_table(path).labels)


def read_table(path: Path, first_index: int = 0) -> LabelTable:
    """Read a CSV table of labels whose frames count from `first_index`.

    A relative file name starts at the table's own folder. The separator may be a comma, a semicolon or a tab; columns
    beyond `COLUMNS`, `POINT_COLUMNS`, `DIGEST` and `CHANGED` are ignored. A label with x and y is of a candidate.
    Without a verdict the class decides: "single" is accepted, any other rejected. Without a time the table's own
    counts. A last line that does not end and cannot be read is still being written: it is left out, and a note says so.
    Raises LabelError that names the line and what is allowed.
    """
    try:
        content = path.read_bytes()
        written = min(path.stat().st_mtime, time.time())
    except OSError as error:
        raise LabelError(
            f"Could not read labels from {path}: {error.strerror}.", "Name a CSV file that you may read."
        ) from error
    labels, lines, notes, changed = [], [], [], 0
    folder = str(path.resolve().parent)

    @lru_cache(maxsize=4096)
    def named(cell: str) -> str:
        file = file_of(cell, folder)
        return known if not os.path.lexists(file) and os.path.lexists(known := latin1(file)) else file

    try:
        for row in table_rows(decode_table(content), _header):
            try:
                label = _label(row.cells, named, written, first_index)
            except ValueError as error:
                if not row.is_torn:
                    raise TableError(row.line, str(error)) from error
                notes.append(f"line {row.line} has no end and cannot be read ({error}): it was left out")
                continue
            if _is_changed(row.cells):
                changed += 1
            else:
                labels.append(label)
                lines.append(row.line)
    except TableError as error:
        place = f", line {error.line}" if error.line else ""
        raise LabelError(f"Could not read labels from {path}{place}: {error}.", _ALLOWED) from error
    notes += _contradictions(labels)
    return LabelTable(path, tuple(labels), tuple(lines), tuple(notes), changed)


def write_labels(path: Path, labels: Iterable[Label], changed: Iterable[Label] = ()) -> int:
    """Write labels as a CSV table that read_labels reads, whole or not at all; returns how many.

    Times are ISO 8601 in UTC, to the microsecond. changed: labels of frames that have changed since; they are written
    among the others, by their keys, and marked. Raises LabelError.
    """
    kept, marked = list(labels), list(changed)
    if marked:
        kept = sorted([*kept, *marked], key=attrgetter("key"))
    columns: tuple[str, ...] = COLUMNS
    rows: list[tuple[str, ...]] = [_row(label) for label in kept]
    if any(label.key.point for label in kept):
        columns = (*columns, *POINT_COLUMNS)
        rows = [(*row, *map(str, label.key.point or ("", ""))) for row, label in zip(rows, kept, strict=True)]
    if any(label.digest for label in kept):
        columns = (*columns, DIGEST)
        rows = [(*row, label.digest) for row, label in zip(rows, kept, strict=True)]
    if marked:
        columns, keys = (*columns, CHANGED), {label.key for label in marked}
        rows = [(*row, "yes" if label.key in keys else "") for row, label in zip(rows, kept, strict=True)]
    try:
        with atomic_file(path) as file:
            file.writelines(csv_lines([columns, *rows]))
    except OSError as error:
        raise LabelError(
            f"Could not write labels to {path}: {error.strerror or error}.", "Choose a folder that you may write to."
        ) from error
    except UnicodeEncodeError as error:
        raise LabelError(
            f"Could not write labels to {path}: {error.object!a} cannot be written as text.",
            "Rename that file or give the labeller another name.",
        ) from error
    return len(rows)


def match_files(labels: Iterable[Label], files: Iterable[FileRow]) -> list[Label]:
    """The same labels under the names that a session has for their files, or will have.

    A file is the same under another path (a link), and an empty data set means the file's own. Where there is no file
    of that path, as in a table that was moved away from its data, it is the one file of that name, unless another file
    of that name is labelled, too, or a label is of a frame that the file does not have. Labels of files that the
    session does not know have the file's real path: under that the session will know it.
    """
    kept = list(labels)
    reach: dict[str, int] = {}
    for label in kept:
        reach[label.key.file] = max(reach.get(label.key.file, 0), label.key.index + 1)
    rows = _rows_of(reach, list(files))
    found = []
    for label in kept:
        key = _key_in(label.key, rows[label.key.file])
        found.append(label if key == label.key else replace(label, key=key))
    return found


def checked_frames(
    table: LabelTable, labels: Sequence[Label], files: Iterable[FileRow], first_index: int = 0
) -> list[str]:
    """Notes on the labels of a table, as `match_files` gives them, that count only later or never.

    Raises LabelError, with the line, where a file that was read to its end has no such data set, frame or pixel.
    """
    known = {row.path: row for row in files}
    complete = {path: row for path, row in known.items() if row.status == "complete"}
    wrong = [
        (line, reason)
        for label, line in zip(labels, table.lines, strict=True)
        if label.key.file in complete and (reason := _impossible(label.key, complete[label.key.file], first_index))
    ]
    if wrong:
        line, reason = wrong[0]
        others = f" So are {len(wrong) - 1} further lines." if len(wrong) > 1 else ""
        raise LabelError(
            f"Could not import labels from {table.path}, line {line}: {reason}.{others}",
            "Does the table count frames from 1? Then give --first-index 1."
            if first_index == 0 and _count_from_one(labels, complete)
            else "Correct the line or remove it; nothing was imported.",
        )
    notes = []
    of_files = Counter(label.key.file for label in labels)
    later = sum(label.key.file in known and label.key.index >= known[label.key.file].frames for label in labels)
    if later:
        notes.append(f"{later} are of frames that their files do not have yet; they count when they come.")
    gone = [file for file in of_files if file not in known and not os.path.lexists(file)]
    if gone:
        count = sum(of_files[file] for file in gone)
        notes.append(f"{count} are of files that do not exist and that the session does not know, such as {gone[0]}.")
    return notes


def latest_labels(labels: Iterable[Label]) -> dict[FrameKey, Label]:
    """The label of each frame that has the latest time; of those with the same time, the one that comes last."""
    latest: dict[FrameKey, Label] = {}
    for label in labels:
        if label.key not in latest or label.time >= latest[label.key].time:
            latest[label.key] = label
    return latest


def iso_time(seconds: float) -> str:
    """A Unix time as ISO 8601 in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def _impossible(key: FrameKey, row: FileRow, first_index: int) -> str:
    """Why a file that was read to its end cannot have this frame, "" where it can."""
    name = Path(row.path).name
    if key.dataset != row.dataset:
        return f"it is of the data set {key.dataset!a}, and {name} was read from {row.dataset!a}"
    if key.index >= row.frames:
        last = row.frames + first_index - 1
        return f"it is of frame {key.index + first_index}, and {name} has {row.frames}, {first_index} to {last}"
    if key.point and row.width and not (key.point[0] < row.width and key.point[1] < row.height):
        return f"it is of pixel {key.point[0]}, {key.point[1]}, and frames of {name} have {row.width} x {row.height}"
    return ""


def _count_from_one(labels: Iterable[Label], complete: Mapping[str, FileRow]) -> bool:
    """Whether every index of the files that were read would fit, were the first frame number 1."""
    indices = [(label.key.index, complete[label.key.file].frames) for label in labels if label.key.file in complete]
    return all(1 <= index <= frames for index, frames in indices)


def _key_in(key: FrameKey, row: FileRow | str) -> FrameKey:
    if isinstance(row, str):
        return replace(key, file=row)
    if key.file == row.path and key.dataset == row.dataset:
        return key
    is_same = not key.dataset or key.dataset.strip("/") == row.dataset.strip("/")
    return replace(key, file=row.path, dataset=row.dataset if is_same else key.dataset)


def _rows_of(reach: Mapping[str, int], files: Sequence[FileRow]) -> dict[str, FileRow | str]:
    """Which file of a session each path means, else its real path; reach: how many frames it must have at least."""
    known = {row.path: row for row in files}
    found: dict[str, FileRow | str] = {path: known[path] for path in reach if path in known}
    if len(found) < len(reach):
        real = {os.path.realpath(path): row for path, row in known.items()}
        for path in reach.keys() - found.keys():
            found[path] = real.get(place := os.path.realpath(path), place)
    named: dict[str, list[FileRow]] = {}
    for row in files:
        named.setdefault(Path(row.path).name, []).append(row)
    meant = {row.path if isinstance(row, FileRow) else row for row in found.values()}
    labelled = Counter(Path(path).name for path in meant)
    for path, meaning in found.items():
        if isinstance(meaning, str) and labelled[name := Path(meaning).name] == 1 and not Path(meaning).exists():
            rows = named.get(name, [])
            if len(rows) == 1 and reach[path] <= rows[0].frames:
                found[path] = rows[0]
    return found


def _header(cells: list[str]) -> list[str]:
    """The columns that cells name, "" for those not known; raises ValueError where needed ones are missing."""
    names: list[str] = []
    for cell in cells:
        name = " ".join(cell.lower().replace("_", " ").split())
        name = ALIASES.get(name, name)
        names.append(name if name in (*COLUMNS, *POINT_COLUMNS, DIGEST, CHANGED) and name not in names else "")
    missing = [name for name in ("file", "index") if name not in names]
    if not {"verdict", "class"} & set(names):
        missing.append("verdict")
    if missing:
        raise ValueError(f"no column {' and no column '.join(missing)} in {ascii(cells)[:500]}")
    return names


def _label(row: Mapping[str, str], named: Callable[[str], str], written: float, first_index: int) -> Label:
    """The label of a row, with the path that `named` gives its file; raises ValueError that says what is wrong."""
    dataset, who, category = (latin1(row.get(name, "")) for name in ("dataset", "who", "class"))
    file, point = named(row.get("file", "")), point_of(row.get("x", ""), row.get("y", ""))
    key = FrameKey(file, dataset, index_of(row.get("index", ""), first_index), point)
    when = time_of(cell) if (cell := row.get("time", "").strip()) else written
    return Label(key, verdict_of(row.get("verdict", ""), category), who, when, category, _digest(row.get(DIGEST, "")))


def _digest(cell: str) -> str:
    if not _DIGEST.fullmatch(cell.strip()):
        raise ValueError(f"got {cell[:40]!a} for digest, allowed: up to 128 characters without spaces, or nothing")
    return cell.strip()


def _is_changed(row: Mapping[str, str]) -> bool:
    return row.get(CHANGED, "").strip().lower() not in ("", "no", "0", "false")


def _contradictions(labels: Sequence[Label]) -> list[str]:
    """A note where one person says two things of a frame at one time: nothing tells which is meant."""
    said: dict[tuple[FrameKey, str, float], str] = {}
    contradicted = {
        label.key
        for label in labels
        if said.setdefault((label.key, label.who, label.time), label.verdict) != label.verdict
    }
    if not contradicted:
        return []
    return [f"{len(contradicted)} frames have two verdicts of the same time: the later line counts"]


def _row(label: Label) -> tuple[str, ...]:
    key = label.key
    return (key.file, key.dataset, str(key.index), label.verdict, label.category, label.who, iso_time(label.time))
