"""What any model said of frames: the one whose score stands in results.db, and those that scored them beside it."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from photon_triage.core.candidates import Candidate, distance
from photon_triage.core.frames import FrameKey
from photon_triage.core.session.store.frames import sql_text

ROWS_AT_ONCE = 500

_SCORE_BY = (
    "CASE WHEN r.model_id = {model} THEN r.score "
    "ELSE (SELECT s.score FROM scores s WHERE s.frame_id = r.id AND s.model_id = {model}) END"
)


@dataclass(frozen=True, slots=True)
class FlippedScore:
    """A frame on which two models differ: below the threshold by one, at or above it by the other."""

    key: FrameKey
    old: float
    new: float


def scores_by(
    db: sqlite3.Connection, model: str, keys: Iterable[FrameKey], radius: float = 0.0
) -> dict[FrameKey, float | None]:
    """The scores that a model gave to these frames; None for those that no network has looked at.

    Frames that it has not scored, and those that are not in the results, are left out. A key with a point has the score
    of the model's nearest candidate within `radius` pixels, None where there is none.
    """
    model_id = model_number(db, model)
    of_file: dict[tuple[str, str], dict[int, list[FrameKey]]] = defaultdict(lambda: defaultdict(list))
    for key in keys:
        of_file[key.file, key.dataset][key.index].append(key)
    found: dict[FrameKey, float | None] = {}
    for place, frames in of_file.items():
        indices = list(frames)
        for start in range(0, len(indices), ROWS_AT_ONCE):
            part = indices[start : start + ROWS_AT_ONCE]
            rows = db.execute(
                f"SELECT r.idx, r.id, r.score, r.model_id, {_SCORE_BY.format(model='?')} "
                "FROM frames r JOIN files f ON f.id = r.file_id "
                f"WHERE f.path = ? AND f.dataset = ? AND r.idx IN ({','.join('?' * len(part))})",
                (model_id, model_id, *map(sql_text, place), *part),
            ).fetchall()
            for index, frame_id, score, scored_by, mine in rows:
                if score is not None and mine is None:
                    continue
                for key in frames[index]:
                    if score is None or not key.point:
                        found[key] = mine
                    else:
                        found[key] = _nearest(db, key, frame_id, model_id, radius, current=scored_by == model_id)
    return found


def changed_sides(db: sqlite3.Connection, old: str, new: str, threshold: float) -> list[FlippedScore]:
    """The frames that one of two models selects and the other does not, the largest differences first."""
    ids = (model_number(db, old), model_number(db, new))
    # Only what a second model has scored can differ, so the search begins there.
    rows = db.execute(
        "SELECT f.path, f.dataset, r.idx, "
        f"{_SCORE_BY.format(model=':old')} AS a, {_SCORE_BY.format(model=':new')} AS b "
        "FROM (SELECT DISTINCT frame_id FROM scores WHERE model_id IN (:old, :new)) o "
        "JOIN frames r ON r.id = o.frame_id JOIN files f ON f.id = r.file_id "
        "WHERE a IS NOT NULL AND b IS NOT NULL AND (a >= :threshold) <> (b >= :threshold) "
        "ORDER BY abs(a - b) DESC, r.id",
        {"old": ids[0], "new": ids[1], "threshold": threshold},
    )
    return [FlippedScore(FrameKey(path, dataset, index), a, b) for path, dataset, index, a, b in rows]


def scored_by_both(db: sqlite3.Connection, old: str, new: str) -> int:
    """How many frames two models have both scored."""
    ids = {"old": model_number(db, old), "new": model_number(db, new)}
    row = db.execute(
        "SELECT count(*) FROM (SELECT DISTINCT frame_id FROM scores WHERE model_id IN (:old, :new)) o "
        "JOIN frames r ON r.id = o.frame_id "
        f"WHERE {_SCORE_BY.format(model=':old')} IS NOT NULL AND {_SCORE_BY.format(model=':new')} IS NOT NULL",
        ids,
    ).fetchone()
    return int(row[0])


def nearest_score(key: FrameKey, candidates: Sequence[tuple[int, int, float]], radius: float) -> float | None:
    """The score of the candidate (x, y, score) nearest to a key's point, None where none is within the radius."""
    away = [(distance(key.point, (x, y)), score) for x, y, score in candidates]
    return min((each for each in away if each[0] <= radius), default=(0.0, None))[1]


def put_second_scores(
    db: sqlite3.Connection, file_id: int, model: str, scored: Sequence[tuple[int, float, Sequence[Candidate]]]
) -> int:
    """Record the scores of a model that is not in use: (index, score, candidates); returns how many are new.

    Frames that are not there, and those whose score is this model's, are left as they are. Called within a transaction.
    """
    new = 0
    model_id = add_model(db, model)
    for index, score, candidates in scored:
        frame = db.execute(
            "SELECT r.id, s.frame_id IS NULL FROM frames r "
            "LEFT JOIN scores s ON s.frame_id = r.id AND s.model_id = ? "
            "WHERE r.file_id = ? AND r.idx = ? AND r.score IS NOT NULL AND r.model_id <> ?",
            (model_id, file_id, index, model_id),
        ).fetchone()
        if frame is None:
            continue
        frame_id, fresh = frame
        new += fresh
        db.execute("INSERT OR REPLACE INTO scores VALUES (?, ?, ?)", (frame_id, model_id, score))
        db.execute("DELETE FROM former_candidates WHERE frame_id = ? AND model_id = ?", (frame_id, model_id))
        db.executemany(
            "INSERT INTO former_candidates (frame_id, model_id, x, y, score) VALUES (?, ?, ?, ?, ?)",
            [(frame_id, model_id, found.x, found.y, found.score) for found in candidates],
        )
    return new


def keep_former(db: sqlite3.Connection, file_id: int, index: int, model_id: int | None) -> None:
    """Put a frame's score and candidates aside, unless they are of the model that takes their place."""
    row = db.execute(
        "SELECT id, model_id, score FROM frames WHERE file_id = ? AND idx = ? AND score IS NOT NULL "
        "AND model_id IS NOT NULL",
        (file_id, index),
    ).fetchone()
    if row is None or row[1] == model_id:
        return
    frame_id, former, score = row
    for model in (former, model_id):
        for table in ("scores", "former_candidates"):
            db.execute(f"DELETE FROM {table} WHERE frame_id = ? AND model_id = ?", (frame_id, model))
    db.execute("INSERT INTO scores (frame_id, model_id, score) VALUES (?, ?, ?)", (frame_id, former, score))
    db.execute(
        "INSERT INTO former_candidates (frame_id, model_id, x, y, score) "
        "SELECT frame_id, ?, x, y, score FROM candidates WHERE frame_id = ?",
        (former, frame_id),
    )


def model_number(db: sqlite3.Connection, name: str) -> int:
    """A model's number in the results, -1 where it has scored nothing."""
    row = db.execute("SELECT id FROM models WHERE name = ?", (sql_text(name),)).fetchone()
    return -1 if row is None else int(row[0])


def add_model(db: sqlite3.Connection, name: str) -> int:
    """A model's number in the results, which it gets here where it has none."""
    db.execute("INSERT OR IGNORE INTO models (name) VALUES (?)", (name,))
    return int(db.execute("SELECT id FROM models WHERE name = ?", (name,)).fetchone()[0])


def _nearest(
    db: sqlite3.Connection, key: FrameKey, frame_id: int, model_id: int, radius: float, *, current: bool
) -> float | None:
    table, which = ("candidates", "") if current else ("former_candidates", " AND model_id = ?")
    arguments = (frame_id,) if current else (frame_id, model_id)
    rows = db.execute(f"SELECT x, y, score FROM {table} WHERE frame_id = ?{which}", arguments).fetchall()
    return nearest_score(key, rows, radius)
