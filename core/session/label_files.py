"""Labels as CSV tables: file, dataset, index, verdict, class, who, time; x and y where they are of candidates."""

from __future__ import annotations

import csv
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from io import StringIO
from operator import attrgetter
from pathlib import Path
from typing import cast

from photon_triage.core.atomic import atomic_file
from photon_triage.core.cells import csv_lines, plain_cell
from photon_triage.core.errors import LabelError
from photon_triage.core.frames import FrameKey
from photon_triage.core.session.labels import VERDICTS, Label, Verdict
from photon_triage.core.session.rows import FileRow

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
ACCEPTED_CLASS = "single"
"""Where a table gives a class and no verdict, this one is accepted and every other rejected."""


def read_labels(path: Path) -> list[Label]:
    """The labels of a CSV table, in its order, but those of frames that have changed since; see read_table."""
    return read_table(path)[0]


def read_table(path: Path) -> tuple[list[Label], int]:
    """The labels of a CSV table, in its order, and how many were left out: their frames have changed since.

    A relative file name starts at the table's own folder. The separator may be a comma, a semicolon or a tab; columns
    beyond `COLUMNS`, `POINT_COLUMNS`, `DIGEST` and `CHANGED` are ignored. A label with x and y is of a candidate.
    Without a verdict the class decides: "single" is accepted, any other rejected. Without a time the table's own
    counts. A last line that does not end and cannot be read is still being written, and is left out. Raises LabelError
    that names the line and what is allowed.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig", "surrogateescape")
        written = path.stat().st_mtime
    except OSError as error:
        raise LabelError(
            f"Could not read labels from {path}: {error.strerror}.", "Name a CSV file that you may read."
        ) from error
    labels, changed = [], 0
    for number, row, last in _rows(path, text):
        try:
            label = _label(row, path.resolve().parent, written)
            if _is_changed(row):
                changed += 1
            else:
                labels.append(label)
        except ValueError as error:
            if last and not text.endswith(("\n", "\r")):
                break
            raise LabelError(f"Could not read labels from {path}, line {number}: {error}.", _ALLOWED) from error
    return labels, changed


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
    return [replace(label, key=_key_in(label.key, rows[label.key.file])) for label in kept]


def latest_labels(labels: Iterable[Label]) -> dict[FrameKey, Label]:
    """The label of each frame that has the latest time; of those with the same time, the one that comes last."""
    latest: dict[FrameKey, Label] = {}
    for label in labels:
        if label.key not in latest or label.time >= latest[label.key].time:
            latest[label.key] = label
    return latest


def _key_in(key: FrameKey, row: FileRow | str) -> FrameKey:
    if isinstance(row, str):
        return replace(key, file=row)
    return replace(key, file=row.path, dataset=key.dataset or row.dataset)


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


_ALLOWED = (
    f"Columns are {','.join(COLUMNS)}; verdict is {', '.join(VERDICTS[:-1])} or {VERDICTS[-1]}, or empty where a class "
    "is given; index counts from 0; time is ISO 8601; x and y, for candidates, are pixels."
)


def _rows(path: Path, text: str) -> Iterator[tuple[int, dict[str, str], bool]]:
    """(line number, cells by column, whether it is the last one) of every row that is not empty."""
    first = text.partition("\n")[0]
    reader = csv.reader(StringIO(text, newline=""), delimiter=max(",;\t", key=first.count))
    names: list[str] | None = None
    waiting: tuple[int, dict[str, str]] | None = None
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if names is None:
                names = _header(path, cells)
                continue
            if waiting:
                yield *waiting, False
            waiting = (reader.line_num, {name: plain_cell(c) for name, c in zip(names, cells, strict=False) if name})
    except csv.Error as error:
        raise LabelError(f"Could not read labels from {path}, line {reader.line_num}: {error}.", _ALLOWED) from error
    if names is None:
        raise LabelError(f"Could not read labels from {path}: it is empty.", _ALLOWED)
    if waiting:
        yield *waiting, True


def _header(path: Path, cells: list[str]) -> list[str]:
    names = []
    for cell in cells:
        name = " ".join(cell.lower().replace("_", " ").split())
        name = ALIASES.get(name, name)
        names.append(name if name in (*COLUMNS, *POINT_COLUMNS, DIGEST, CHANGED) and name not in names else "")
    missing = [name for name in ("file", "index") if name not in names]
    if not {"verdict", "class"} & set(names):
        missing.append("verdict")
    if missing:
        raise LabelError(
            f"Could not read labels from {path}, line 1: no column {' and no column '.join(missing)} in {cells!a}.",
            _ALLOWED,
        )
    return names


def _label(row: dict[str, str], folder: Path, written: float) -> Label:
    """The label of a row; raises ValueError that says what is wrong with it."""
    file = row.get("file", "")
    if not file:
        raise ValueError("the file is empty")
    point = _point(row.get("x", "").strip(), row.get("y", "").strip())
    key = FrameKey(_absolute(file, folder), row.get("dataset", ""), _index(row.get("index", "")), point)
    category = row.get("class", "")
    verdict, digest = _verdict(row.get("verdict", ""), category), _digest(row.get(DIGEST, "").strip())
    return Label(key, verdict, row.get("who", ""), _time(row, written), category, digest)


def _digest(cell: str) -> str:
    if not _DIGEST.fullmatch(cell):
        raise ValueError(f"got {cell[:40]!a} for digest, allowed: up to 128 characters without spaces, or nothing")
    return cell


def _is_changed(row: Mapping[str, str]) -> bool:
    return row.get(CHANGED, "").strip().lower() not in ("", "no", "0", "false")


def _absolute(file: str, folder: Path) -> str:
    return file if Path(file).is_absolute() else os.path.normpath(folder / file)


def _index(cell: str) -> int:
    if not (cell.strip().isascii() and cell.strip().isdecimal()):
        raise ValueError(f"got {cell!a} for index, allowed: 0, 1, 2, ...")
    return int(cell)


def _point(x: str, y: str) -> tuple[int, int] | tuple[()]:
    """The nearest pixel of a candidate, none for two empty cells."""
    if not x and not y:
        return ()
    try:
        return round(float(x)), round(float(y))
    except (ValueError, OverflowError):
        raise ValueError(f"got {x!a}, {y!a} for x, y, allowed: two numbers, or both empty") from None


def _verdict(cell: str, category: str) -> Verdict:
    verdict, category = cell.strip().lower(), category.strip().lower()
    if not verdict and category:
        return "accepted" if category == ACCEPTED_CLASS else "rejected"
    if verdict not in VERDICTS:
        raise ValueError(f"got {cell!a} for verdict, allowed: {', '.join(VERDICTS)}")
    return cast("Verdict", verdict)


def _time(row: dict[str, str], written: float) -> float:
    cell = row.get("time", "").strip()
    if not cell:
        return written
    try:
        moment = datetime.fromisoformat(cell)
    except ValueError as error:
        raise ValueError(f"got {cell!a} for time, allowed: ISO 8601 as in 2026-03-01T12:00:00Z") from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def iso_time(seconds: float) -> str:
    """A Unix time as ISO 8601 in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def _row(label: Label) -> tuple[str, ...]:
    key = label.key
    return (key.file, key.dataset, str(key.index), label.verdict, label.category, label.who, iso_time(label.time))
