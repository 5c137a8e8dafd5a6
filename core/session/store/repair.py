"""results.db made again from what can be read of a damaged one; the engine reads the rest again."""

from __future__ import annotations

import sqlite3
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from photon_triage.core.common.atomic import atomic_path
from photon_triage.core.common.errors import SessionError
from photon_triage.core.common.index_ranges import Spans
from photon_triage.core.session.store import database
from photon_triage.core.session.store.rows import HISTORY_BIN_S
from photon_triage.core.session.store.validity import add_functions, conditions, described, invalid_rows

_BLOCK = 4096
_MOST_ROWS = 200_000
"""Rows that are looked for where a table does not tell its last one."""
_HIGHEST = 50_000_000
_LEAST_FAILURES, _FAILURES_A_PAGE = 2000, 8
"""Reads of a table that may fail: a damaged page costs a few, and where all fail nothing can be read at all."""
_SMALLEST_ROW = 12
"""Bytes that a row takes at least."""
_FILE = f"{database.FILE_COLUMNS}, device, inode, notes, replaced"
_FRAME = "id, file_id, idx, seen, passed, hit, score, model_id, digest, measures, changed"
_MISSING = {"device": "0", "inode": "0", "notes": "'[]'", "replaced": "0", "changed": "NULL"}
"""What stands for columns that an older data base has not."""
_FINDS = {
    "detections": "frame_id, class, score, x, y, width, height",
    "candidates": "frame_id, x, y, score",
    "masks": "frame_id, y, x, background, classes, png",
    "scores": "frame_id, model_id, score",
    "former_candidates": "frame_id, model_id, x, y, score",
}


@dataclass(frozen=True, slots=True)
class Repaired:
    """What a repair has saved: files and frames; frames that the files say they hold besides; where the old one is."""

    files: int
    frames: int
    to_read_again: int
    set_aside: Path


def problem(path: Path) -> str:
    """What is wrong with a data base, "" where nothing is; reads all of it."""
    try:
        db = database.connect_to_read(path)
        try:
            found = [str(row[0]) for row in db.execute("PRAGMA integrity_check(5)")]
            db.execute("SELECT count(*) FROM files, state").fetchone()
            if found == ["ok"] and (invalid := invalid_rows(db)):
                return f"rows that cannot be right: {described(invalid)}"
        finally:
            db.close()
    except sqlite3.Error as error:
        return str(error)
    return "" if found == ["ok"] else "; ".join(found)


def repair(path: Path, advance: Callable[[int], None] = lambda frames: None) -> Repaired:
    """Make results.db again; no engine may be at work. The damaged one is kept beside it.

    Frames whose rows cannot be read are read again by the next engine. advance: called with the frames that were saved
    so far. Raises SessionError.
    """
    aside = path.with_name(f"results-damaged-{time.strftime('%Y%m%d-%H%M%S')}.db")
    try:
        with atomic_path(path) as partial:
            database.make(partial)
            new = database.connect(partial)
            old = database.connect(path)
            old.text_factory = _text
            try:
                # A table whose description can be read is read although that of another, or of an index, cannot.
                old.execute("PRAGMA writable_schema=ON")
                with suppress(sqlite3.Error):
                    database.require_tables(old, path)
                with new:
                    files, frames, more = _save(old, new, advance)
            finally:
                old.close()
                new.close()
            for ending in ("", "-wal"):
                with suppress(FileNotFoundError):
                    path.with_name(path.name + ending).rename(aside.with_name(aside.name + ending))
            path.with_name(path.name + "-shm").unlink(missing_ok=True)
    except (OSError, sqlite3.Error) as error:
        raise SessionError(
            f"Could not repair {path}: {getattr(error, 'strerror', None) or error}.",
            "Free space on that disk; nothing was changed.",
        ) from error
    return Repaired(files, frames, more, aside)


def _save(old: sqlite3.Connection, new: sqlite3.Connection, advance: Callable[[int], None]) -> tuple[int, int, int]:
    new.executemany("INSERT OR IGNORE INTO models (id, name) VALUES (?, ?)", _rows(old, "models", "id, name"))
    recorded: dict[int, Spans] = {}
    for row in _rows(old, "files", _there(old, "files", _FILE)):
        if isinstance(row[0], int):
            new.execute(f"INSERT OR IGNORE INTO files ({_FILE}) VALUES ({','.join('?' * len(row))})", row)
            recorded[row[0]] = Spans()
    frames = 0
    finds = {table: columns for table, columns in _FINDS.items() if _has(old, table, columns)}
    for row in _rows(old, "frames", _there(old, "frames", _FRAME)):
        if row[1] in recorded and isinstance(row[2], int):
            frames += _save_frame(old, new, row, finds)
            if frames % 1000 == 0:
                advance(frames)
    _drop_invalid(new)
    recorded = {file_id: Spans() for (file_id,) in new.execute("SELECT id FROM files")}
    for file_id, index in new.execute("SELECT file_id, idx FROM frames ORDER BY file_id, idx"):
        recorded[file_id].add(index, index + 1)
    more = 0
    for file_id, spans in recorded.items():
        new.execute("UPDATE files SET done = ?, reach = ? WHERE id = ?", (spans.count, spans.reach, file_id))
        gaps = [(file_id, *gap) for gap in spans.gaps(spans.reach)]
        new.executemany("INSERT INTO gaps VALUES (?, ?, ?)", gaps)
        more += new.execute("SELECT max(frames - done, 0) FROM files WHERE id = ?", (file_id,)).fetchone()[0]
    new.execute(
        "INSERT INTO history (bin, frames, hits) SELECT CAST(seen / ? AS INTEGER), count(*), sum(hit) FROM frames "
        "GROUP BY 1",
        (HISTORY_BIN_S,),
    )
    return len(recorded), sum(spans.count for spans in recorded.values()), more


def _drop_invalid(new: sqlite3.Connection) -> None:
    """Remove what was saved and cannot be right; a frame of which anything cannot be right is read again."""
    add_functions(new)
    holds = conditions(new)
    orphan = "frame_id NOT IN (SELECT id FROM frames)"
    for table in _FINDS:
        invalid = f"SELECT frame_id FROM {table} WHERE NOT ifnull({holds[table]}, 0)"
        new.execute(f"DELETE FROM frames WHERE id IN ({invalid})")
    for table in ("files", "models", "frames"):
        new.execute(f"DELETE FROM {table} WHERE NOT ifnull({holds[table]}, 0)")
    for table in _FINDS:
        new.execute(f"DELETE FROM {table} WHERE {orphan}")


def _save_frame(
    old: sqlite3.Connection,
    new: sqlite3.Connection,
    row: tuple[Any, ...],
    tables: Mapping[str, str],
) -> bool:
    """Take over a frame with all that was found on it, or nothing of it."""
    frame_id = row[0]
    finds = {}
    try:
        for table, columns in tables.items():
            finds[table] = old.execute(f"SELECT {columns} FROM {table} WHERE frame_id = ?", (frame_id,)).fetchall()
    except sqlite3.Error:
        return False
    try:
        taken = new.execute(
            f"INSERT OR IGNORE INTO frames ({_FRAME}) VALUES ({','.join('?' * len(row))}) RETURNING id", row
        ).fetchone()
        if taken is None:
            return False
        for table, columns in tables.items():
            marks = ",".join("?" * (columns.count(",") + 1))
            new.executemany(f"INSERT OR IGNORE INTO {table} ({columns}) VALUES ({marks})", finds[table])
    except sqlite3.IntegrityError:
        return False
    return True


def _rows(db: sqlite3.Connection, table: str, columns: str) -> Iterator[tuple[Any, ...]]:
    """All rows of a table that can be read; where all can, in their order.

    A range of rows that cannot be read is halved, the largest ones first, until the reads that may fail are used up.
    """
    pages, size = (_pragma(db, name) for name in ("page_count", "page_size"))
    failures = _LEAST_FAILURES + _FAILURES_A_PAGE * pages
    try:
        (found,) = db.execute(f"SELECT max(rowid) FROM {table}").fetchone()
        last = min(found or 0, _HIGHEST)
    except sqlite3.Error as error:
        if database.error_code(error) == sqlite3.SQLITE_NOTADB:
            return
        last = min(_MOST_ROWS, pages * size // _SMALLEST_ROW)
    waiting = deque((start, min(start + _BLOCK, last + 1)) for start in range(0, last + 1, _BLOCK))
    while waiting and failures:
        start, stop = waiting.popleft()
        try:
            yield from db.execute(
                f"SELECT {columns} FROM {table} WHERE rowid >= ? AND rowid < ? ORDER BY rowid", (start, stop)
            ).fetchall()
        except sqlite3.Error:
            failures -= 1
            if stop - start > 1:
                middle = (start + stop) // 2
                waiting += [(start, middle), (middle, stop)]


def _pragma(db: sqlite3.Connection, name: str) -> int:
    try:
        return int(db.execute(f"PRAGMA {name}").fetchone()[0])
    except sqlite3.Error:
        return 0


def _text(raw: bytes) -> str | None:
    """A text of the damaged data base; None, which no column takes, where it is none."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _has(db: sqlite3.Connection, table: str, columns: str) -> bool:
    """Whether a table has these columns, and its description can be read."""
    try:
        there = {row[1] for row in db.execute(f"PRAGMA table_info({table})")}
    except sqlite3.Error:
        return False
    return set(columns.split(", ")) <= there


def _there(db: sqlite3.Connection, table: str, columns: str) -> str:
    """These columns of a table, with a constant for each that it has not."""
    return ", ".join(
        _MISSING[name] if name in _MISSING and not _has(db, table, name) else name for name in columns.split(", ")
    )
