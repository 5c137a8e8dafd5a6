"""The rows of frames in results.db and of the results on them, as the engine writes them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence

from photon_triage.core.common.index_ranges import Spans
from photon_triage.core.session.store.rows import HISTORY_BIN_S, FrameResult, mask_bytes
from photon_triage.core.session.store.second_scores import add_model, keep_former

CHANGES = "changes"
"""The state's count of changes to frames that were recorded."""
FINDS = ("detections", "candidates", "masks", "scores", "former_candidates")
"""Tables of results on frames: boxes, candidates, masks, scores."""


class FrameTables:
    """Writes frames with all that belongs to them: what was found, the files' counts, the history.

    Every method is called within a transaction.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def put(self, file_id: int, results: Sequence[FrameResult], now: float) -> None:
        """Record frames of a file; one that stands there already is left as it is, so no frame counts twice."""
        self._count_return(file_id)
        fresh = hits = 0
        for result in results:
            model_id = None if result.model is None else add_model(self._db, result.model)
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

    def replace(self, file_id: int, results: Sequence[FrameResult], now: float) -> list[int]:
        """Record frames that were read again; returns the indices of those that differ. See ResultsWriter."""
        changed, fresh = [], []
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
            self.put(file_id, fresh, now)
        return changed

    def forget(self, file_id: int, now: float) -> None:
        """Forget the frames of a file in whose place another one stands; now: Unix time from which they are others."""
        self._db.execute(
            "UPDATE history SET frames = history.frames - gone.frames, hits = history.hits - gone.hits FROM "
            "(SELECT CAST(seen / ? AS INTEGER) AS bin, count(*) AS frames, sum(hit) AS hits FROM frames "
            "WHERE file_id = ? GROUP BY 1) AS gone WHERE history.bin = gone.bin",
            (HISTORY_BIN_S, file_id),
        )
        for table in FINDS:
            self._db.execute(
                f"DELETE FROM {table} WHERE frame_id IN (SELECT id FROM frames WHERE file_id = ?)", (file_id,)
            )
        if self._db.execute("DELETE FROM frames WHERE file_id = ?", (file_id,)).rowcount:
            self._count_change()
        self._db.execute("DELETE FROM gaps WHERE file_id = ?", (file_id,))
        self._db.execute("UPDATE files SET done = 0, reach = 0, layout = '', replaced = ? WHERE id = ?", (now, file_id))

    def put_digests(self, file_id: int, digests: Mapping[int, str]) -> None:
        """Record the digests of frames, by index, that have none yet."""
        self._count_return(file_id)
        self._db.executemany(
            "UPDATE frames SET digest = ? WHERE file_id = ? AND idx = ? AND digest IS NULL",
            [(digest, file_id, index) for index, digest in digests.items()],
        )

    def rescore(self, file_id: int, results: Sequence[FrameResult]) -> None:
        """Replace what networks said of frames; the former scores are kept beside."""
        for result in results:
            model_id = None if result.model is None else add_model(self._db, result.model)
            keep_former(self._db, file_id, result.index, model_id)
            updated = self._db.execute(
                "UPDATE frames SET score = ?, passed = ?, model_id = ? WHERE file_id = ? AND idx = ? RETURNING id",
                (result.score, result.passed, model_id, file_id, result.index),
            ).fetchone()
            if updated is not None:
                for table in ("detections", "candidates", "masks"):
                    self._db.execute(f"DELETE FROM {table} WHERE frame_id = ?", updated)
                self._put_finds(int(updated[0]), result)

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
                None if result.model is None else add_model(self._db, result.model),
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
