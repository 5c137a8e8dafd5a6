"""Frames and candidates of a session by key: their rows, columns of many of them, and their pixels; all in batches."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from photon_triage.core.candidates import distance
from photon_triage.core.common.errors import SourceError
from photon_triage.core.frames import FrameKey
from photon_triage.core.recipe import Unit
from photon_triage.core.session.store.filters import ListFilter
from photon_triage.core.session.store.rows import FrameRow

if TYPE_CHECKING:
    from photon_triage.core.session.store.reader import ResultsReader
    from photon_triage.core.sources import FrameReader, SourceInfo

Place = tuple[str, str]
"""A file and a data set."""

KEYS_AT_ONCE = 500
ROWS_AT_ONCE = 2_000
COLUMN_ROWS = 20_000
READ_BYTES = 64 * 2**20
"""Bytes of pixels that are read in one go."""
DIGESTS_ASKED = 50
"""Frames of a file whose digests are kept to look for it; one is enough where it is found in one place only."""
EVERY_FRAME = ListFilter()


@dataclass(frozen=True, eq=False)
class FrameColumns:
    """Many frames, or candidates: arrays of (n,).

    files: (path, data set). file: places among them. passed: stages. score: NaN where no network has looked. points:
    (n, 2) x and y of candidates, None for frames.
    """

    files: tuple[Place, ...]
    id: NDArray[np.int64]
    file: NDArray[np.int64]
    index: NDArray[np.int64]
    passed: NDArray[np.int64]
    score: NDArray[np.float64]
    points: NDArray[np.int64] | None

    def key(self, place: int) -> FrameKey:
        """The key of one."""
        path, dataset = self.files[self.file[place]]
        point = () if self.points is None else (int(self.points[place, 0]), int(self.points[place, 1]))
        return FrameKey(path, dataset, int(self.index[place]), point)


@dataclass(frozen=True, eq=False)
class FramePixels:
    """Frames of one file as they are stored: keys, pixels (n, height, width), and what the file says of itself.

    valid: (height, width) bool, true where a pixel can be used; None where the file has no mask.
    """

    info: SourceInfo
    valid: NDArray[np.bool_] | None
    keys: tuple[FrameKey, ...]
    pixels: NDArray[Any]


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a labelled frame or candidate: its id, score and run, and whether it is a hit."""

    id: int
    score: float | None
    hit: bool
    run: str


@dataclass(frozen=True, slots=True)
class FrameContent:
    """The bytes of a frame: their digest, where it is known, and the Unix time of their last change, 0 for none."""

    digest: str | None
    changed: float


UNCHANGED = FrameContent(None, 0.0)


class FrameStore:
    """The frames of results.db, or the candidates on them.

    Rows come file by file in the order of path, data set, index and point; only some thousand are held at a time.
    """

    def __init__(self, db: sqlite3.Connection, unit: Unit = "frames") -> None:
        self._db = db
        self._is_of_frames = unit == "frames"
        if self._is_of_frames:
            self._score, self._tables, point = "r.score", "frames r", "NULL, NULL"
            columns, self._order = "r.id, r.hit", "r.idx"
        else:
            self._score, self._tables, point = "c.score", "frames r JOIN candidates c ON c.frame_id = r.id", "c.x, c.y"
            columns, self._order = "c.id, 1", "r.idx, c.x, c.y, c.id"
        self._columns = f"{columns}, r.idx, r.seen, r.passed, {self._score}, r.digest, r.measures, r.id, {point}"
        self._id = columns.split(",")[0]
        self._numbers = f"{self._id}, r.file_id, r.idx, r.passed, {self._score}, {point}"

    def rows(self, keys: Iterable[FrameKey]) -> dict[FrameKey, FrameRow]:
        """What is known of the frames of these keys, or of the candidates at just these points."""
        wanted = set(keys)
        return {row.key: row for row in self.select(None, wanted) if row.key in wanted}

    def nearest(self, keys: Iterable[FrameKey], radius: float) -> dict[FrameKey, FrameRow]:
        """The candidate nearest to each key's point, within `radius` pixels; in a store of frames their rows."""
        wanted = set(keys)
        if self._is_of_frames:
            return self.rows(wanted)
        about: dict[FrameKey, list[FrameRow]] = {}
        for row in self.select(None, (key for key in wanted if key.point)):
            about.setdefault(row.key.frame, []).append(row)
        found = {}
        for key in wanted:
            near = [(distance(row.key.point, key.point), row.id, row) for row in about.get(key.frame, ()) if key.point]
            best = min(near, key=lambda each: each[:2], default=None)
            if best is not None and best[0] <= radius:
                found[key] = best[2]
        return found

    def select(
        self,
        only: ListFilter | None = EVERY_FRAME,
        also: Iterable[FrameKey] = (),
        *,
        files: Iterable[str] | None = None,
    ) -> Iterator[FrameRow]:
        """Rows for which holds what SQL can tell of a filter, and those of these keys' frames besides.

        only: None selects none but `also`. files: the paths of the files to look into, if not all.
        """
        indices = _by_file(also)
        paths = None if files is None else set(files)
        if only is None:
            paths = {path for path, _ in indices if paths is None or path in paths}
        tables, condition, arguments = (self._tables, "0", []) if only is None else self._where(only)
        query = f"SELECT {self._columns} FROM {tables} WHERE r.file_id = ?"
        for file_id, path, dataset, run in self._files(paths):
            among = indices.get((path, dataset))
            if only is None and not among:
                continue
            where, given = condition, arguments
            if among:
                listed = "r.idx IN (SELECT value FROM json_each(?))"
                where, given = (listed if only is None else f"({condition} OR {listed})"), [*given, json.dumps(among)]
            cursor = self._db.execute(f"{query} AND {where} ORDER BY {self._order}", (file_id, *given))
            while found := cursor.fetchmany(ROWS_AT_ONCE):
                for values in found:
                    yield _row(values, path, dataset, run)

    def in_order_seen(self) -> Iterator[FrameRow]:
        """Every row, in the order in which the engine has recorded them."""
        files = {file_id: place for file_id, *place in self._files()}
        cursor = self._db.execute(f"SELECT r.file_id, {self._columns} FROM {self._tables} ORDER BY {self._id}")
        while found := cursor.fetchmany(ROWS_AT_ONCE):
            for file_id, *values in found:
                if file_id in files:
                    yield _row(tuple(values), *files[file_id])

    def columns(self, only: ListFilter = EVERY_FRAME) -> FrameColumns:
        """All frames, or candidates, for which holds what SQL can tell of a filter, as arrays."""
        known = sorted((file_id, (path, dataset)) for file_id, path, dataset, _ in self._files())
        tables, condition, arguments = self._where(only)
        cursor = self._db.execute(f"SELECT {self._numbers} FROM {tables} WHERE {condition}", arguments)
        parts = [np.empty((0, 7))]
        while found := cursor.fetchmany(COLUMN_ROWS):
            parts.append(np.array(found, dtype=np.float64))
        table = np.concatenate(parts)
        whole = table[:, :4].astype(np.int64)
        return FrameColumns(
            tuple(place for _, place in known),
            whole[:, 0],
            np.searchsorted(np.array([file_id for file_id, _ in known], dtype=np.int64), whole[:, 1]),
            whole[:, 2],
            whole[:, 3],
            table[:, 4],
            None if self._is_of_frames or not len(table) else table[:, 5:].astype(np.int64),
        )

    def count(self) -> int:
        """How many there are."""
        return int(self._db.execute(f"SELECT count(*) FROM {self._tables}").fetchone()[0])

    def counts(self) -> dict[str, int]:
        """How many there are by the path of their file."""
        paths = {file_id: path for file_id, path, *_ in self._files()}
        found = self._db.execute(f"SELECT r.file_id, count(*) FROM {self._tables} GROUP BY r.file_id")
        return {paths[file_id]: count for file_id, count in found if file_id in paths}

    def files(self) -> set[str]:
        """The paths of the files of which something is recorded."""
        query = f"SELECT 1 FROM {self._tables} WHERE r.file_id = ? LIMIT 1"
        return {path for file_id, path, *_ in self._files() if self._db.execute(query, (file_id,)).fetchone()}

    def measure_names(self) -> list[str]:
        """The names of all that stages have measured, sorted."""
        cursor = self._db.execute(f"SELECT r.measures FROM {self._tables}")
        names: set[str] = set()
        while found := cursor.fetchmany(ROWS_AT_ONCE):
            for (measures,) in found:
                names.update(json.loads(measures))
            if not self._is_of_frames:
                names.update("xy")
        return sorted(names)

    def known(self, keys: Iterable[FrameKey]) -> dict[FrameKey, Known]:
        """What is known of the frames of these keys; those that are not in the results are left out."""
        return look_up(self._db, keys)

    def scores(self, keys: Iterable[FrameKey]) -> dict[FrameKey, float | None]:
        """The scores of the frames of these keys that were read; None where no network has looked."""
        return {key: known.score for key, known in look_up(self._db, keys).items()}

    def _files(self, paths: Iterable[str] | None = None) -> list[tuple[int, str, str, str]]:
        """(Id, path, data set, run) of all files, or of those of these paths, in the order of their names."""
        query, arguments = "SELECT id, path, dataset, run FROM files", []
        if paths is not None:
            query, arguments = f"{query} WHERE path IN (SELECT value FROM json_each(?))", [json.dumps([*paths])]
        return sorted(self._db.execute(query, arguments).fetchall(), key=lambda row: (row[1], row[2]))

    def _where(self, only: ListFilter) -> tuple[str, str, list[Any]]:
        """The tables that a filter needs, what must hold, and its arguments."""
        conditions, arguments = only.conditions(self._score)
        needs_files = only.words or only.runs or only.files
        tables = self._tables + (" JOIN files f ON f.id = r.file_id" if needs_files else "")
        return tables, " AND ".join(conditions) or "1", arguments


def read_pixels(
    reader: FrameReader,
    keys: Iterable[FrameKey],
    *,
    at_once: int | None = None,
    most_bytes: int = READ_BYTES,
    failed: Callable[[Sequence[FrameKey], SourceError], None] | None = None,
) -> Iterator[FramePixels]:
    """Frames with their pixels, file by file in the order in which the files are first named, in the keys' order.

    at_once, most_bytes: frames and bytes of pixels that are read in one go, but one frame at least. failed: is told of
    frames that cannot be read, with the error, and the others follow; without it the error is raised.
    """
    by_file: dict[Place, list[FrameKey]] = {}
    for key in keys:
        by_file.setdefault((key.file, key.dataset), []).append(key)
    for (path, dataset), of_file in by_file.items():
        try:
            info = reader.inspect(path, dataset or None)
            valid = reader.mask(info)
        except SourceError as error:
            if failed is None:
                raise
            failed(of_file, error)
            continue
        each = info.shape[0] * info.shape[1] * np.dtype(info.dtype).itemsize
        step = min(max(1, most_bytes // max(1, each)), at_once or len(of_file))
        for start in range(0, len(of_file), step):
            part = of_file[start : start + step]
            try:
                pixels = reader.read_indices(path, dataset, [key.index for key in part])
            except SourceError as error:
                if failed is None:
                    raise
                failed(part, error)
                continue
            yield FramePixels(info, valid, tuple(part), pixels)


def contents(db: sqlite3.Connection, keys: Iterable[FrameKey]) -> dict[FrameKey, FrameContent]:
    """Look up the bytes of these frames; frames of files that are not in the results are left out.

    A frame that is not recorded, of a file whose frames were forgotten, counts as changed since then.
    """
    if "changed" not in {row[1] for row in db.execute("PRAGMA table_info(frames)")}:
        columns = "0, r.idx, r.digest, NULL"  # no engine of this version has opened the data base
    else:
        columns = "CAST(f.replaced AS REAL), r.idx, r.digest, CAST(r.changed AS REAL)"
    wanted: dict[Place, list[FrameKey]] = {}
    for key in keys:
        wanted.setdefault((key.file, key.dataset), []).append(key)
    found: dict[FrameKey, FrameContent] = {}
    for place, of_file in wanted.items():
        for start in range(0, len(of_file), KEYS_AT_ONCE):
            part = {key.index: key for key in of_file[start : start + KEYS_AT_ONCE]}
            rows = db.execute(
                f"SELECT {columns} FROM files f LEFT JOIN frames r "
                f"ON r.file_id = f.id AND r.idx IN ({','.join('?' * len(part))}) WHERE f.path = ? AND f.dataset = ?",
                (*part, *map(sql_text, place)),
            ).fetchall()
            if not rows:
                continue
            replaced = float(rows[0][0])
            there = {index: _content(digest, max(changed or 0.0, replaced)) for _, index, digest, changed in rows}
            missing = _content(None, replaced)
            found |= {key: there.get(index, missing) for index, key in part.items()}
    return found


def _content(digest: str | None, changed: float) -> FrameContent:
    return FrameContent(digest, changed) if digest or changed else UNCHANGED


def look_up(db: sqlite3.Connection, keys: Iterable[FrameKey]) -> dict[FrameKey, Known]:
    """What is known of the frames of these keys; those that are not in the results are left out."""
    wanted: dict[Place, list[FrameKey]] = {}
    for key in keys:
        wanted.setdefault((key.file, key.dataset), []).append(key)
    found: dict[FrameKey, Known] = {}
    for (path, dataset), of_file in wanted.items():
        place = (sql_text(path), sql_text(dataset))
        for file_id, run in db.execute("SELECT id, run FROM files WHERE path = ? AND dataset = ?", place):
            for start in range(0, len(of_file), KEYS_AT_ONCE):
                part = {key.index: key for key in of_file[start : start + KEYS_AT_ONCE]}
                marks = ",".join("?" * len(part))
                rows = db.execute(
                    f"SELECT idx, id, score, hit FROM frames WHERE file_id = ? AND idx IN ({marks})", (file_id, *part)
                )
                found |= {part[index]: Known(id_, score, bool(hit), run) for index, id_, score, hit in rows}
    return found


def moved_files(digests: Mapping[Place, Mapping[int, str]], reader: ResultsReader) -> dict[Place, Place]:
    """New places of the files whose frames have these digests, by index: where the results hold the same frames.

    A frame is the same by its digest and its index. Files that the results still know are where they were. Where copies
    stand in several places the one with the file's own name counts, and none if that does not tell.
    """
    found = {}
    for place, frames in digests.items():
        if reader.knows(place[0]):
            continue
        votes = Counter(now for index, digest in frames.items() for now in reader.places_of(digest, index))
        best = [now for now, count in votes.items() if count == max(votes.values())]
        same_name = [now for now in best if PurePath(now[0]).name == PurePath(place[0]).name]
        for choice in (best, same_name):
            if len(choice) == 1:
                found[place] = choice[0]
    return found


def select_ids(db: sqlite3.Connection, query: str, arguments: Sequence[object] = ()) -> NDArray[np.int64]:
    """The ids that a query of one column gives, in its order.

    SQLite joins them to one text, which is three times as fast as a row each and leaves Python's lock alone meanwhile.
    """
    (text,) = db.execute(f"SELECT group_concat(id) FROM (SELECT id FROM ({query}))", arguments).fetchone()
    return np.fromstring(text or "", dtype=np.int64, sep=",")


def sql_text(text: str) -> str:
    """A text as SQLite takes it; in place of one that is no Unicode, as a name of raw bytes, one that no row has."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return "\0"
    return text


def _by_file(keys: Iterable[FrameKey]) -> dict[Place, list[int]]:
    """The indices of keys by file, each once."""
    found: dict[Place, set[int]] = {}
    for key in keys:
        found.setdefault((key.file, key.dataset), set()).add(key.index)
    return {place: sorted(indices) for place, indices in found.items()}


def _row(values: tuple[Any, ...], path: str, dataset: str, run: str) -> FrameRow:
    id_, hit, index, seen, passed, score, digest, measures, frame_id, x, y = values
    measured = json.loads(measures)
    if x is None:
        key = FrameKey(path, dataset, index)
    else:
        key = FrameKey(path, dataset, index, (x, y))
        measured |= {"x": x, "y": y}
    return FrameRow(id_, key, run, seen, passed, bool(hit), score, digest, measured, frame_id)
