"""results.db: what the engine found, written by the engine alone and read by everybody."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from photon_triage.core.errors import SessionError
from photon_triage.core.frames import Box, FrameKey, Geometry

SCHEMA = Path(__file__).with_name("schema.sql")
HISTORY_BIN_S = 10
NETWORK_FILE_SYSTEMS = ("nfs", "cifs", "smb", "gpfs", "lustre", "beegfs", "fuse", "9p", "afs", "ceph")


@dataclass(frozen=True, slots=True)
class FileRow:
    """A file of the ledger."""

    id: int
    path: str
    dataset: str
    run: str
    layout: str
    height: int
    width: int
    dtype: str
    geometry: Geometry
    simulated: bool
    frames: int
    done: int
    status: str
    reason: str
    size: int
    mtime_ns: int
    updated: float


@dataclass(frozen=True, slots=True)
class Detection:
    """A box of a class with its score, in pixels of the whole frame."""

    category: str
    score: float
    box: Box


@dataclass(frozen=True, slots=True)
class FrameRow:
    """What is known of a frame."""

    id: int
    key: FrameKey
    run: str
    seen: float
    passed: int
    hit: bool
    score: float | None
    digest: str | None
    measures: dict[str, float]


@dataclass(frozen=True, slots=True)
class FrameResult:
    """What the engine records of a frame."""

    index: int
    passed: int
    hit: bool
    score: float | None = None
    model: str | None = None
    digest: str | None = None
    measures: dict[str, float] = field(default_factory=dict)
    detections: tuple[Detection, ...] = ()


@dataclass(frozen=True, slots=True)
class Counts:
    """How many files and frames stand in the ledger."""

    files: int = 0
    unreadable: int = 0
    waiting: int = 0
    frames: int = 0
    """Frames scored."""
    pending: int = 0
    """Frames known and not scored yet."""
    dropped: int = 0
    """Frames known that never will be: their file became unreadable."""
    hits: int = 0
    simulated: bool = False


class ResultsWriter:
    """The engine's connection; one transaction per batch."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            _make(path)
        self._db = _connect(path)
        mode = "TRUNCATE" if on_network_file_system(path) else "WAL"
        self._db.execute(f"PRAGMA journal_mode={mode}")
        self._db.execute("PRAGMA synchronous=NORMAL" if mode == "WAL" else "PRAGMA synchronous=FULL")
        self._db.executescript(SCHEMA.read_text(encoding="utf-8"))
        self._db.commit()

    def close(self) -> None:
        """Close the data base."""
        self._db.close()

    def files(self) -> list[FileRow]:
        """The whole ledger of files."""
        return _files(self._db)

    def put_file(self, row: FileRow) -> int:
        """Add or replace what is known of a file; returns its id. `done` is never set back."""
        values = asdict(row) | {
            "geometry": json.dumps(asdict(row.geometry)),
            "simulated": int(row.simulated),
        }
        del values["id"]
        names = list(values)
        # While nothing can be read from a file, what was known of it stays: its frames' keys depend on that.
        kept = ["dataset", "run", "layout", "height", "width", "dtype", "geometry", "simulated", "frames"]
        updates = ", ".join(
            f"{n} = iif(excluded.layout = '' AND layout <> '', {n}, excluded.{n})"
            if n in kept
            else f"{n} = excluded.{n}"
            for n in names
            if n not in ("path", "done")
        )
        with self._db:
            found = self._db.execute(
                f"INSERT INTO files ({', '.join(names)}) VALUES ({', '.join('?' * len(names))}) "
                f"ON CONFLICT (path) DO UPDATE SET {updates} RETURNING id",
                list(values.values()),
            ).fetchone()
        return int(found[0])

    def put_frames(self, file_id: int, results: Sequence[FrameResult], now: float) -> None:
        """Record a batch of a file and how far the file is read, in one transaction.

        A frame that stands there already is left as it is, so no frame counts twice.
        """
        with self._db:
            fresh = hits = 0
            for result in results:
                model_id = None if result.model is None else self._model_id(result.model)
                inserted = self._db.execute(
                    "INSERT OR IGNORE INTO frames (file_id, idx, seen, passed, hit, score, model_id, digest, measures) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
                    (
                        file_id,
                        result.index,
                        now,
                        result.passed,
                        int(result.hit),
                        result.score,
                        model_id,
                        result.digest,
                        json.dumps(result.measures),
                    ),
                ).fetchone()
                if inserted is None:
                    continue
                fresh += 1
                hits += result.hit
                self._put_detections(int(inserted[0]), result.detections)
            self._db.execute(
                "UPDATE files SET done = max(done, ?), updated = ? WHERE id = ?",
                (results[-1].index + 1, now, file_id),
            )
            self._db.execute(
                "INSERT INTO history (bin, frames, hits) VALUES (?, ?, ?) "
                "ON CONFLICT (bin) DO UPDATE SET frames = frames + excluded.frames, hits = hits + excluded.hits",
                (int(now // HISTORY_BIN_S), fresh, hits),
            )

    def rescore(self, file_id: int, results: Sequence[FrameResult]) -> None:
        """Replace score, model, measures and detections of frames that another model has looked at."""
        with self._db:
            for result in results:
                model_id = None if result.model is None else self._model_id(result.model)
                updated = self._db.execute(
                    "UPDATE frames SET score = ?, passed = ?, model_id = ? WHERE file_id = ? AND idx = ? RETURNING id",
                    (result.score, result.passed, model_id, file_id, result.index),
                ).fetchone()
                if updated is not None:
                    self._db.execute("DELETE FROM detections WHERE frame_id = ?", updated)
                    self._put_detections(int(updated[0]), result.detections)

    def scored_by_others(
        self, model: str, limit: int, without: Collection[str] = ()
    ) -> tuple[str, str, list[int]] | None:
        """Frames of one file whose score comes from another model than this: (path, data set, indices), or None.

        without: paths to pass over.
        """
        found = self._db.execute(
            "SELECT r.file_id, f.path, f.dataset FROM frames r JOIN models m ON m.id = r.model_id "
            "JOIN files f ON f.id = r.file_id "
            f"WHERE m.name <> ? AND f.path NOT IN ({','.join('?' * len(without))}) LIMIT 1",
            (model, *without),
        ).fetchone()
        if found is None:
            return None
        file_id, path, dataset = found
        indices = self._db.execute(
            "SELECT r.idx FROM frames r JOIN models m ON m.id = r.model_id "
            "WHERE r.file_id = ? AND m.name <> ? ORDER BY r.idx LIMIT ?",
            (file_id, model, limit),
        ).fetchall()
        return path, dataset, [row[0] for row in indices]

    def set_state(self, values: dict[str, Any]) -> None:
        """Say how the engine is."""
        with self._db:
            self._db.executemany(
                "INSERT INTO state (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                [(key, json.dumps(value)) for key, value in values.items()],
            )

    def state(self) -> dict[str, Any]:
        """What the engine last said of itself."""
        return _state(self._db)

    def _put_detections(self, frame_id: int, detections: Iterable[Detection]) -> None:
        self._db.executemany(
            "INSERT INTO detections (frame_id, class, score, x, y, width, height) VALUES (?, ?, ?, ?, ?, ?, ?)",
            [(frame_id, d.category, d.score, d.box.x, d.box.y, d.box.width, d.box.height) for d in detections],
        )

    def _model_id(self, name: str) -> int:
        self._db.execute("INSERT OR IGNORE INTO models (name) VALUES (?)", (name,))
        return int(self._db.execute("SELECT id FROM models WHERE name = ?", (name,)).fetchone()[0])


class ResultsReader:
    """A screen's or a command's view of results.db; it never writes."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise SessionError(
                f"Could not read results in {path.parent}: no engine has run there yet.",
                "Start one with `photon-triage watch PATH --session SESSION`.",
            )
        self._db = _connect(path)
        self._db.execute("PRAGMA query_only=1")

    def close(self) -> None:
        """Close the data base."""
        self._db.close()

    def version(self) -> int:
        """A number that changes whenever the engine has committed something."""
        return int(self._db.execute("PRAGMA data_version").fetchone()[0])

    def counts(self) -> Counts:
        """How many files and frames there are."""
        files, unreadable, waiting, pending, dropped, simulated = self._db.execute(
            "SELECT count(*), coalesce(sum(status = 'unreadable'), 0), coalesce(sum(status = 'waiting'), 0), "
            "coalesce(sum(iif(status <> 'unreadable', max(frames - done, 0), 0)), 0), "
            "coalesce(sum(iif(status = 'unreadable', max(frames - done, 0), 0)), 0), "
            "coalesce(max(simulated), 0) FROM files"
        ).fetchone()
        frames, hits = self._db.execute(
            "SELECT coalesce(sum(frames), 0), coalesce(sum(hits), 0) FROM history"
        ).fetchone()
        return Counts(files, unreadable, waiting, frames, pending, dropped, hits, bool(simulated))

    def selected_count(self, threshold: float) -> int:
        """How many frames have a score of at least the threshold."""
        return int(self._db.execute("SELECT count(*) FROM frames WHERE score >= ?", (threshold,)).fetchone()[0])

    def history(self, since: float = 0.0) -> list[tuple[float, int, int]]:
        """(Unix time at which a bin of HISTORY_BIN_S seconds begins, frames, hits) from `since` on."""
        rows = self._db.execute(
            "SELECT bin, frames, hits FROM history WHERE bin >= ? ORDER BY bin", (int(since // HISTORY_BIN_S),)
        )
        return [(bin_ * float(HISTORY_BIN_S), frames, hits) for bin_, frames, hits in rows]

    def runs(self) -> list[tuple[str, int, int, int]]:
        """(run, frames, hits, frames with a score) of every run, newest first."""
        return self._db.execute(
            "SELECT f.run, count(*), sum(r.hit), sum(r.score IS NOT NULL) "
            "FROM frames r JOIN files f ON f.id = r.file_id GROUP BY f.run ORDER BY max(r.id) DESC"
        ).fetchall()

    def files(self) -> list[FileRow]:
        """The ledger of files."""
        return _files(self._db)

    def state(self) -> dict[str, Any]:
        """What the engine last said of itself."""
        return _state(self._db)

    def scoring_models(self) -> dict[str, int]:
        """The models that gave the scores, and how many frames each."""
        return dict(
            self._db.execute(
                "SELECT m.name, count(*) FROM frames r JOIN models m ON m.id = r.model_id "
                "WHERE r.score IS NOT NULL GROUP BY m.name"
            ).fetchall()
        )

    def frame_ids(
        self, *, hits_only: bool = True, order: str = "score", near: float = 0.5, containing: str = ""
    ) -> list[int]:
        """Ids of frames in list order: "score" (highest first, unscored last), "time" (newest first) or "uncertainty".

        "uncertainty" puts the scores closest to `near` first; `containing` keeps frames with that text in path or run.
        """
        by = {
            "score": "r.score DESC, r.id DESC",
            "time": "r.id DESC",
            "uncertainty": "r.score IS NULL, abs(r.score - ?), r.id DESC",
        }[order]
        tables, conditions = "frames r", ["r.hit = 1"] if hits_only else []
        arguments: list[str | float] = []
        if containing:
            tables += " JOIN files f ON f.id = r.file_id"
            conditions.append("(instr(lower(f.path), ?) OR instr(lower(f.run), ?))")
            arguments += [containing.lower()] * 2
        if order == "uncertainty":
            arguments.append(near)
        where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        rows = self._db.execute(f"SELECT r.id FROM {tables} {where} ORDER BY {by}", arguments)
        return [row[0] for row in rows]

    def frames(self, ids: Sequence[int]) -> dict[int, FrameRow]:
        """What is known of these frames, by id."""
        found: dict[int, FrameRow] = {}
        for start in range(0, len(ids), 500):
            part = ids[start : start + 500]
            rows = self._db.execute(_FRAME_COLUMNS + f"WHERE r.id IN ({','.join('?' * len(part))})", part)
            found.update((row[0], _frame(row)) for row in rows)
        return found

    def all_frames(self) -> Iterable[FrameRow]:
        """Every frame, in the order seen."""
        for row in self._db.execute(_FRAME_COLUMNS + "ORDER BY r.id"):
            yield _frame(row)

    def scores(self) -> dict[FrameKey, float | None]:
        """The score of every frame; None where it did not get to the stage that scores."""
        rows = self._db.execute(
            "SELECT f.path, f.dataset, r.idx, r.score FROM frames r JOIN files f ON f.id = r.file_id"
        )
        return {FrameKey(path, dataset, index): score for path, dataset, index, score in rows}

    def frame_of(self, key: FrameKey) -> FrameRow | None:
        """What is known of the frame of that key."""
        row = self._db.execute(
            _FRAME_COLUMNS + "WHERE f.path = ? AND f.dataset = ? AND r.idx = ?", (key.file, key.dataset, key.index)
        ).fetchone()
        return None if row is None else _frame(row)

    def detections(self, frame_id: int) -> list[Detection]:
        """The boxes on a frame, best first."""
        rows = self._db.execute(
            "SELECT class, score, x, y, width, height FROM detections WHERE frame_id = ? ORDER BY score DESC",
            (frame_id,),
        )
        return [Detection(category, score, Box(x, y, w, h)) for category, score, x, y, w, h in rows]


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


_FRAME_COLUMNS = (
    "SELECT r.id, f.path, f.dataset, r.idx, f.run, r.seen, r.passed, r.hit, r.score, r.digest, r.measures "
    "FROM frames r JOIN files f ON f.id = r.file_id "
)


def _frame(row: tuple[Any, ...]) -> FrameRow:
    id_, path, dataset, index, run, seen, passed, hit, score, digest, measures = row
    key = FrameKey(path, dataset, index)
    return FrameRow(id_, key, run, seen, passed, bool(hit), score, digest, json.loads(measures))


def _make(path: Path) -> None:
    """Make an empty data base; it takes its name when its tables stand, for a reader may look at any instant."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    partial.unlink(missing_ok=True)
    db = _connect(partial)
    try:
        db.executescript(SCHEMA.read_text(encoding="utf-8"))
    finally:
        db.close()
    partial.replace(path)


def _connect(path: Path) -> sqlite3.Connection:
    try:
        return sqlite3.connect(path, timeout=30.0, check_same_thread=False)
    except sqlite3.Error as error:
        raise SessionError(f"Could not open {path}: {error}.", "Check that the folder is writable.") from error


def _files(db: sqlite3.Connection) -> list[FileRow]:
    names = (
        "id, path, dataset, run, layout, height, width, dtype, geometry, simulated, frames, done, status, reason, "
        "size, mtime_ns, updated"
    )
    rows = []
    for values in db.execute(f"SELECT {names} FROM files ORDER BY id"):
        table = dict(zip(names.split(", "), values, strict=True))
        table["geometry"] = Geometry(**json.loads(table["geometry"]))
        table["simulated"] = bool(table["simulated"])
        rows.append(FileRow(**table))
    return rows


def _state(db: sqlite3.Connection) -> dict[str, Any]:
    return {key: json.loads(value) for key, value in db.execute("SELECT key, value FROM state")}
