"""What a list on a screen holds, frames or candidates: ids in an order, and the rows of some of them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from photon_triage.core.candidates import distance
from photon_triage.core.frames import FrameKey
from photon_triage.core.session.rows import FrameRow

ROWS_AT_ONCE = 500


class Listing:
    """One kind of row of results.db; a subclass says where it stands."""

    TABLES: ClassVar[str]
    COLUMNS: ClassVar[str]
    """As `_row` takes them: id, path, dataset, idx, run, seen, passed, hit, score, digest, measures, frame, x, y."""
    ID: ClassVar[str]
    SCORE: ClassVar[str]
    HITS: ClassVar[str]
    """The condition that keeps only hits."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def ids(
        self, *, hits_only: bool = True, order: str = "score", near: float = 0.5, containing: str = ""
    ) -> list[int]:
        """Ids in list order: "score" (highest first, unscored last), "time" (newest first) or "uncertainty".

        "uncertainty" puts the scores closest to `near` first; `containing` keeps what has that text in path or run.
        """
        by = {
            "score": f"{self.SCORE} DESC, {self.ID} DESC",
            "time": f"{self.ID} DESC",
            "uncertainty": f"{self.SCORE} IS NULL, abs({self.SCORE} - ?), {self.ID} DESC",
        }[order]
        tables, conditions = self.TABLES, [self.HITS] if hits_only else []
        arguments: list[str | float] = []
        if containing:
            tables += " JOIN files f ON f.id = r.file_id"
            conditions.append("(instr(lower(f.path), ?) OR instr(lower(f.run), ?))")
            arguments += [containing.lower()] * 2
        if order == "uncertainty":
            arguments.append(near)
        where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        rows = self._db.execute(f"SELECT {self.ID} FROM {tables} {where} ORDER BY {by}", arguments)
        return [row[0] for row in rows]

    def rows(self, ids: Sequence[int]) -> dict[int, FrameRow]:
        """What is known of these, by id."""
        found: dict[int, FrameRow] = {}
        for start in range(0, len(ids), ROWS_AT_ONCE):
            part = ids[start : start + ROWS_AT_ONCE]
            rows = self._db.execute(f"{self._select()} WHERE {self.ID} IN ({','.join('?' * len(part))})", part)
            found.update((row[0], _row(row)) for row in rows)
        return found

    def all(self) -> Iterator[FrameRow]:
        """Every one, in the order seen."""
        for row in self._db.execute(f"{self._select()} ORDER BY {self.ID}"):
            yield _row(row)

    def row_of(self, key: FrameKey, radius: float = 0.0) -> FrameRow | None:
        """What is known of the frame of that key, or of the candidate nearest to its point within `radius` pixels."""
        raise NotImplementedError

    def selected_count(self, threshold: float) -> int:
        """How many have a score of at least the threshold."""
        found = self._db.execute(f"SELECT count(*) FROM {self.TABLES} WHERE {self.SCORE} >= ?", (threshold,))
        return int(found.fetchone()[0])

    def _select(self) -> str:
        return f"SELECT {self.COLUMNS} FROM {self.TABLES} JOIN files f ON f.id = r.file_id"

    def _of_frame(self, key: FrameKey) -> list[FrameRow]:
        rows = self._db.execute(
            f"{self._select()} WHERE f.path = ? AND f.dataset = ? AND r.idx = ?", (key.file, key.dataset, key.index)
        )
        return [_row(row) for row in rows]


class FrameListing(Listing):
    """Frames."""

    TABLES = "frames r"
    COLUMNS = (
        "r.id, f.path, f.dataset, r.idx, f.run, r.seen, r.passed, r.hit, r.score, r.digest, r.measures, r.id, "
        "NULL, NULL"
    )
    ID, SCORE, HITS = "r.id", "r.score", "r.hit = 1"

    def row_of(self, key: FrameKey, radius: float = 0.0) -> FrameRow | None:
        """What is known of the frame of that key."""
        return next(iter(self._of_frame(key)), None)


class CandidateListing(Listing):
    """Candidates; one is as old as its frame and has the frame's measures beside its own x and y."""

    TABLES = "candidates c JOIN frames r ON r.id = c.frame_id"
    COLUMNS = (
        "c.id, f.path, f.dataset, r.idx, f.run, r.seen, r.passed, 1, c.score, r.digest, r.measures, r.id, c.x, c.y"
    )
    ID, SCORE, HITS = "c.id", "c.score", "1"

    def row_of(self, key: FrameKey, radius: float = 0.0) -> FrameRow | None:
        """What is known of the candidate nearest to the key's point, within `radius` pixels of it."""
        if not key.point:
            return None
        near = [(distance(row.key.point, key.point), row.id, row) for row in self._of_frame(key)]
        return next((row for away, _, row in sorted(near, key=lambda each: each[:2]) if away <= radius), None)


def _row(values: tuple[Any, ...]) -> FrameRow:
    id_, path, dataset, index, run, seen, passed, hit, score, digest, measures, frame_id, x, y = values
    key = FrameKey(path, dataset, index, () if x is None else (x, y))
    measured = json.loads(measures)
    if key.point:
        measured |= {"x": x, "y": y}
    return FrameRow(id_, key, run, seen, passed, bool(hit), score, digest, measured, frame_id)
