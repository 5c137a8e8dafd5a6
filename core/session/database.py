"""results.db as a file: made, opened, brought up to date; what both its writer and its readers ask of it."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Any

from photon_triage.core.errors import SessionError
from photon_triage.core.frames import Geometry
from photon_triage.core.session.engine_state import checked_state
from photon_triage.core.session.rows import FileRow

SCHEMA = Path(__file__).with_name("schema.sql")
VERSION = 3
"""Of the tables: 1 knew no missing files and no frames passed over, 2 no scores of a second model."""

NETWORK_FILE_SYSTEMS = ("nfs", "cifs", "smb", "gpfs", "lustre", "beegfs", "fuse", "9p", "afs", "ceph")
FILE_COLUMNS = (
    "id, path, dataset, run, layout, height, width, dtype, geometry, simulated, frames, done, status, reason, "
    "size, mtime_ns, updated"
)
"""What every version of the tables has."""

DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
PASSING = (
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_NOLFS,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_INTERRUPT,
)
"""What a disk, or another process, may do to us for a while; all else is the same the next time."""
_NOT_WRITABLE_HERE = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)


def make(path: Path) -> None:
    """Make an empty data base; it takes its name when its tables stand, for a reader may look at any instant."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        partial.unlink(missing_ok=True)
        db = connect(partial)
        try:
            db.executescript(f"{SCHEMA.read_text(encoding='utf-8')}; PRAGMA user_version = {VERSION};")
        finally:
            db.close()
        partial.replace(path)
    except (OSError, sqlite3.Error) as error:
        raise SessionError(
            f"Could not make {path}: {getattr(error, 'strerror', None) or error}.",
            "Check that its folder is writable and that its disk has space.",
        ) from error


def connect(path: Path) -> sqlite3.Connection:
    """A connection that may write."""
    try:
        return sqlite3.connect(path, timeout=30.0, check_same_thread=False)
    except sqlite3.Error as error:
        raise SessionError(f"Could not open {path}: {error}.", "Check that the folder is writable.") from error


def connect_to_read(path: Path) -> sqlite3.Connection:
    """A connection that never writes; also where this account may not write, or the folder is on a read-only disk."""
    db = connect(path)
    try:
        probe(db)
    except sqlite3.Error as error:
        if error_code(error) not in _NOT_WRITABLE_HERE:
            return db
        db.close()
        # SQLite cannot make its index of the write-ahead log here; without a log the file alone says everything.
        db = sqlite3.connect(f"{path.absolute().as_uri()}?immutable=1", uri=True, check_same_thread=False)
    db.execute("PRAGMA query_only=1")
    return db


def probe(db: sqlite3.Connection) -> None:
    """Read the description of the tables; raises sqlite3.Error where it cannot be read."""
    try:
        db.execute("SELECT count(*) FROM sqlite_master")
    except UnicodeDecodeError as error:  # of SQLite's own message, which quotes what it could not read
        raise sqlite3.DatabaseError("the description of its tables is damaged") from error


def error_code(error: sqlite3.Error) -> int:
    """SQLite's number for what went wrong, 0 where it gave none."""
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF


def bring_up_to_date(db: sqlite3.Connection) -> None:
    """Give an older data base the tables of this version, in one transaction."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version >= VERSION:
        return
    schema = SCHEMA.read_text(encoding="utf-8")
    old = [row[1] for row in db.execute("PRAGMA table_info(files)")]
    steps = ["PRAGMA legacy_alter_table = ON", "BEGIN IMMEDIATE"]
    if old and version < 2:
        names = ", ".join(old)
        steps += [
            "ALTER TABLE files RENAME TO old_files",
            schema,
            f"INSERT INTO files ({names}, reach) SELECT {names}, done FROM old_files",
            "DROP TABLE old_files",
        ]
    else:
        steps.append(schema)
    steps += [f"PRAGMA user_version = {VERSION}", "COMMIT", "PRAGMA legacy_alter_table = OFF"]
    db.executescript(";\n".join(steps))


def on_network_file_system(path: Path) -> bool:
    """Whether a path lies on a file system that several hosts may mount (SQLite's WAL does not work there)."""
    real = path.resolve()
    try:
        mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return False
    holding = [(point, kind) for point, kind in mounts if real.is_relative_to(point.replace("\\040", " "))]
    if not holding:
        return False
    return max(holding, key=lambda mount: len(mount[0]))[1].lower().startswith(NETWORK_FILE_SYSTEMS)


def read_files(db: sqlite3.Connection) -> list[FileRow]:
    """The ledger of files, in the order found."""
    return [file_row(values) for values in db.execute(f"SELECT {FILE_COLUMNS} FROM files ORDER BY id")]


def file_row(values: tuple[Any, ...]) -> FileRow:
    """A row of FILE_COLUMNS, and of what follows them in FileRow."""
    row = list(values)
    row[8], row[9] = Geometry(**json.loads(row[8])), bool(row[9])
    return FileRow(*row)


def read_state(db: sqlite3.Connection) -> dict[str, Any]:
    """What the engine last said of itself, as far as it is of the kinds that an engine writes."""
    told: dict[str, Any] = {}
    for key, value in db.execute("SELECT key, value FROM state"):
        with suppress(ValueError, TypeError, RecursionError):
            told[key] = json.loads(value)
    return checked_state(told)
