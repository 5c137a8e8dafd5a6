"""results.db: what the engine found, written by the engine alone and read by everybody."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from photon_triage.core.candidates import Candidate
from photon_triage.core.errors import SessionError
from photon_triage.core.frames import Box, FrameKey, Geometry
from photon_triage.core.recipe import Unit
from photon_triage.core.session.listing import CandidateListing, FrameListing, Listing
from photon_triage.core.session.masks import mask_bytes, mask_from_bytes
from photon_triage.core.session.rows import ClassMap, Counts, Detection, FileRow, FrameResult, FrameRow

__all__ = ["ClassMap", "Counts", "Detection", "FileRow", "FrameResult", "FrameRow", "ResultsReader", "ResultsWriter"]

SCHEMA = Path(__file__).with_name("schema.sql")
HISTORY_BIN_S = 10
NETWORK_FILE_SYSTEMS = ("nfs", "cifs", "smb", "gpfs", "lustre", "beegfs", "fuse", "9p", "afs", "ceph")


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
                self._put_finds(int(inserted[0]), result)
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
        """Replace what networks said of frames that another model has looked at."""
        with self._db:
            for result in results:
                model_id = None if result.model is None else self._model_id(result.model)
                updated = self._db.execute(
                    "UPDATE frames SET score = ?, passed = ?, model_id = ? WHERE file_id = ? AND idx = ? RETURNING id",
                    (result.score, result.passed, model_id, file_id, result.index),
                ).fetchone()
                if updated is not None:
                    for table in ("detections", "candidates", "masks"):
                        self._db.execute(f"DELETE FROM {table} WHERE frame_id = ?", updated)
                    self._put_finds(int(updated[0]), result)

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

    def _put_finds(self, frame_id: int, result: FrameResult) -> None:
        self._db.executemany(
            "INSERT INTO detections (frame_id, class, score, x, y, width, height) VALUES (?, ?, ?, ?, ?, ?, ?)",
            [(frame_id, d.category, d.score, d.box.x, d.box.y, d.box.width, d.box.height) for d in result.detections],
        )
        self._db.executemany(
            "INSERT INTO candidates (frame_id, x, y, score) VALUES (?, ?, ?, ?)",
            [(frame_id, found.x, found.y, found.score) for found in result.candidates],
        )
        if (mask := result.mask) is not None:
            self._db.execute(
                "INSERT INTO masks (frame_id, y, x, background, classes, png) VALUES (?, ?, ?, ?, ?, ?)",
                (frame_id, mask.top, mask.left, mask.background, json.dumps(mask.classes), mask_bytes(mask.values)),
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
        self._listings: dict[Unit, Listing] = {
            "frames": FrameListing(self._db),
            "candidates": CandidateListing(self._db),
        }

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
        candidates = self._db.execute("SELECT count(*) FROM candidates").fetchone()[0]
        return Counts(files, unreadable, waiting, frames, pending, dropped, hits, bool(simulated), candidates)

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

    def listing(self, unit: Unit = "frames") -> Listing:
        """What a list holds: frames, or the candidates on them."""
        return self._listings[unit]

    def all_frames(self) -> Iterable[FrameRow]:
        """Every frame, in the order seen."""
        return self._listings["frames"].all()

    def scores(self) -> dict[FrameKey, float | None]:
        """The score of every frame; None where it did not get to the stage that scores."""
        rows = self._db.execute(
            "SELECT f.path, f.dataset, r.idx, r.score FROM frames r JOIN files f ON f.id = r.file_id"
        )
        return {FrameKey(path, dataset, index): score for path, dataset, index, score in rows}

    def detections(self, frame_id: int) -> list[Detection]:
        """The boxes on a frame, best first."""
        rows = self._db.execute(
            "SELECT class, score, x, y, width, height FROM detections WHERE frame_id = ? ORDER BY score DESC",
            (frame_id,),
        )
        return [Detection(category, score, Box(x, y, w, h)) for category, score, x, y, w, h in rows]

    def candidates(self, frame_id: int) -> list[Candidate]:
        """The candidates on a frame, best first."""
        rows = self._db.execute(
            "SELECT x, y, score FROM candidates WHERE frame_id = ? ORDER BY score DESC, id", (frame_id,)
        )
        return [Candidate(*row) for row in rows]

    def mask(self, frame_id: int) -> ClassMap | None:
        """The segmentation of a frame, if a stage has made one."""
        row = self._db.execute(
            "SELECT png, classes, y, x, background FROM masks WHERE frame_id = ?", (frame_id,)
        ).fetchone()
        if row is None:
            return None
        return ClassMap(mask_from_bytes(row[0]), tuple(json.loads(row[1])), row[2], row[3], row[4])


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
