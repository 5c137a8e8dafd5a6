"""results.db as a file: made, opened, brought up to date; what both its writer and its readers ask of it."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from photon_triage.core.common.atomic import atomic_path
from photon_triage.core.common.containment import require_entry
from photon_triage.core.common.errors import SessionError
from photon_triage.core.frames import Geometry
from photon_triage.core.session.state import EngineState, FileStatus
from photon_triage.core.session.store.rows import FileRow

SCHEMA = Path(__file__).with_name("schema.sql")
VERSION = 4
"""Of the tables: 1 knew no missing files and no frames passed over, 2 no scores of a second model, 3 neither notes nor
changed frames."""

FILE_ENDINGS = ("", "-wal", "-shm", "-journal")
"""Of the names of the files that SQLite opens for one data base."""
LARGEST_VALUE = 2**27
"""Bytes of one value: the mask of the largest frame is smaller."""

NETWORK_FILE_SYSTEMS = ("nfs", "cifs", "smb", "gpfs", "lustre", "beegfs", "fuse", "9p", "afs", "ceph")
FILE_COLUMNS = (
    "id, path, dataset, run, layout, height, width, dtype, geometry, simulated, frames, done, status, reason, "
    "size, mtime_ns, updated"
)
"""What every version of the tables has."""
ADDED = {
    "files": {"notes": "TEXT NOT NULL DEFAULT '[]'", "replaced": "REAL NOT NULL DEFAULT 0"},
    "frames": {"changed": "REAL"},
}
"""Columns that version 4 added."""

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


class _Connection(sqlite3.Connection):
    """A connection that raises sqlite3.DatabaseError also where SQLite's message quotes damaged text.

    Python cannot decode such a message, and raises UnicodeDecodeError in place of the error that it tells of.
    """

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        with _readable_errors():
            return super().execute(*arguments)

    def executemany(self, *arguments: Any) -> sqlite3.Cursor:
        with _readable_errors():
            return super().executemany(*arguments)

    def executescript(self, *arguments: Any) -> sqlite3.Cursor:
        with _readable_errors():
            return super().executescript(*arguments)


def make(path: Path) -> None:
    """Make an empty data base; it takes its name when its tables stand, for a reader may look at any instant."""
    try:
        with atomic_path(path) as partial:
            # SQLite would make it writable for its owner alone, and its log after it: the umask is to decide.
            partial.touch(0o666, exist_ok=False)
            db = connect(partial)
            try:
                db.executescript(f"{SCHEMA.read_text(encoding='utf-8')}; PRAGMA user_version = {VERSION};")
            finally:
                db.close()
    except (OSError, sqlite3.Error) as error:
        raise SessionError(
            f"Could not make {path}: {getattr(error, 'strerror', None) or error}.",
            "Check that its folder is writable and that its disk has space.",
        ) from error


def connect(path: Path) -> sqlite3.Connection:
    """A connection that may write; raises SessionError where one of the data base's files is no regular file."""
    _require_plain(path)
    try:
        return _limited(sqlite3.connect(path, timeout=30.0, check_same_thread=False, factory=_Connection))
    except sqlite3.Error as error:
        raise SessionError(f"Could not open {path}: {error}.", "Check that the folder is writable.") from error


def require_tables(db: sqlite3.Connection, path: Path) -> None:
    """Raise SessionError for a data base with views, triggers or computed columns: to read it would run what they say.

    Raises sqlite3.Error.
    """
    for kind, name, statement in db.execute("SELECT type, name, sql FROM sqlite_master"):
        is_virtual = str(statement).lstrip().upper().startswith("CREATE VIRTUAL")
        if kind not in ("table", "index") or is_virtual:
            raise _foreign(path, f"it has a {'virtual table' if is_virtual else kind} {name!a}")
    computed = db.execute(
        "SELECT t.name, c.name FROM sqlite_master t, pragma_table_xinfo(t.name) c WHERE t.type = 'table' AND c.hidden"
    ).fetchone()
    if computed is not None:
        raise _foreign(path, f"the column {computed[1]!a} of its table {computed[0]!a} is computed")


def connect_to_read(path: Path) -> sqlite3.Connection:
    """A connection that never writes; also where this account may not write, or the folder is on a read-only disk."""
    db = connect(path)
    try:
        require_tables(db, path)
    except SessionError:
        db.close()
        raise
    except sqlite3.Error as error:
        if error_code(error) not in _NOT_WRITABLE_HERE:
            return db
        db.close()
        # SQLite cannot make its index of the write-ahead log here; without a log the file alone says everything.
        address = f"{path.absolute().as_uri()}?immutable=1"
        db = _limited(sqlite3.connect(address, uri=True, check_same_thread=False, factory=_Connection))
        try:
            with suppress(sqlite3.Error):  # what cannot be read says so to who asks
                require_tables(db, path)
        except SessionError:
            db.close()
            raise
    db.execute("PRAGMA query_only=1")
    return db


def error_code(error: sqlite3.Error) -> int:
    """SQLite's number for what went wrong, 0 where it gave none."""
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF


def refusal(path: Path, error: sqlite3.Error) -> SessionError:
    """The error for a data base that cannot be used: damaged, or not to be written."""
    if error_code(error) in DAMAGED:
        return damaged(path, str(error))
    if not os.access(path.parent, os.W_OK):
        return SessionError(
            f"Could not write {path}: its folder is read-only.", "Make it writable, or copy the session."
        )
    return SessionError(f"Could not write {path}: {error}.", "Free space on that disk or make it writable.")


def damaged(path: Path, reason: str) -> SessionError:
    """The error for a data base whose content cannot be right."""
    return SessionError(
        f"Could not use {path}: it is damaged ({reason}).",
        f"No label is in it. `photon-triage session repair {path.parent}` makes it again from what can be read.",
        title="Results damaged",
    )


def bring_up_to_date(db: sqlite3.Connection, path: Path) -> None:
    """Give an older data base the tables of this version, in one transaction; raises SessionError for a foreign one."""
    require_tables(db, path)
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version >= VERSION:
        return
    schema = SCHEMA.read_text(encoding="utf-8")
    old = columns(db, "files")
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
    for table in ADDED:
        # A table of files from before version 2 has just been made again with all its columns.
        there = set(ADDED[table]) if table == "files" and version < 2 else columns(db, table)
        steps += [
            f"ALTER TABLE {table} ADD COLUMN {name} {kind}"
            for name, kind in ADDED[table].items()
            if there and name not in there
        ]
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


def columns(db: sqlite3.Connection, table: str) -> list[str]:
    """The names of a table's columns, none where there is no such table."""
    return [row[1] for row in db.execute(f"PRAGMA table_info({table})")]


def is_older(db: sqlite3.Connection) -> bool:
    """True where tables lack columns of this version: no engine of it has opened them. False where none can be read."""
    with suppress(sqlite3.Error):
        there = {table: columns(db, table) for table in ADDED}
        return any(there[table] and not names.keys() <= set(there[table]) for table, names in ADDED.items())
    return False


def notes_column(db: sqlite3.Connection) -> str:
    """The expression for a file's notes: a data base that no engine of this version has opened knows none."""
    return "notes" if "notes" in columns(db, "files") else "'[]'"


def read_files(db: sqlite3.Connection, remarkable: int | None = None) -> list[FileRow]:
    """The ledger of files, in the order found.

    remarkable: only so many files with a reason or a note, those that changed last first.
    """
    notes = notes_column(db)
    which = (
        "ORDER BY id"
        if remarkable is None
        else (f"WHERE reason <> '' OR {notes} <> '[]' ORDER BY updated DESC, id DESC LIMIT {remarkable:d}")
    )
    rows = db.execute(f"SELECT {FILE_COLUMNS}, {notes} FROM files {which}")
    return [file_row(tuple(values), notes=notes) for *values, notes in rows]


def file_row(values: tuple[Any, ...], notes: str = "[]") -> FileRow:
    """A row of FILE_COLUMNS, and of what follows them in FileRow; notes: JSON."""
    row = list(values)
    row[8], row[9], row[12] = Geometry(**json.loads(row[8])), bool(row[9]), FileStatus(row[12])
    return replace(FileRow(*row), notes=notes_of(notes))


def notes_of(text: Any) -> tuple[str, ...]:
    """The notes in JSON text; none where it is no list of texts, for notes decide nothing."""
    try:
        found = json.loads(text)
    except (TypeError, ValueError):
        return ()
    return tuple(note for note in found if isinstance(note, str)) if isinstance(found, list) else ()


def read_state(db: sqlite3.Connection) -> EngineState:
    """The engine's last report of itself."""
    told: dict[str, Any] = {}
    for key, value in db.execute("SELECT key, value FROM state"):
        with suppress(ValueError, TypeError, RecursionError):
            told[key] = json.loads(value)
    return EngineState.from_json(told)


@contextmanager
def _readable_errors() -> Iterator[None]:
    try:
        yield
    except UnicodeDecodeError as error:
        unreadable = sqlite3.DatabaseError("the description of its tables is damaged")
        unreadable.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise unreadable from error


def _require_plain(path: Path) -> None:
    """Raise SessionError for a link that leaves the session, or an entry that is no file: SQLite would open it."""
    for ending in FILE_ENDINGS:
        try:
            require_entry(path.with_name(path.name + ending), path.parent)
        except OSError as error:
            raise SessionError(
                f"Could not open {path}: {Path(str(error.filename)).name} is refused, {error.strerror}.",
                "Remove it, or copy the session from where it came from once more.",
            ) from error


def _limited(db: sqlite3.Connection) -> sqlite3.Connection:
    """The connection with bounds on what a file from somebody else can make SQLite do."""
    db.execute("PRAGMA trusted_schema=OFF")
    db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LARGEST_VALUE)
    db.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    return db


def _foreign(path: Path, why: str) -> SessionError:
    return SessionError(
        f"Could not use {path}: {why}, which no engine has written.",
        "Do not use this session, or remove results.db and scan its files again: labels are in the journals.",
    )
