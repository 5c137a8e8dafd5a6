"""results.db: what the engine found, written by the engine alone and read by everybody."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from photon_triage.core.candidates import Candidate
from photon_triage.core.common.errors import SessionError
from photon_triage.core.frames import Box, FrameKey, Geometry
from photon_triage.core.recipe import Unit
from photon_triage.core.session.state import EngineState, with_trouble
from photon_triage.core.session.store import database
from photon_triage.core.session.store.frame_tables import CHANGES
from photon_triage.core.session.store.frames import FrameContent, FrameStore, contents, sql_text
from photon_triage.core.session.store.listing import CandidateListing, FrameListing, Listing, neighbours
from photon_triage.core.session.store.rows import (
    HISTORY_BIN_S,
    ClassMap,
    Counts,
    Detection,
    FileRow,
    FrameResult,
    FrameRow,
    mask_from_bytes,
)
from photon_triage.core.session.store.runs import RateTally, RunTally, recorded_numbers
from photon_triage.core.session.store.second_scores import FlippedScore, changed_sides, scored_by_both, scores_by
from photon_triage.core.session.store.validity import described, hide_invalid

__all__ = [
    "HISTORY_BIN_S",
    "ClassMap",
    "Counts",
    "Detection",
    "FileRow",
    "FrameResult",
    "FrameRow",
    "ResultsReader",
]

log = logging.getLogger("photon_triage.results")


class ResultsReader:
    """A screen's or a command's view of results.db; it never writes."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise SessionError(
                f"Could not read results in {path.parent}: no engine has run there yet.",
                "Start one with `photon-triage watch PATH --session SESSION`.",
            )
        self._path = path
        self._db = database.connect_to_read(path)
        if database.is_older(self._db):
            log.warning(
                "Results in %s are of an older version, which recorded neither notes on files nor changed frames. The "
                "next engine on this session records them.",
                path.parent,
            )
        self.invalid: Mapping[str, int] = hide_invalid(self._db)
        """By table, the rows that cannot be right and are passed over."""
        if self.invalid:
            log.warning(
                "Passed over rows of %s that cannot be right: %s. Remove them with: photon-triage session repair %s",
                path, described(self.invalid), path.parent,
            )  # fmt: skip
        self._listings: dict[Unit, Listing] = {
            "frames": FrameListing(self._db),
            "candidates": CandidateListing(self._db),
        }

    def close(self) -> None:
        """Close the data base."""
        self._db.close()

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Read one state of the results in the block, whatever the engine records meanwhile.

        Only where readers do not hold up the engine for it: with SQLite's write-ahead log.
        """
        if self._db.execute("PRAGMA journal_mode").fetchone()[0] != "wal" or self._db.in_transaction:
            yield
            return
        self._db.execute("BEGIN")
        try:
            yield
        finally:
            self._db.rollback()

    def version(self) -> int:
        """A number that changes whenever the engine has committed something."""
        return int(self._db.execute("PRAGMA data_version").fetchone()[0])

    def counts(self) -> Counts:
        """How many files and frames there are."""
        files, unreadable, missing, waiting, pending, dropped, simulated, noted = self._db.execute(
            "SELECT count(*), coalesce(sum(status = 'unreadable'), 0), coalesce(sum(status = 'missing'), 0), "
            "coalesce(sum(status = 'waiting'), 0), "
            "coalesce(sum(iif(status NOT IN ('unreadable', 'missing'), max(frames - done, 0), 0)), 0), "
            "coalesce(sum(iif(status IN ('unreadable', 'missing'), max(frames - done, 0), 0)), 0), "
            f"coalesce(max(simulated), 0), coalesce(sum({database.notes_column(self._db)} <> '[]'), 0) FROM files"
        ).fetchone()
        frames, hits = self._db.execute(
            "SELECT coalesce(sum(frames), 0), coalesce(sum(hits), 0) FROM history"
        ).fetchone()
        candidates = self._db.execute("SELECT count(*) FROM candidates").fetchone()[0]
        return Counts(
            files, unreadable, waiting, frames, pending, dropped, hits, bool(simulated), candidates, missing, noted
        )

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

    def run_tally(self) -> RunTally:
        """The runs, to be followed."""
        return RunTally(self._db)

    def rate_tally(self, name: str) -> RateTally:
        """The hit rate against a number of every frame, to be followed."""
        return RateTally(self._db, name)

    def recorded_numbers(self) -> Sequence[str]:
        """The names of the numbers that stages record of frames."""
        return recorded_numbers(self._db)

    def recorded_at_most(self, frames: int) -> list[tuple[str, str, int]]:
        """(Path, data set, frames recorded) of files with some, but no more than so many."""
        return self._db.execute(
            "SELECT path, dataset, done FROM files WHERE done BETWEEN 1 AND ?", (frames,)
        ).fetchall()

    def newest_run(self) -> str:
        """The run of the file that changed last; "" where there is none."""
        row = self._db.execute("SELECT run FROM files ORDER BY updated DESC, id DESC LIMIT 1").fetchone()
        return "" if row is None else str(row[0])

    def contents(self, keys: Iterable[FrameKey]) -> dict[FrameKey, FrameContent]:
        """Look up the bytes of these frames; see `frames.contents`."""
        return contents(self._db, keys)

    def changes(self) -> int:
        """Number of times that recorded frames were replaced; it only grows."""
        row = self._db.execute("SELECT CAST(value AS INTEGER) FROM state WHERE key = ?", (CHANGES,)).fetchone()
        return 0 if row is None else int(row[0])

    def files(self) -> list[FileRow]:
        """The ledger of files."""
        return database.read_files(self._db)

    def remarkable_files(self, most: int) -> list[FileRow]:
        """Files with a reason or a note, those that changed last first."""
        return database.read_files(self._db, remarkable=most)

    def newest_note(self) -> tuple[str, str]:
        """(Path, note) of the file with a note that changed last; two empty texts where there is none."""
        notes = database.notes_column(self._db)
        row = self._db.execute(
            f"SELECT path, {notes} FROM files WHERE {notes} <> '[]' ORDER BY updated DESC, id DESC LIMIT 1"
        ).fetchone()
        return ("", "") if row is None else (str(row[0]), next(reversed(database.notes_of(row[1])), ""))

    def knows(self, path: str) -> bool:
        """Whether there is a file of that path."""
        return self._db.execute("SELECT 1 FROM files WHERE path = ?", (sql_text(path),)).fetchone() is not None

    def places_of(self, digest: str, index: int) -> list[tuple[str, str]]:
        """(file, data set) of the frames with this digest at this index."""
        return self._db.execute(
            "SELECT DISTINCT f.path, f.dataset FROM frames r JOIN files f ON f.id = r.file_id "
            "WHERE r.digest = ? AND r.idx = ? ORDER BY f.path",
            (sql_text(digest), index),
        ).fetchall()

    def copies(self) -> dict[tuple[str, str], tuple[str, str]]:
        """(file, data set) of files that hold the same hits at the same places as one seen before, and that one."""
        names = {
            file_id: (path, dataset)
            for file_id, path, dataset in self._db.execute("SELECT id, path, dataset FROM files")
        }
        rows = self._db.execute(
            "SELECT r.file_id, min(g.first) FROM frames r JOIN (SELECT digest, idx, min(file_id) AS first FROM frames "
            "WHERE digest IS NOT NULL GROUP BY digest, idx HAVING count(*) > 1) g "
            "ON r.digest = g.digest AND r.idx = g.idx AND r.file_id > g.first GROUP BY r.file_id ORDER BY r.file_id"
        )
        first_of: dict[int, int] = {}
        for copy, first in rows:
            first_of[copy] = first_of.get(first, first)
        return {names[copy]: names[first] for copy, first in first_of.items()}

    def digests(self, path: str, dataset: str) -> dict[int, str]:
        """The digests of a file's frames by index, where they have one: hits do."""
        return dict(
            self._db.execute(
                "SELECT r.idx, r.digest FROM frames r JOIN files f ON f.id = r.file_id "
                "WHERE f.path = ? AND f.dataset = ? AND r.digest IS NOT NULL",
                (sql_text(path), sql_text(dataset)),
            ).fetchall()
        )

    def state(self) -> EngineState:
        """The engine's last report of itself."""
        return with_trouble(self._path, database.read_state(self._db))

    def scoring_models(self) -> dict[str, int]:
        """The models that gave the scores, and how many frames each."""
        found = self._db.execute(
            "SELECT m.name, (SELECT count(*) FROM frames r WHERE r.model_id = m.id) AS frames FROM models m "
            "WHERE frames > 0 ORDER BY m.name"
        ).fetchall()
        (scored,) = self._db.execute("SELECT count(*) FROM frames WHERE hit IN (0, 1) AND score IS NOT NULL").fetchone()
        if sum(count for _, count in found) != scored:
            # Not what an engine writes: a model stands beside frames without a score, and no index tells which.
            found = self._db.execute(
                "SELECT m.name, count(*) FROM frames r JOIN models m ON m.id = r.model_id "
                "WHERE r.score IS NOT NULL GROUP BY m.name"
            ).fetchall()
        return dict(found)

    def measured(self, name: str) -> list[tuple[float, float | None]]:
        """What a stage has measured under that name, of every hit that has it, with the frame's score."""
        return self._db.execute(
            "SELECT json_extract(measures, ?) AS value, score FROM frames WHERE hit = 1 AND value IS NOT NULL",
            (f'$."{name}"',),
        ).fetchall()

    def listing(self, unit: Unit = "frames") -> Listing:
        """What a list holds: frames, or the candidates on them."""
        return self._listings[unit]

    def all_frames(self) -> Iterable[FrameRow]:
        """Every frame, in the order seen."""
        return self.frames().in_order_seen()

    def frames(self, unit: Unit = "frames") -> FrameStore:
        """The frames, or the candidates on them, by key and by condition."""
        return FrameStore(self._db, unit)

    def scores_by(self, model: str, keys: Iterable[FrameKey], radius: float = 0.0) -> dict[FrameKey, float | None]:
        """The scores of these frames or candidates by a model, whether it is in use or not; see second_scores."""
        return scores_by(self._db, model, keys, radius)

    def changed_sides(self, old: str, new: str, threshold: float) -> list[FlippedScore]:
        """The frames that one of two models selects and the other does not, the largest differences first."""
        return changed_sides(self._db, old, new, threshold)

    def scored_by_both(self, old: str, new: str) -> int:
        """How many frames two models have both scored."""
        return scored_by_both(self._db, old, new)

    def geometry(self, key: FrameKey) -> Geometry:
        """Where the detector stood, as far as the frame's file tells."""
        row = self._db.execute("SELECT geometry FROM files WHERE path = ?", (sql_text(key.file),)).fetchone()
        return Geometry(**json.loads(row[0])) if row else Geometry()

    def neighbours(self, frame_id: int, count: int) -> list[FrameRow]:
        """A frame with up to `count` frames on each side of it in its run, in the run's order."""
        return neighbours(self._db, frame_id, count)

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
