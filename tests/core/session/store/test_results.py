from __future__ import annotations

import sqlite3
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from photon_triage.core.common.errors import SessionError
from photon_triage.core.session.decisions.labels import LabelWriter
from photon_triage.core.session.state import EngineState, TroubleNote
from photon_triage.core.session.store import database
from photon_triage.core.session.store.reader import ResultsReader
from photon_triage.core.session.store.repair import repair
from photon_triage.core.session.store.rows import Counts, FrameResult
from photon_triage.core.session.store.writer import ResultsWriter

from ..builders import DATASET, build_session, file_row, frame_results, key

A = "/data/a.cxi"
FIRST_VERSION = """
CREATE TABLE files (
    id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, dataset TEXT NOT NULL DEFAULT '', run TEXT NOT NULL DEFAULT '',
    layout TEXT NOT NULL DEFAULT '', height INTEGER NOT NULL DEFAULT 0, width INTEGER NOT NULL DEFAULT 0,
    dtype TEXT NOT NULL DEFAULT '', geometry TEXT NOT NULL DEFAULT '{}', simulated INTEGER NOT NULL DEFAULT 0,
    frames INTEGER NOT NULL DEFAULT 0, done INTEGER NOT NULL DEFAULT 0, status TEXT NOT NULL DEFAULT 'waiting'
    CHECK (status IN ('waiting', 'reading', 'complete', 'unreadable')), reason TEXT NOT NULL DEFAULT '',
    size INTEGER NOT NULL DEFAULT 0, mtime_ns INTEGER NOT NULL DEFAULT 0, updated REAL NOT NULL DEFAULT 0
);
CREATE TABLE models (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE frames (
    id INTEGER PRIMARY KEY, file_id INTEGER NOT NULL REFERENCES files, idx INTEGER NOT NULL, seen REAL NOT NULL,
    passed INTEGER NOT NULL, hit INTEGER NOT NULL, score REAL, model_id INTEGER REFERENCES models, digest TEXT,
    measures TEXT NOT NULL DEFAULT '{}', UNIQUE (file_id, idx)
);
CREATE TABLE history (bin INTEGER PRIMARY KEY, frames INTEGER NOT NULL, hits INTEGER NOT NULL);
CREATE TABLE candidates (
    id INTEGER PRIMARY KEY AUTOINCREMENT, frame_id INTEGER NOT NULL REFERENCES frames,
    x INTEGER NOT NULL, y INTEGER NOT NULL, score REAL NOT NULL
);
"""


@pytest.fixture
def writer(tmp_path: Path) -> ResultsWriter:
    return ResultsWriter(tmp_path / "results.db")


def test_a_frame_put_twice_counts_once(writer: ResultsWriter, tmp_path: Path) -> None:
    file_id = writer.put_file(file_row(A, 3))
    for _ in range(2):
        writer.put_frames(file_id, frame_results([0.9, None, 0.4]), now=100.0)
    reader = ResultsReader(tmp_path / "results.db")
    assert reader.counts() == Counts(files=1, frames=3, hits=2)
    assert len(list(reader.all_frames())) == 3
    assert reader.history() == [(100.0, 3, 2)]


def test_a_batch_that_overlaps_adds_only_what_is_new(writer: ResultsWriter, tmp_path: Path) -> None:
    file_id = writer.put_file(file_row(A, 4))
    results = frame_results([0.9, 0.8, 0.7, 0.6])
    writer.put_frames(file_id, results[:3], now=100.0)
    writer.put_frames(file_id, results[1:], now=100.0)
    assert ResultsReader(tmp_path / "results.db").counts().frames == 4


def test_a_batch_that_fails_leaves_nothing(writer: ResultsWriter, tmp_path: Path) -> None:
    file_id = writer.put_file(file_row(A, 2))
    unstorable = FrameResult(index=1, passed=1, hit=False, measures={"photons": object()})  # type: ignore[dict-item]
    with pytest.raises(TypeError):
        writer.put_frames(file_id, [*frame_results([0.9]), unstorable], now=100.0)
    assert ResultsReader(tmp_path / "results.db").counts() == Counts(files=1, pending=2)


def test_how_far_a_file_is_read_never_goes_back(writer: ResultsWriter) -> None:
    file_id = writer.put_file(file_row(A, 4))
    writer.put_frames(file_id, frame_results([0.9, 0.8]), now=100.0)
    writer.put_file(file_row(A, 6, done=0))
    (row,) = writer.files()
    assert (row.id, row.frames, row.done) == (file_id, 6, 2)


def test_frames_passed_over_stand_in_the_ledger_until_they_are_caught_up(writer: ResultsWriter, tmp_path: Path) -> None:
    file_id = writer.put_file(file_row(A, 20))
    results = frame_results([0.5] * 20)
    for start, stop in ((15, 20), (0, 2), (5, 8)):
        writer.put_frames(file_id, results[start:stop], now=100.0)
    ((row, recorded),) = writer.ledger()
    assert (row.done, list(recorded)) == (10, [(0, 2), (5, 8), (15, 20)])
    assert ResultsReader(tmp_path / "results.db").counts().pending == 10
    writer.put_frames(file_id, results[1:17], now=100.0)
    ((row, recorded),) = writer.ledger()
    assert (row.done, list(recorded)) == (20, [(0, 20)])
    assert ResultsReader(tmp_path / "results.db").counts() == Counts(files=1, frames=20, hits=20)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 8)), max_size=12))
def test_the_ledger_knows_exactly_the_frames_that_are_recorded(pieces: list[tuple[int, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        writer = ResultsWriter(Path(folder) / "results.db")
        file_id = writer.put_file(file_row(A, 40))
        results = frame_results([None] * 40)
        for start, count in pieces:
            writer.put_frames(file_id, results[start : start + count], now=100.0)
        ((row, recorded),) = writer.ledger()
        indices = {index for start, stop in recorded for index in range(start, stop)}
        assert indices == {index for start, count in pieces for index in range(start, start + count)}
        assert row.done == len(indices) == ResultsReader(Path(folder) / "results.db").counts().frames
        writer.close()


def test_a_data_base_of_the_first_version_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "results.db"
    old = sqlite3.connect(path)
    old.executescript(FIRST_VERSION)
    old.execute("INSERT INTO files (path, frames, done, status) VALUES ('/a.h5', 5, 3, 'reading')")
    old.commit()
    old.close()
    assert ResultsReader(path).counts().pending == 2
    writer = ResultsWriter(path)
    ((row, recorded),) = writer.ledger()
    assert (row.path, row.frames, row.done, list(recorded)) == ("/a.h5", 5, 3, [(0, 3)])
    writer.put_frames(row.id, frame_results([0.1, 0.2, 0.3, 0.4, 0.5])[4:], now=1.0)
    writer.put_file(file_row("/a.h5", 5, status="missing", reason="frame 3"))
    writer.close()
    ((row, recorded),) = ResultsWriter(path).ledger()
    assert (row.status, row.done, list(recorded)) == ("missing", 4, [(0, 3), (4, 5)])


def test_a_damaged_data_base_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "results.db").write_bytes(b"no data base" * 1000)
    with pytest.raises(SessionError, match="session repair"):
        ResultsWriter(tmp_path / "results.db")


def test_a_file_that_was_renamed_keeps_its_frames(writer: ResultsWriter, tmp_path: Path) -> None:
    file_id = writer.put_file(file_row(A, 2))
    writer.put_frames(file_id, frame_results([0.9, 0.8]), now=100.0)
    writer.move_file(A, "/data/b.cxi")
    reader = ResultsReader(tmp_path / "results.db")
    assert [row.key for row in reader.all_frames()] == [key("/data/b.cxi", 0), key("/data/b.cxi", 1)]


def test_a_note_is_told_where_the_engine_cannot_write_its_state(writer: ResultsWriter, tmp_path: Path) -> None:
    note = TroubleNote(tmp_path / "results.db")
    writer.set_state({"heartbeat": time.time(), "message": "well"})
    reader = ResultsReader(tmp_path / "results.db")
    assert reader.state().message == "well"
    note.say("the disk is full")
    assert reader.state().trouble == reader.state().message == "the disk is full"
    note.clear()
    assert reader.state().message == "well" and not reader.state().trouble


def test_frames_of_an_unreadable_file_are_dropped_not_pending(writer: ResultsWriter, tmp_path: Path) -> None:
    writer.put_file(file_row(A, 4, status="unreadable", reason="truncated file"))
    writer.put_file(file_row("/data/b.cxi", 5, status="waiting"))
    writer.put_file(file_row("/data/c.cxi", 2, status="missing", reason="frames 0-1"))
    counts = ResultsReader(tmp_path / "results.db").counts()
    assert (counts.dropped, counts.pending, counts.unreadable, counts.waiting, counts.missing) == (6, 5, 1, 1, 1)


def test_the_models_that_scored_are_counted(tmp_path: Path) -> None:
    session = build_session(tmp_path / "s", {A: [0.9, None, 0.2]})
    assert session.results().scoring_models() == {"hitnet-test": 2}


def test_scores_are_found_by_key(tmp_path: Path) -> None:
    session = build_session(tmp_path / "s", {A: [0.9, None]})
    assert session.results().frames().scores([key(A, 0), key(A, 1), key(A, 2)]) == {key(A, 0): 0.9, key(A, 1): None}


def test_a_reader_cannot_write(tmp_path: Path) -> None:
    session = build_session(tmp_path / "s", {A: [0.9]})
    reader = session.results()
    with pytest.raises(Exception, match="readonly"):
        reader._db.execute("DELETE FROM frames")


def test_results_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SessionError, match="no engine has run there"):
        ResultsReader(tmp_path / "results.db")


def test_results_have_all_tables_from_the_instant_they_have_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "results.db"
    states = []
    connect = database.connect

    def look_and_connect(opened: Path) -> sqlite3.Connection:
        if path.exists():
            states.append(database.read_state(connect(path)))
        return connect(opened)

    monkeypatch.setattr(database, "connect", look_and_connect)
    ResultsWriter(path).close()
    assert states == [EngineState()]
    assert [entry.name for entry in tmp_path.iterdir()] == ["results.db"]


def test_what_is_known_of_a_file_outlives_a_time_when_it_cannot_be_read(writer: ResultsWriter) -> None:
    file_id = writer.put_file(file_row(A, 5, status="reading", simulated=True))
    nothing = {"dataset": "", "run": "", "layout": "", "height": 0, "simulated": False}
    writer.put_file(file_row(A, 0, status="unreadable", reason="gone", **nothing))
    (row,) = writer.files()
    assert (row.id, row.dataset, row.run, row.layout, row.height) == (file_id, DATASET, "r0001", "cxi", 16)
    assert (row.frames, row.simulated, row.status, row.reason) == (5, True, "unreadable", "gone")


def test_files_that_hold_the_same_frames_are_told(tmp_path: Path) -> None:
    writer = ResultsWriter(tmp_path / "results.db")
    for name, digests in {"a.h5": "xyz", "b.h5": "xy?", "c.h5": "zyx", "d.h5": "--?", "e.h5": ""}.items():
        rows = [FrameResult(index, 1, True, digest=digest) for index, digest in enumerate(digests)]
        writer.put_frames(writer.put_file(file_row(name, len(rows), dataset="data")), rows, now=1.0)
    writer.close()
    reader = ResultsReader(tmp_path / "results.db")
    # c holds a's second frame at its place; d and b share their third; e is empty.
    assert reader.copies() == {(name, "data"): ("a.h5", "data") for name in ("b.h5", "c.h5", "d.h5")}
    reader.close()


def as_version_3(path: Path) -> None:
    """Take from a data base what the version before this one did not have."""
    db = sqlite3.connect(path)
    db.executescript(
        "ALTER TABLE files DROP COLUMN notes; ALTER TABLE files DROP COLUMN replaced; "
        "ALTER TABLE frames DROP COLUMN changed; PRAGMA user_version = 3;"
    )
    db.close()


def test_a_session_of_the_version_before_is_read_as_it_is_and_brought_up_to_date_by_an_engine(tmp_path: Path) -> None:
    session = build_session(tmp_path / "s", {A: [0.9, None]})
    LabelWriter(session.journal()).decide(key(A, 0), "accepted")
    as_version_3(session.results_path)
    reader = session.results()
    assert [row.notes for row in reader.files()] == [()]
    assert (reader.counts().frames, reader.counts().noted) == (2, 0)
    assert set(session.labels().labels) == {key(A, 0)}
    reader.close()
    writer = ResultsWriter(session.results_path)
    writer.put_file(file_row(A, 2, notes=("12 further scans in this file were not read",)))
    writer.replace_frames(1, [FrameResult(0, 1, False, digest="other")], 4e9)
    writer.close()
    assert session.results().counts().noted == 1
    assert set(session.labels().changed) == {key(A, 0)}


def test_repair_takes_over_notes_and_changes_where_there_are_some(tmp_path: Path) -> None:
    for version, notes in ((3, ()), (4, ("each page holds 3 images",))):
        session = build_session(tmp_path / f"s{version}", {A: [0.9, 0.8]}, notes=("each page holds 3 images",))
        if version == 3:
            as_version_3(session.results_path)
        repair(session.results_path)
        reader = session.results()
        assert [row.notes for row in reader.files()] == [notes]
        assert reader.counts().frames == 2
        reader.close()


def test_notes_stay_with_a_file_while_it_cannot_be_read(writer: ResultsWriter) -> None:
    writer.put_file(file_row(A, 5, notes=("a note",)))
    writer.put_file(file_row(A, 0, layout="", status="unreadable", reason="gone"))
    assert [row.notes for row in writer.files()] == [("a note",)]


def test_more_files_can_be_left_out_than_a_query_takes_parameters(writer: ResultsWriter, tmp_path: Path) -> None:
    lost, kept = (writer.put_file(file_row(str(tmp_path / name), 1)) for name in ("lost.h5", "kept.h5"))
    for file_id in (lost, kept):
        writer.put_frames(file_id, [FrameResult(0, 1, True, 0.5, "old")], now=1.0)
    many = [str(tmp_path / "lost.h5"), *(f"/gone/{number}.h5" for number in range(260_000))]
    path = str(tmp_path / "kept.h5")
    assert writer.missing.scored_by_others("new", 10, many) == (path, DATASET, [0])
    found = writer.missing.without_score_by("new", None, 10, many)
    assert found is not None and found[1:] == (path, DATASET, [0])
