"""The engine's side of results.db: one transaction a batch, and the ledger of every file's frames."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

from photon_triage.core.candidates import Candidate
from photon_triage.core.common.errors import SessionError
from photon_triage.core.common.index_ranges import Spans
from photon_triage.core.frames import Geometry
from photon_triage.core.session.state import EngineState
from photon_triage.core.session.store import database
from photon_triage.core.session.store.frame_tables import FrameTables
from photon_triage.core.session.store.missing_values import MissingValues
from photon_triage.core.session.store.rows import FileRow, FrameResult
from photon_triage.core.session.store.second_scores import model_number, put_second_scores
from photon_triage.core.session.store.validity import described, invalid_rows, is_small

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

    missing: frames that lack a digest or a score. Raises SessionError where there is no data base and none can
    be made, or where there is one that is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not os.path.lexists(path):
            database.make(path)
        self._use(self._open())

    def reopen(self) -> None:
        """Open the data base again: after an error of the file system the old handle may be good for nothing."""
        db = self._open()
        self._db.close()
        self._use(db)

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
            self._frames.forget(file_id, time.time() if now is None else now)

    def replace_frames(self, file_id: int, results: Sequence[FrameResult], now: float) -> list[int]:
        """Record frames of a file that has changed and was read again; returns the indices of those that differ.

        results: each with its digest, misses too. A frame with the digest that is recorded stays as it is, with the
        scores it has. Of any other one the results take the place of the recorded ones, and it counts as changed from
        `now` on. A frame that was recorded without a digest counts as changed: nothing proves that it has not.
        Frames that are not recorded yet are recorded as by put_frames. All in one transaction.
        """
        with self._transaction():
            return self._frames.replace(file_id, results, now)

    def put_frames(self, file_id: int, results: Sequence[FrameResult], now: float) -> None:
        """Record a batch of a file and that these frames are done, in one transaction.

        A frame that stands there already is left as it is, so no frame counts twice.
        """
        with self._transaction():
            self._frames.put(file_id, results, now)

    def put_digests(self, file_id: int, digests: Mapping[int, str]) -> None:
        """Record the digests of frames, by index, that have none yet."""
        with self._transaction():
            self._frames.put_digests(file_id, digests)

    def rescore(self, file_id: int, results: Sequence[FrameResult]) -> None:
        """Replace what networks said of frames that another model has looked at; the former scores are kept beside."""
        with self._transaction():
            self._frames.rescore(file_id, results)

    def put_shadow(self, file_id: int, model: str, scored: Sequence[tuple[int, float, Sequence[Candidate]]]) -> int:
        """Record what a model says of frames besides the one that decides: (index, score, candidates).

        Frames that are not there, and those whose score is this model's, are left as they are. Returns how many were
        scored that had no score of it.
        """
        with self._transaction():
            return put_second_scores(self._db, file_id, model, scored)

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
            raise database.refusal(self.path, error) from error
        if invalid:
            db.close()
            raise database.damaged(self.path, f"rows that cannot be right: {described(invalid)}")
        return db

    def _use(self, db: sqlite3.Connection) -> None:
        self._db, self._frames, self.missing = db, FrameTables(db), MissingValues(db)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """A transaction, or a part of the batch that is open."""
        if self._db.in_transaction:
            yield
        else:
            # Without it the transaction would begin with the first change, behind what was read for it.
            with self.batch():
                yield


@lru_cache(maxsize=256)
def _geometry_json(geometry: Geometry) -> str:
    return json.dumps(asdict(geometry))
