"""Many rows of results.db at once: lists of ids, and what is known of frames by their keys."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from photon_triage.core.frames import FrameKey

if TYPE_CHECKING:
    from photon_triage.core.session.store.reader import ResultsReader

Place = tuple[str, str]
"""A file and a data set."""

DIGESTS_ASKED = 50
"""Frames of a file whose digests are kept to look for it; one is enough where it is found in one place only."""


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


KEYS_AT_ONCE = 500


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


def contents(db: sqlite3.Connection, keys: Iterable[FrameKey]) -> dict[FrameKey, FrameContent]:
    """Look up the bytes of these frames; frames of files that are not in the results are left out.

    A frame that is not recorded, of a file whose frames were forgotten, counts as changed since then.
    """
    if "changed" not in {row[1] for row in db.execute("PRAGMA table_info(frames)")}:
        columns = "0, r.idx, r.digest, NULL"  # no engine of this version has opened the data base
    else:
        columns = "CAST(f.replaced AS REAL), r.idx, r.digest, CAST(r.changed AS REAL)"
    wanted: dict[tuple[str, str], list[FrameKey]] = {}
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
            there = {index: FrameContent(digest, max(changed or 0.0, replaced)) for _, index, digest, changed in rows}
            found |= {key: there.get(index, FrameContent(None, replaced)) for index, key in part.items()}
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


def look_up(db: sqlite3.Connection, keys: Iterable[FrameKey]) -> dict[FrameKey, Known]:
    """What is known of the frames of these keys; those that are not in the results are left out."""
    wanted: dict[tuple[str, str], list[FrameKey]] = {}
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
