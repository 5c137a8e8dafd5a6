"""Rows of results.db and lines of journals that cannot be right: passed over, told of, and removed by a repair."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from photon_triage.core.common.errors import SessionError
from photon_triage.core.session.decisions.journal_repair import blank_damaged
from photon_triage.core.session.decisions.labels import LabelWriter
from photon_triage.core.session.presence import presence_of
from photon_triage.core.session.session import Session, engine_is_alive
from photon_triage.core.session.state import EngineState
from photon_triage.core.session.store.database import ADDED
from photon_triage.core.session.store.reader import ResultsReader
from photon_triage.core.session.store.repair import problem, repair
from photon_triage.core.session.store.writer import ResultsWriter

from ..builders import build_session, key

A, B = "/data/a.cxi", "/data/b.cxi"


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return build_session(tmp_path / "s", {A: [0.9, 0.8, None], B: [0.7]})


def edit(session: Session, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(session.results_path)) as db:
        db.execute("PRAGMA ignore_check_constraints=ON")
        db.execute(statement, values)
        db.commit()


def scores(session: Session) -> list[tuple[str, int]]:
    with closing(session.results()) as reader:
        return sorted((row.key.file, row.key.index) for row in reader.all_frames())


EDITS: list[Any] = [
    ("UPDATE frames SET score = ? WHERE id = 1", "high"),
    ("UPDATE frames SET score = ? WHERE id = 1", float("inf")),
    ("UPDATE frames SET idx = ? WHERE id = 1", 10**15),
    ("UPDATE frames SET seen = ? WHERE id = 1", 1e300),
    ("UPDATE frames SET hit = ? WHERE id = 1", "yes"),
    ("UPDATE frames SET measures = ? WHERE id = 1", "[1]"),
    ("UPDATE frames SET measures = ? WHERE id = 1", '{"photons": "many"}'),
    ("UPDATE frames SET measures = CAST(? AS TEXT) WHERE id = 1", b'{"\xff": 1}'),
    ("UPDATE frames SET file_id = ? WHERE id = 1", 99),
    ("UPDATE frames SET model_id = ? WHERE id = 1", "none"),
    ("UPDATE frames SET changed = ? WHERE id = 1", "now"),
    ("UPDATE frames SET changed = ? WHERE id = 1", 1e300),
]


@pytest.mark.parametrize(("statement", "value"), EDITS)
def test_a_frame_that_cannot_be_right_is_passed_over_and_removed(
    session: Session, caplog: pytest.LogCaptureFixture, statement: str, value: object
) -> None:
    edit(session, statement, value)
    with caplog.at_level(logging.WARNING, "photon_triage.results"):
        assert scores(session) == [(A, 1), (A, 2), (B, 0)]
    assert "1 of the table frames" in caplog.text and "session repair" in caplog.text
    with pytest.raises(SessionError, match="session repair"):
        ResultsWriter(session.results_path)
    assert "rows that cannot be right: 1 of the table frames" in problem(session.results_path)
    done = repair(session.results_path)
    assert (done.files, done.frames, done.to_read_again) == (2, 3, 1)
    assert problem(session.results_path) == "" and scores(session) == [(A, 1), (A, 2), (B, 0)]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("geometry", '{"pixel_size": "small"}'),
        ("geometry", "7"),
        ("path", "/a\0b"),
        ("frames", -1),
        ("updated", "now"),
        ("notes", '{"a": 1}'),
        ("notes", "[7]"),
        ("replaced", "soon"),
        ("inode", 0.5),
    ],
)
def test_a_file_that_cannot_be_right_is_passed_over_with_its_frames(
    session: Session, column: str, value: object
) -> None:
    edit(session, f"UPDATE files SET {column} = ? WHERE id = 1", value)
    with closing(session.results()) as reader:
        assert dict(reader.invalid) == {"files": 1, "frames": 3}
        assert [row.path for row in reader.files()] == [B]
    repair(session.results_path)
    assert scores(session) == [(B, 0)]


def test_a_count_that_cannot_be_right_is_made_again(session: Session) -> None:
    before = scores(session)
    edit(session, "UPDATE files SET reach = 'far' WHERE id = 1")
    with pytest.raises(SessionError, match="session repair"):
        ResultsWriter(session.results_path)
    repair(session.results_path)
    assert scores(session) == before and problem(session.results_path) == ""


def test_rows_of_an_older_version_are_looked_at_too(session: Session) -> None:
    edit(session, "UPDATE frames SET score = ? WHERE id = 1", "high")
    with closing(sqlite3.connect(session.results_path)) as db:
        for table, names in ADDED.items():
            for name in names:
                db.execute(f"ALTER TABLE {table} DROP COLUMN {name}")
        db.execute("PRAGMA user_version = 3")
    assert scores(session) == [(A, 1), (A, 2), (B, 0)]
    assert repair(session.results_path).frames == 3


def test_nothing_is_passed_over_of_what_an_engine_writes(session: Session) -> None:
    edit(session, "UPDATE frames SET measures = ? WHERE id = 1", '{"size": NaN, "b": -Infinity, "c": 1e-300}')
    with closing(session.results()) as reader:
        assert reader.invalid == {}
    assert problem(session.results_path) == ""


@pytest.mark.parametrize("word", [b"CRE7TE", b"CRE\x8aTE"])
def test_tables_whose_index_cannot_be_described_are_saved(session: Session, word: bytes) -> None:
    """SQLite quotes the word in its message, whether or not it is text."""
    LabelWriter(session.journal()).decide(key(A, 0), "accepted")
    with closing(sqlite3.connect(session.results_path)) as db:
        db.execute("PRAGMA journal_mode=DELETE")
    content = session.results_path.read_bytes()
    assert b"CREATE INDEX frames_by_model" in content
    session.results_path.write_bytes(content.replace(b"CREATE INDEX frames_by_model", word + b" INDEX frames_by_model"))
    assert session.labels().labels.keys() == {key(A, 0)}
    with closing(session.results()) as reader, pytest.raises(sqlite3.DatabaseError):
        reader.files()
    with pytest.raises(SessionError, match="session repair"):
        ResultsWriter(session.results_path)
    assert problem(session.results_path)
    assert repair(session.results_path).frames == 4


def test_reads_that_fail_are_counted_so_that_a_repair_ends(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(sqlite3.connect(session.results_path)) as db:
        db.execute("PRAGMA journal_mode=DELETE")
        (root,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'frames'").fetchone()
    content = bytearray(session.results_path.read_bytes())
    content[(root - 1) * 4096 : root * 4096] = b"\xff" * 4096
    session.results_path.write_bytes(content)
    monkeypatch.setattr("photon_triage.core.session.store.repair._LEAST_FAILURES", 20)
    done = repair(session.results_path)
    assert (done.files, done.frames) == (2, 0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("pid", -1),
        ("pid", True),
        ("heartbeat", "now"),
        ("heartbeat", float("nan")),
        ("lag_s", 1e308),
        ("models", []),
        ("problems", {"/data": 7}),
        ("retried", "x"),
        ("message", None),
        ("version", "one"),
        ("busy_with", 7),
        ("busy_s", "long"),
        ("ignored", {".txt": "many"}),
        ("alarms", "low"),
        ("job", "watch"),
    ],
)
def test_a_state_of_another_kind_is_left_out(name: str, value: object) -> None:
    assert EngineState.from_json({name: value, "unknown": value, "status": "running"}) == EngineState(status="running")


def test_a_state_that_an_engine_writes_stays_as_it_is() -> None:
    state = EngineState(
        4711, "here", 1.0, "running", 1.5, ignored={".txt": 3}, models={"classify": "x"}, alarms=[{"kind": "rate"}]
    )
    assert EngineState.from_json(state.to_json()) == state


def test_a_state_without_its_times_is_of_no_engine_at_work(session: Session) -> None:
    with closing(ResultsWriter(session.results_path)) as writer:
        writer.set_state({"status": "running", "host": "elsewhere", "pid": "x", "heartbeat": "now"})
    state = session.engine_state()
    assert not presence_of(session.path, state).alive and not engine_is_alive(state)


def test_a_reader_of_damaged_values_cannot_write(session: Session) -> None:
    edit(session, "UPDATE frames SET score = 'x' WHERE id = 1")
    reader = ResultsReader(session.results_path)
    with closing(reader), pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader._db.execute("DELETE FROM models")


def test_damaged_lines_of_journals_are_blanked_and_kept(session: Session) -> None:
    with closing(session.journal("ada")) as journal:
        LabelWriter(journal).decide(key(A, 0), "accepted")
        journal.append("label", file=A, dataset="", index=10**30, verdict="accepted")
        LabelWriter(journal).decide(key(A, 1), "rejected")
        path = journal.path
        content = path.read_bytes()
        path.write_bytes(content.replace(b"ada", b"eve", 1))
        before = session.labels()
        assert before.damaged == 2
        blanked = blank_damaged(session.journal_path, before.malformed)
        assert (blanked.lines, blanked.not_writable) == (2, 0)
        assert blanked.set_aside is not None and blanked.set_aside.read_bytes().count(path.name.encode()) == 2
        LabelWriter(journal).decide(key(B, 0), "accepted")
    after = session.labels()
    assert after.damaged == 0 and after.labels.keys() == before.labels.keys() | {key(B, 0)}
    assert len(path.read_bytes()) > len(content)


def test_a_journal_that_lies_elsewhere_is_not_written_to(session: Session, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.jsonl"
    elsewhere.write_bytes(b"no record\n")
    session.journal_path.mkdir(exist_ok=True)
    (session.journal_path / "eve.jsonl").symlink_to(elsewhere)
    assert blank_damaged(session.journal_path, ()).lines == 0
    assert elsewhere.read_bytes() == b"no record\n"
