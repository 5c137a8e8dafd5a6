"""Runs and hit rates, counted frame by frame once: what is new is added to what was counted before."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

BINS = 40
SAMPLE = 4000
"""Frames whose numbers tell between which bounds most of them lie."""
TIME, RUN, PLACE, SCORE = "time", "run", "place in file", "score"
AXES = (TIME, RUN, PLACE, SCORE)
"""What a hit rate can be shown against, beside the numbers that stages record."""


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run: frames recorded, hits, frames with a score, when the first and the last was recorded (Unix time).

    waiting: frames that its files are said to hold and that are not recorded yet.
    """

    run: str
    frames: int
    hits: int
    scored: int
    first_seen: float
    last_seen: float
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class Bar:
    """Frames and hits of one stretch of an axis: from `low` to `high`, or of what `name` names."""

    frames: int
    hits: int
    low: float = 0.0
    high: float = 0.0
    name: str = ""

    @property
    def percent(self) -> float:
        """The hit rate; 0 where there is no frame."""
        return 100 * self.hits / self.frames if self.frames else 0.0


class RunTally:
    """The runs of a session, newest first; a call reads only the frames that were recorded since the last one."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._last = 0
        self._epoch: object = None
        self._runs: dict[str, RunRow] = {}

    def rows(self, epoch: object) -> tuple[RunRow, ...]:
        """The runs now. epoch: whatever changes when frames were forgotten or files moved; then all is counted anew."""
        if epoch != self._epoch:
            self._epoch, self._last, self._runs = epoch, 0, {}
        (last,) = self._db.execute("SELECT coalesce(max(id), 0) FROM frames").fetchone()
        new = self._db.execute(
            "SELECT f.run, count(*), sum(r.hit), sum(r.score IS NOT NULL), min(r.seen), max(r.seen) "
            "FROM frames r JOIN files f ON f.id = r.file_id WHERE r.id > ? AND r.id <= ? GROUP BY f.run",
            (self._last, last),
        )
        for run, frames, hits, scored, first, seen in new:
            old = self._runs.get(run, RunRow(run, 0, 0, 0, first, seen))
            self._runs[run] = RunRow(
                run, old.frames + frames, old.hits + hits, old.scored + scored,
                min(old.first_seen, first), max(old.last_seen, seen),
            )  # fmt: skip
        self._last = last
        waiting = dict(
            self._db.execute(
                "SELECT run, sum(iif(status IN ('unreadable', 'missing'), 0, max(frames - done, 0))) "
                "FROM files GROUP BY run"
            ).fetchall()
        )
        rows = [
            RunRow(
                row.run, row.frames, row.hits, row.scored, row.first_seen, row.last_seen, waiting.get(row.run, 0)
            )
            for row in self._runs.values()
        ]  # fmt: skip
        return tuple(sorted(rows, key=lambda row: (-row.last_seen, row.run)))


class RateTally:
    """The hit rate against one number that is recorded of every frame, in BINS stretches of equal width.

    The bounds are the 1st and the 99th percentile of the first frames; what lies outside counts in the outermost.
    """

    def __init__(self, db: sqlite3.Connection, name: str) -> None:
        self._db = db
        self.name = name
        self._epoch: object = None
        self._last = 0
        self._bounds: tuple[float, float] | None = None
        self._counts = [[0, 0] for _ in range(BINS)]

    def bars(self, epoch: object) -> tuple[Bar, ...]:
        """The stretches now; none before any frame has that number. epoch: see RunTally."""
        if epoch != self._epoch:
            self._epoch, self._last, self._bounds = epoch, 0, None
            self._counts = [[0, 0] for _ in range(BINS)]
        bounds = self._bounds = self._bounds or self._find_bounds()
        if bounds is None:
            return ()
        (last,) = self._db.execute("SELECT coalesce(max(id), 0) FROM frames").fetchone()
        low, high = bounds
        width = (high - low) / BINS
        value, arguments = self._value()
        new = self._db.execute(
            f"SELECT max(0, min({BINS - 1}, CAST((value - ?) / ? AS INTEGER))) AS place, count(*), sum(hit) "
            f"FROM (SELECT {value} AS value, hit FROM frames WHERE id > ? AND id <= ?) "
            "WHERE value IS NOT NULL GROUP BY place",
            (low, width, *arguments, self._last, last),
        )
        for place, frames, hits in new:
            self._counts[place][0] += frames
            self._counts[place][1] += hits
        self._last = last
        return tuple(
            Bar(frames, hits, low + place * width, low + (place + 1) * width)
            for place, (frames, hits) in enumerate(self._counts)
        )

    def _value(self) -> tuple[str, tuple[str, ...]]:
        if self.name in (PLACE, SCORE):
            return ("idx" if self.name == PLACE else "score"), ()
        return "json_extract(measures, ?)", (f'$."{self.name}"',)

    def _find_bounds(self) -> tuple[float, float] | None:
        value, arguments = self._value()
        rows = self._db.execute(
            f"SELECT value FROM (SELECT {value} AS value FROM frames LIMIT ?) WHERE value IS NOT NULL",
            (*arguments, SAMPLE),
        )
        values = sorted(float(row[0]) for row in rows if math.isfinite(row[0]))
        if not values:
            return None
        low, high = values[len(values) // 100], values[-1 - len(values) // 100]
        return (low, high) if high > low else (low - 0.5, low + 0.5)


def recorded_numbers(db: sqlite3.Connection) -> Sequence[str]:
    """The names of the numbers that stages record, as far as the newest frames tell."""
    rows = db.execute(
        "SELECT DISTINCT key FROM (SELECT measures FROM frames ORDER BY id DESC LIMIT 200), json_each(measures) "
        "WHERE type IN ('integer', 'real') ORDER BY key"
    )
    return [name for (name,) in rows if '"' not in name]
