"""What a list on a screen holds, frames or candidates: ids in an order, and the rows of some of them."""

from __future__ import annotations

import json
import sqlite3
from abc import ABC
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from photon_triage.core.frames import FrameKey
from photon_triage.core.session.store.filters import ListFilter
from photon_triage.core.session.store.frames import select_ids
from photon_triage.core.session.store.rows import FrameRow

ROWS_AT_ONCE = 500
EVERYTHING = ListFilter()


class Listing(ABC):
    """One kind of row of results.db; a subclass says where it stands."""

    TABLES: ClassVar[str]
    COLUMNS: ClassVar[str]
    """As `_row` takes them: id, path, dataset, idx, run, seen, passed, hit, score, digest, measures, frame, x, y."""
    ID: ClassVar[str]
    SCORE: ClassVar[str]
    HITS: ClassVar[str]
    """The condition that keeps only hits."""
    APART: ClassVar[str]
    """How far two models' scores lie apart: id and `apart`."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def ids(
        self,
        *,
        hits_only: bool = True,
        order: str = "score",
        near: float = 0.5,
        only: ListFilter = EVERYTHING,
        radius: float = 0.0,
    ) -> list[int]:
        """The same as `id_array`, as a list."""
        found = self.id_array(hits_only=hits_only, order=order, near=near, only=only, radius=radius)
        return [int(id_) for id_ in found]

    def id_array(
        self,
        *,
        hits_only: bool = True,
        order: str = "score",
        near: float = 0.5,
        only: ListFilter = EVERYTHING,
        radius: float = 0.0,
    ) -> NDArray[np.int64]:
        """Ids in list order: "score" (highest first, unscored last), "newest", "uncertain" or "disagree".

        "uncertain" puts the scores closest to `near` first, "disagree" those on which two models differ most; what only
        one model has scored is not in it. only: what SQL can tell of that filter holds; where it says hit or miss,
        `hits_only` does not count. radius: pixels within which two models' candidates are the same.
        """
        by = {
            "score": f"{self.SCORE} DESC, {self.ID} DESC",
            "newest": f"{self.ID} DESC",
            "uncertain": f"{self.SCORE} IS NULL, abs({self.SCORE} - ?), {self.ID} DESC",
            "disagree": f"o.apart DESC, {self.ID} DESC",
        }[order]
        tables = self.TABLES
        if order == "disagree":
            if not self.has_second_scores():
                return np.empty(0, dtype=np.int64)
            tables += f" JOIN ({self.APART}) o ON o.id = {self.ID}"
        conditions, arguments = only.conditions(self.SCORE)
        if only.words or only.runs or only.files:
            tables += " JOIN files f ON f.id = r.file_id"
        if hits_only and not only.seen:
            conditions.insert(0, self.HITS)
        if order == "disagree":
            arguments[:0] = [radius**2] * self.APART.count("?")
        if order == "uncertain":
            arguments.append(near)
        where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        if not where and order != "disagree" and (everything := self._everything(by, arguments)) is not None:
            return everything
        return select_ids(self._db, f"SELECT {self.ID} AS id FROM {tables} {where} ORDER BY {by}", arguments)

    def _everything(self, by: str, arguments: Sequence[object]) -> NDArray[np.int64] | None:
        """All ids in that order, where there is a faster way than to ask for them."""
        return None

    def has_second_scores(self) -> bool:
        """Whether a second model has scored anything."""
        try:
            return self._db.execute("SELECT 1 FROM scores LIMIT 1").fetchone() is not None
        except sqlite3.OperationalError:  # made by an earlier version, and no engine of this one has run on it yet
            return False

    def rows(self, ids: Sequence[int]) -> dict[int, FrameRow]:
        """What is known of these, by id."""
        found: dict[int, FrameRow] = {}
        for start in range(0, len(ids), ROWS_AT_ONCE):
            part = ids[start : start + ROWS_AT_ONCE]
            rows = self._db.execute(f"{self._select()} WHERE {self.ID} IN ({','.join('?' * len(part))})", part)
            found.update((row[0], _row(row)) for row in rows)
        return found

    def selected_count(self, threshold: float) -> int:
        """How many have a score of at least the threshold."""
        found = self._db.execute(f"SELECT count(*) FROM {self.TABLES} WHERE {self.SCORE} >= ?", (threshold,))
        return int(found.fetchone()[0])

    def _select(self) -> str:
        return f"SELECT {self.COLUMNS} FROM {self.TABLES} JOIN files f ON f.id = r.file_id"


class FrameListing(Listing):
    """Frames."""

    TABLES = "frames r"
    COLUMNS = (
        "r.id, f.path, f.dataset, r.idx, f.run, r.seen, r.passed, r.hit, r.score, r.digest, r.measures, r.id, "
        "NULL, NULL"
    )
    ID, SCORE, HITS = "r.id", "r.score", "r.hit = 1"
    APART = (
        "SELECT s.frame_id AS id, max(abs(n.score - s.score)) AS apart "
        "FROM scores s JOIN frames n ON n.id = s.frame_id WHERE s.model_id <> n.model_id GROUP BY s.frame_id"
    )

    def _everything(self, by: str, arguments: Sequence[object]) -> NDArray[np.int64] | None:
        """Ids without a hole need not be read: only those with a score, which stand in the index, and come first."""
        first, last = self._db.execute("SELECT (SELECT min(id) FROM frames), (SELECT max(id) FROM frames)").fetchone()
        (recorded,) = self._db.execute("SELECT sum(frames) FROM history").fetchone()
        if first is None or recorded != last - first + 1:
            return None
        if by == "r.id DESC":
            return np.arange(last, first - 1, -1, dtype=np.int64)
        scored = select_ids(
            self._db, f"SELECT r.id FROM frames r WHERE hit IN (0, 1) AND score IS NOT NULL ORDER BY {by}", arguments
        )
        others = np.ones(recorded, dtype=np.bool_)
        others[scored - first] = False
        return np.concatenate([scored, first + np.flatnonzero(others)[::-1]])

    def selected_count(self, threshold: float) -> int:
        """How many have a score of at least the threshold."""
        found = self._db.execute("SELECT count(*) FROM frames WHERE hit IN (0, 1) AND score >= ?", (threshold,))
        return int(found.fetchone()[0])


class CandidateListing(Listing):
    """Candidates; one is as old as its frame and has the frame's measures beside its own x and y."""

    TABLES = "candidates c JOIN frames r ON r.id = c.frame_id"
    COLUMNS = (
        "c.id, f.path, f.dataset, r.idx, f.run, r.seen, r.passed, 1, c.score, r.digest, r.measures, r.id, c.x, c.y"
    )
    ID, SCORE, HITS = "c.id", "c.score", "1"
    # A candidate that the other model did not find has no score there: the other one thought nothing of that place.
    APART = (
        "SELECT n.id AS id, max(abs(n.score - coalesce((SELECT max(w.score) FROM former_candidates w "
        "WHERE w.frame_id = n.frame_id AND w.model_id = s.model_id "
        "AND (w.x - n.x) * (w.x - n.x) + (w.y - n.y) * (w.y - n.y) <= ?), 0))) AS apart "
        "FROM scores s JOIN frames m ON m.id = s.frame_id JOIN candidates n ON n.frame_id = s.frame_id "
        "WHERE s.model_id <> m.model_id GROUP BY n.id"
    )


def _row(values: tuple[Any, ...]) -> FrameRow:
    id_, path, dataset, index, run, seen, passed, hit, score, digest, measures, frame_id, x, y = values
    key = FrameKey(path, dataset, index, () if x is None else (x, y))
    measured = json.loads(measures)
    if key.point:
        measured |= {"x": x, "y": y}
    return FrameRow(id_, key, run, seen, passed, bool(hit), score, digest, measured, frame_id)


def neighbours(db: sqlite3.Connection, frame_id: int, count: int) -> list[FrameRow]:
    """Up to `count` frames before that one, itself, and up to `count` after it, in the order of files and frames.

    A run goes on from file to file by their paths. Only recorded frames are found.
    """
    here = db.execute(
        "SELECT f.run, f.path, f.id, r.idx FROM frames r JOIN files f ON f.id = r.file_id WHERE r.id = ?", (frame_id,)
    ).fetchone()
    if here is None:
        return []
    run, path, file_id, index = here
    before = _beside(db, run, path, file_id, index, count, "<", "DESC")
    after = _beside(db, run, path, file_id, index, count, ">", "ASC")
    ids = [*reversed(before), frame_id, *after]
    rows = FrameListing(db).rows(ids)
    return [rows[each] for each in ids if each in rows]


def _beside(
    db: sqlite3.Connection, run: str, path: str, file_id: int, index: int, count: int, sign: str, order: str
) -> list[int]:
    """Ids of the frames on one side, the nearest first: of the same file, then of those that come next."""
    found = db.execute(
        f"SELECT id FROM frames WHERE file_id = ? AND idx {sign} ? ORDER BY idx {order} LIMIT ?",
        (file_id, index, count),
    ).fetchall()
    if len(found) < count:
        files = db.execute(
            f"SELECT id FROM files WHERE run = ? AND path {sign} ? ORDER BY path {order} LIMIT ?", (run, path, count)
        )
        for (other,) in files.fetchall():
            found += db.execute(
                f"SELECT id FROM frames WHERE file_id = ? ORDER BY idx {order} LIMIT ?", (other, count - len(found))
            ).fetchall()
            if len(found) >= count:
                break
    return [row[0] for row in found]
