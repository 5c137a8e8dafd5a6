"""The frames beside one in its run, whether any list holds them or not."""

from __future__ import annotations

import sqlite3

from photon_triage.core.session.store.listing import FrameListing
from photon_triage.core.session.store.rows import FrameRow


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
