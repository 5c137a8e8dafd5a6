"""The engine's side of results.db: one transaction a batch, and the ledger of every file's frames."""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from functools import lru_cache
from itertools import takewhile
from pathlib import Path
from typing import Any

from photon_triage.core.candidates import Candidate
from photon_triage.core.common.errors import SessionError
from photon_triage.core.common.index_ranges import Spans
from photon_triage.core.frames import FrameKey, Geometry
from photon_triage.core.session.state import EngineState
from photon_triage.core.session.store import database
from photon_triage.core.session.store.frames import KEYS_AT_ONCE, look_up
from photon_triage.core.session.store.rows import FileRow, FrameResult, mask_bytes
from photon_triage.core.session.store.second_scores import model_number, scores_by
from photon_triage.core.session.store.validity import described, invalid_rows, is_small

HISTORY_BIN_S = 10
DIGESTED_AT_ONCE = 20
CHANGES = "changes"
"""The state's count of changes to frames that were recorded."""
FINDS = ("detections", "candidates", "masks", "scores", "former_candidates")
"""Tables of what was found on frames."""
_KEPT = ("dataset", "run", "layout", "height", "width", "dtype", "geometry", "simulated", "frames", "notes")
"""While nothing can be read from a file, what was known of it stays: its frames' keys depend on that."""


_PUT = tuple(each.name for each in fields(FileRow) if each.name not in ("id", "geometry", "notes"))
_PUT_NAMES = (*_PUT, "geometry", "notes", "reach")
_PUT_FILE = (
    f"INSERT INTO files ({', '.join(_PUT_NAMES)}) VALUES ({', '.join('?' * len(_PUT_NAMES))}) "
    "ON CONFLICT (path) DO UPDATE SET "
    + ", ".join(
        f"{name} = iif(excluded.layout = '' AND layout <> '', {name}, excluded.{name})"
        if name in _KEPT
        else f"{name} = excluded.{name}"
        for name in _PUT_NAMES
        if name not in ("path", "done", "reach")
    )
    + " RETURNING id"
)


class ResultsWriter:
    """The engine's connection; raises sqlite3.Error where something cannot be recorded, and then has recorded nothing.

    Raises SessionError where there is no data base and none can be made, or where there is one that is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not os.path.lexists(path):
            database.make(path)
        self._db = self._open()

    def _open(self) -> sqlite3.Connection:
        db = database.connect(self.path)
        try:
            mode = "TRUNCATE" if database.on_network_file_system(self.path) else "WAL"
            db.execute(f"PRAGMA journal_mode={mode}")
            db.execute("PRAGMA synchronous=NORMAL" if mode == "WAL" else "PRAGMA synchronous=FULL")
            database.bring_up_to_date(db, self.path)
            invalid = invalid_rows(db) if is_small(db) else {}
        except SessionError:
            db.close()
            raise
        except sqlite3.Error as error:
            db.close()
            raise refusal(self.path, error) from error
        if invalid:
            db.close()
            raise _damaged(self.path, f"rows that cannot be right: {described(invalid)}")
        return db

    def reopen(self) -> None:
        """Open the data base again: after an error of the file system the old handle may be good for nothing."""
        db = self._open()
        self._db.close()
        self._db = db

    def close(self) -> None:
        """Close the data base."""
        self._db.close()

    @contextmanager
    def batch(self) -> Iterator[None]:
        """All that is recorded in the block is one transaction."""
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")  # nobody else may write between what is read in it and what is written
            yield

    def files(self) -> list[FileRow]:
        """All files."""
        return database.read_files(self._db)

    def ledger(self) -> Iterator[tuple[FileRow, Spans]]:
        """Every file with its frames that are recorded."""
        gaps: dict[int, list[tuple[int, int]]] = {}
        for file_id, start, stop in self._db.execute("SELECT file_id, start, stop FROM gaps"):
            gaps.setdefault(file_id, []).append((start, stop))
        for *values, reach in self._db.execute(
            f"SELECT {database.FILE_COLUMNS}, device, inode, notes, reach FROM files ORDER BY id"
        ):
            *known, notes = values
            row = database.file_row(tuple(known), notes)
            recorded = Spans([(0, reach)])
            for gap in gaps.get(row.id, ()):
                recorded.remove(*gap)
            yield row, recorded

    def put_file(self, row: FileRow) -> int:
        """Add or replace what is known of a file; returns its id. What is recorded of its frames stays."""
        values = [getattr(row, name) for name in _PUT]
        values += [_geometry_json(row.geometry), json.dumps(row.notes), row.done]
        with self._transaction():
            found = self._db.execute(_PUT_FILE, values).fetchone()
        return int(found[0])

    def move_file(self, old: str, new: str) -> None:
        """A file has another name now; nothing else about it has changed."""
        with self._transaction():
            self._db.execute("UPDATE OR IGNORE files SET path = ? WHERE path = ?", (new, old))

    def forget_frames(self, file_id: int, now: float | None = None) -> None:
        """Forget the frames of a file in whose place another one stands.

        now: Unix time from which its frames are others; labels given before, on frames of which no digest tells
        otherwise, are of frames that have changed.
        """
        with self._transaction():
            self._forget("file_id = ?", file_id)
            self._db.execute("DELETE FROM gaps WHERE file_id = ?", (file_id,))
            self._db.execute(
                "UPDATE files SET done = 0, reach = 0, layout = '', replaced = ? WHERE id = ?",
                (time.time() if now is None else now, file_id),
            )

    def replace_frames(self, file_id: int, results: Sequence[FrameResult], now: float) -> list[int]:
        """Record frames of a file that has changed and was read again; returns the indices of those that differ.

        results: each with its digest, misses too. A frame with the digest that is recorded stays as it is, with the
        scores it has. Of any other one the results take the place of the recorded ones, and it counts as changed from
        `now` on. A frame that was recorded without a digest counts as changed: nothing proves that it has not.
        Frames that are not recorded yet are recorded as by put_frames. All in one transaction.
        """
        changed = []
        with self._transaction():
            fresh = []
            for result in results:
                row = self._db.execute(
                    "SELECT digest, id, hit, seen FROM frames WHERE file_id = ? AND idx = ?", (file_id, result.index)
                ).fetchone()
                if row is None:
                    fresh.append(result)
                elif result.digest is None or result.digest != row[0]:
                    self._replace_frame(row[1:], result, now)
                    changed.append(result.index)
            if changed:
                self._count_change()
            if fresh:
                self.put_frames(file_id, fresh, now)
        return changed

    def _replace_frame(self, known: tuple[int, int, float], result: FrameResult, now: float) -> None:
        """Put a result in the place of what is recorded; known: id, hit and time of the frame's row."""
        frame_id, hit, seen = known
        for table in FINDS:
            self._db.execute(f"DELETE FROM {table} WHERE frame_id = ?", (frame_id,))
        self._db.execute(
            "UPDATE frames SET passed = ?, hit = ?, score = ?, model_id = ?, digest = ?, measures = ?, changed = ? "
            "WHERE id = ?",
            (
                result.passed,
                int(result.hit),
                result.score,
                None if result.model is None else self._model_id(result.model),
                result.digest,
                json.dumps(result.measures),
                now,
                frame_id,
            ),
        )
        self._db.execute(
            "UPDATE history SET hits = hits + ? WHERE bin = ?", (int(result.hit) - hit, int(seen // HISTORY_BIN_S))
        )
        self._put_finds(frame_id, result)

    def cut_frames(self, file_id: int, frames: int) -> int:
        """Forget the frames from index `frames` on, of a file that has become shorter; returns how many."""
        with self._transaction():
            gone = self._forget("file_id = ? AND idx >= ?", file_id, frames)
            self._db.execute("DELETE FROM gaps WHERE file_id = ? AND start >= ?", (file_id, frames))
            self._db.execute("UPDATE gaps SET stop = ? WHERE file_id = ? AND stop > ?", (frames, file_id, frames))
            self._db.execute(
                "UPDATE files SET done = done - ?, reach = min(reach, ?), frames = min(frames, ?) WHERE id = ?",
                (gone, frames, frames, file_id),
            )
        return gone

    def _forget(self, which: str, *arguments: int) -> int:
        """Delete the frames for which a condition holds, with all that was found on them; returns how many."""
        self._db.execute(
            "UPDATE history SET frames = history.frames - gone.frames, hits = history.hits - gone.hits FROM "
            "(SELECT CAST(seen / ? AS INTEGER) AS bin, count(*) AS frames, sum(hit) AS hits FROM frames "
            f"WHERE {which} GROUP BY 1) AS gone WHERE history.bin = gone.bin",
            (HISTORY_BIN_S, *arguments),
        )
        for table in FINDS:
            self._db.execute(f"DELETE FROM {table} WHERE frame_id IN (SELECT id FROM frames WHERE {which})", arguments)
        gone = self._db.execute(f"DELETE FROM frames WHERE {which}", arguments).rowcount
        if gone:
            self._count_change()
        return gone

    def _count_return(self, file_id: int) -> None:
        """Tell readers of frames that come back to a file whose frames were forgotten, or of their digests."""
        if self._db.execute("SELECT 1 FROM files WHERE id = ? AND replaced > 0", (file_id,)).fetchone():
            self._count_change()

    def _count_change(self) -> None:
        """Tell readers that recorded frames are others now: what they have counted or looked up must be again."""
        self._db.execute(
            "INSERT INTO state (key, value) VALUES (?, '1') "
            "ON CONFLICT (key) DO UPDATE SET value = CAST(value AS INTEGER) + 1",
            (CHANGES,),
        )

    def put_frames(self, file_id: int, results: Sequence[FrameResult], now: float) -> None:
        """Record a batch of a file and that these frames are done, in one transaction.

        A frame that stands there already is left as it is, so no frame counts twice.
        """
        with self._transaction():
            self._count_return(file_id)
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
            for start, stop in Spans((result.index, result.index + 1) for result in results):
                self._mark_done(file_id, start, stop, now)
            self._db.execute(
                "INSERT INTO history (bin, frames, hits) VALUES (?, ?, ?) "
                "ON CONFLICT (bin) DO UPDATE SET frames = frames + excluded.frames, hits = hits + excluded.hits",
                (int(now // HISTORY_BIN_S), fresh, hits),
            )

    def put_digests(self, file_id: int, digests: Mapping[int, str]) -> None:
        """Record the digests of frames, by index, that have none yet."""
        with self._transaction():
            self._count_return(file_id)
            self._db.executemany(
                "UPDATE frames SET digest = ? WHERE file_id = ? AND idx = ? AND digest IS NULL",
                [(digest, file_id, index) for index, digest in digests.items()],
            )

    def hits_without_digest(self) -> list[tuple[str, str, tuple[int, ...]]]:
        """Hits of which only a window was read, (path, data set, indices) with DIGESTED_AT_ONCE indices at most."""
        found = self._db.execute(
            "SELECT f.path, f.dataset, r.idx FROM frames r JOIN files f ON f.id = r.file_id "
            "WHERE r.hit AND r.digest IS NULL ORDER BY f.id, r.idx"
        )
        return _in_parts(found)

    def labelled_without_digest(self, keys: Iterable[FrameKey]) -> list[tuple[str, str, tuple[int, ...]]]:
        """Those of these frames that are recorded without a digest, misses as a rule; grouped as hits without one.

        Whether a labelled frame has changed can be told only where it has a digest from before.
        """
        there = look_up(self._db, {key.frame for key in keys})
        without = {known.id: key for key, known in there.items()}
        found = []
        for start in range(0, len(without), KEYS_AT_ONCE):
            part = list(without)[start : start + KEYS_AT_ONCE]
            marks = ",".join("?" * len(part))
            found += self._db.execute(
                f"SELECT id FROM frames WHERE digest IS NULL AND id IN ({marks})", part
            ).fetchall()
        lacking = sorted(without[row[0]] for row in found)
        return _in_parts((key.file, key.dataset, key.index) for key in lacking)

    def rescore(self, file_id: int, results: Sequence[FrameResult]) -> None:
        """Replace what networks said of frames that another model has looked at; the former scores are kept beside."""
        with self._transaction():
            for result in results:
                model_id = None if result.model is None else self._model_id(result.model)
                self._keep_former(file_id, result.index, model_id)
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
            "WHERE m.name <> ? AND f.path NOT IN (SELECT value FROM json_each(?)) LIMIT 1",
            (model, _listed(without)),
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

    def put_shadow(self, file_id: int, model: str, scored: Sequence[tuple[int, float, Sequence[Candidate]]]) -> int:
        """Record what a model says of frames besides the one that decides: (index, score, candidates).

        Frames that are not there, and those whose score is this model's, are left as they are. Returns how many were
        scored that had no score of it.
        """
        new = 0
        with self._transaction():
            model_id = self._model_id(model)
            for index, score, candidates in scored:
                frame = self._db.execute(
                    "SELECT r.id, s.frame_id IS NULL FROM frames r "
                    "LEFT JOIN scores s ON s.frame_id = r.id AND s.model_id = ? "
                    "WHERE r.file_id = ? AND r.idx = ? AND r.score IS NOT NULL AND r.model_id <> ?",
                    (model_id, file_id, index, model_id),
                ).fetchone()
                if frame is None:
                    continue
                frame_id, fresh = frame
                new += fresh
                self._db.execute("INSERT OR REPLACE INTO scores VALUES (?, ?, ?)", (frame_id, model_id, score))
                self._db.execute(
                    "DELETE FROM former_candidates WHERE frame_id = ? AND model_id = ?", (frame_id, model_id)
                )
                self._db.executemany(
                    "INSERT INTO former_candidates (frame_id, model_id, x, y, score) VALUES (?, ?, ?, ?, ?)",
                    [(frame_id, model_id, found.x, found.y, found.score) for found in candidates],
                )
        return new

    def without_score_by(
        self, model: str, below: int | None, limit: int, without: Collection[str] = ()
    ) -> tuple[int, str, str, list[int]] | None:
        """Scored frames of one file that a model has not scored, the newest ones: (id, path, data set, indices).

        below: only frames with a smaller id. The id is that of the oldest of them; of no other file is a newer frame
        left that is not scored. without: paths to pass over.
        """
        rows = self._db.execute(
            "SELECT r.id, f.path, f.dataset, r.idx FROM frames r JOIN files f ON f.id = r.file_id "
            "WHERE r.id < ? AND r.score IS NOT NULL AND r.model_id <> ? "
            "AND NOT EXISTS (SELECT 1 FROM scores s WHERE s.frame_id = r.id AND s.model_id = ?) "
            "AND f.path NOT IN (SELECT value FROM json_each(?)) ORDER BY r.id DESC LIMIT ?",
            (below or sys.maxsize, *(model_number(self._db, model),) * 2, _listed(without), limit),
        ).fetchall()
        if not rows:
            return None
        _, path, dataset, _ = rows[0]
        newest = list(takewhile(lambda row: row[1] == path, rows))
        return newest[-1][0], path, dataset, sorted(row[3] for row in newest)

    def not_scored_by(self, model: str, keys: Sequence[FrameKey]) -> list[FrameKey]:
        """Those of these frames that stand there, with a score, of which a model has told none."""
        known = scores_by(self._db, model, keys)
        there = look_up(self._db, [key for key in keys if key not in known])
        return [key for key in keys if key in there]

    def newest_frame(self) -> int:
        """The id of the frame recorded last, 0 where there is none."""
        return int(self._db.execute("SELECT coalesce(max(id), 0) FROM frames").fetchone()[0])

    def scored_by(self, model: str) -> int:
        """How many frames a model has scored, in use or beside it."""
        model_id = model_number(self._db, model)
        return int(
            self._db.execute(
                "SELECT (SELECT count(*) FROM frames WHERE model_id = ?) + "
                "(SELECT count(*) FROM scores WHERE model_id = ?)",
                (model_id, model_id),
            ).fetchone()[0]
        )

    def first_scores(self, model: str, limit: int) -> list[float]:
        """The first scores that a model gave."""
        found = self._db.execute(
            "SELECT score FROM frames WHERE model_id = (SELECT id FROM models WHERE name = ?) AND score IS NOT NULL "
            "ORDER BY id LIMIT ?",
            (model, limit),
        )
        return [row[0] for row in found]

    def set_state(self, values: dict[str, Any]) -> None:
        """Say how the engine is."""
        with self._transaction():
            self._db.executemany(
                "INSERT INTO state (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                [(key, json.dumps(value)) for key, value in values.items()],
            )

    def state(self) -> EngineState:
        """The engine's last report of itself."""
        return database.read_state(self._db)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """A transaction, or a part of the batch that is open."""
        if self._db.in_transaction:
            yield
        else:
            # Without it the transaction would begin with the first change, behind what was read for it.
            with self.batch():
                yield

    def _mark_done(self, file_id: int, start: int, stop: int, now: float) -> None:
        """Enter frames start .. stop-1 of a file as recorded; frames before them that are not become a gap."""
        (reach,) = self._db.execute("SELECT reach FROM files WHERE id = ?", (file_id,)).fetchone()
        new = max(0, stop - max(start, reach))
        if start < reach:
            filled = self._db.execute(
                "DELETE FROM gaps WHERE file_id = ? AND start < ? AND stop > ? RETURNING start, stop",
                (file_id, stop, start),
            ).fetchall()
            left = [piece for low, high in filled for piece in ((low, start), (stop, high)) if piece[0] < piece[1]]
            new += sum(min(high, stop) - max(low, start) for low, high in filled)
        else:
            left = [(reach, start)] if start > reach else []
        self._db.executemany("INSERT INTO gaps VALUES (?, ?, ?)", [(file_id, *piece) for piece in left])
        self._db.execute(
            "UPDATE files SET done = done + ?, reach = max(reach, ?), updated = ? WHERE id = ?",
            (new, stop, now, file_id),
        )

    def _keep_former(self, file_id: int, index: int, model_id: int | None) -> None:
        """Put a frame's score and candidates aside, unless they are of the model that takes their place."""
        row = self._db.execute(
            "SELECT id, model_id, score FROM frames WHERE file_id = ? AND idx = ? AND score IS NOT NULL "
            "AND model_id IS NOT NULL",
            (file_id, index),
        ).fetchone()
        if row is None or row[1] == model_id:
            return
        frame_id, former, score = row
        for model in (former, model_id):
            for table in ("scores", "former_candidates"):
                self._db.execute(f"DELETE FROM {table} WHERE frame_id = ? AND model_id = ?", (frame_id, model))
        self._db.execute("INSERT INTO scores (frame_id, model_id, score) VALUES (?, ?, ?)", (frame_id, former, score))
        self._db.execute(
            "INSERT INTO former_candidates (frame_id, model_id, x, y, score) "
            "SELECT frame_id, ?, x, y, score FROM candidates WHERE frame_id = ?",
            (former, frame_id),
        )

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


def _listed(paths: Collection[str]) -> str:
    """Paths as one parameter of a query: SQLite takes 250,000 parameters at most."""
    return json.dumps(list(paths))


def _in_parts(frames: Iterable[tuple[str, str, int]]) -> list[tuple[str, str, tuple[int, ...]]]:
    """(Path, data set, index) of frames by file, DIGESTED_AT_ONCE indices at most together."""
    places: dict[tuple[str, str], list[int]] = {}
    for path, dataset, index in frames:
        places.setdefault((path, dataset), []).append(index)
    return [
        (*place, tuple(indices[start : start + DIGESTED_AT_ONCE]))
        for place, indices in places.items()
        for start in range(0, len(indices), DIGESTED_AT_ONCE)
    ]


@lru_cache(maxsize=256)
def _geometry_json(geometry: Geometry) -> str:
    return json.dumps(asdict(geometry))


def refusal(path: Path, error: sqlite3.Error) -> SessionError:
    """The error for a data base that cannot be used: damaged, or not to be written."""
    if database.error_code(error) in database.DAMAGED:
        return _damaged(path, str(error))
    if not os.access(path.parent, os.W_OK):
        return SessionError(
            f"Could not write {path}: its folder is read-only.", "Make it writable, or copy the session."
        )
    return SessionError(f"Could not write {path}: {error}.", "Free space on that disk or make it writable.")


def _damaged(path: Path, reason: str) -> SessionError:
    return SessionError(
        f"Could not use {path}: it is damaged ({reason}).",
        f"No label is in it. `photon-triage session repair {path.parent}` makes it again from what can be read.",
        title="Results damaged",
    )
