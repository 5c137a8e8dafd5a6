"""Frames in results.db that lack a digest, or the score of a model: the engine reads them again."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Collection, Iterable, Sequence
from itertools import takewhile

from photon_triage.core.frames import FrameKey
from photon_triage.core.session.store.frames import KEYS_AT_ONCE, look_up
from photon_triage.core.session.store.second_scores import model_number, scores_by

DIGESTED_AT_ONCE = 20


class MissingValues:
    """Finds recorded frames that lack a value."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

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
        """Recorded frames among these for which a model has no score yet."""
        known = scores_by(self._db, model, keys)
        there = look_up(self._db, [key for key in keys if key not in known])
        return [key for key in keys if key in there]


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
