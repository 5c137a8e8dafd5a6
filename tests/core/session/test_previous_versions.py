"""Decisions, scores and files of sessions that previous versions of the program have written."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from photon_triage.core.candidates import Candidate
from photon_triage.core.frames import FrameKey
from photon_triage.core.session.decisions.commands import CommandFollower
from photon_triage.core.session.session import Session
from photon_triage.core.session.state import FileStatus
from photon_triage.core.session.store.database import VERSION
from photon_triage.core.session.store.reader import ResultsReader
from photon_triage.core.session.store.repair import problem, repair
from photon_triage.core.session.store.rows import FrameResult
from photon_triage.core.session.store.writer import ResultsWriter
from photon_triage.core.session.trainings.trainings import TrainingsFollower

from .recorded_sessions import DATASET, FOLDER, VERSIONS, recorded_session

A, B, C = (f"{FOLDER}/{name}.cxi" for name in "abc")
NOTE = "2 further scans in this file were not read"


@pytest.fixture(params=VERSIONS, ids=[f"version {version}" for version in VERSIONS])
def version(request: pytest.FixtureRequest) -> int:
    assert isinstance(request.param, int)
    return request.param


@pytest.fixture(params=["frames", "candidates"])
def session(tmp_path: Path, version: int, request: pytest.FixtureRequest) -> Session:
    return recorded_session(tmp_path / "s", version, request.param)


@pytest.fixture
def reader(session: Session) -> Iterator[ResultsReader]:
    with closing(session.results()) as reader:
        yield reader


def subject(session: Session, path: str, index: int) -> FrameKey:
    key = FrameKey(path, DATASET, index)
    return key.at(4, 5) if session.recipe().patches else key


def test_all_decisions_are_there(session: Session) -> None:
    labels = session.labels()
    assert {key: label.verdict for key, label in labels.labels.items()} == {
        subject(session, A, 0): "accepted",
        subject(session, A, 1): "rejected",
        subject(session, A, 3): "accepted",
        subject(session, B, 0): "accepted",
    }
    categories = {label.category for label in labels.labels.values()}
    assert categories == ({""} if session.recipe().patches else {"", "single"})
    assert {label.who for label in labels.labels.values()} == {"first", "second"}
    assert (labels.flagged, labels.threshold) == ({subject(session, B, 0)}, 0.65)
    assert [(draw.model, len(draw.frames)) for draw in labels.draws] == [("first-model", 3)]
    assert not labels.damaged and not labels.changed and not labels.conflicts


def test_all_commands_are_there(session: Session) -> None:
    wishes = CommandFollower(session.journal_path).wishes()
    assert wishes.stops == 1
    assert [each.holds(C) for each in wishes.retries] == [True]
    assert wishes.models == ("first-model",)


def test_all_files_are_there(session: Session, reader: ResultsReader, version: int) -> None:
    rows = {row.path: row for row in reader.files()}
    assert {path: (row.status, row.frames) for path, row in rows.items()} == {
        A: (FileStatus.COMPLETE, 6),
        B: (FileStatus.MISSING, 4),
        C: (FileStatus.UNREADABLE, 0),
    }
    assert (rows[B].reason, rows[C].reason) == ("Frame 3 is not there.", "Not an HDF5 file.")
    assert rows[A].geometry.photon_energy_ev == 9300.0
    assert rows[B].notes == ((NOTE,) if version >= 4 else ())
    assert not reader.invalid


def test_all_scores_are_there(session: Session, reader: ResultsReader, version: int) -> None:
    found = {(row.key.file, row.key.index): (row.score, row.digest) for row in reader.all_frames()}
    changed = {(B, 1): (0.7, "digest-b1-later")} if version >= 4 else {}
    assert found == changed | {
        (A, 0): (0.9, "digest-0"),
        (A, 1): (0.2, "digest-1"),
        (A, 3): (0.7, "digest-3"),
        (A, 4): (0.6, "digest-4"),
        (B, 0): (0.8, "digest-b0"),
    }
    keys = [FrameKey(A, DATASET, index) for index in (0, 3, 4)]
    assert reader.scores_by("second-model", keys) == {keys[0]: 0.4, keys[1]: 0.95}
    assert reader.scores_by("first-model", keys)[keys[2]] == 0.55, "the score before the last model"
    assert reader.scores_by("third-model", keys) == {keys[2]: 0.6}
    begins = [(begin, frames) for begin, frames, _ in reader.history()]
    assert begins == [(1000.0, 2), (1010.0, 2), (1020.0, 2 if version >= 4 else 1)]


def test_what_was_found_on_frames_is_there(session: Session, reader: ResultsReader) -> None:
    first = FrameKey(A, DATASET, 0)
    (row,) = (row for row in reader.all_frames() if row.key == first)
    if session.recipe().patches:
        assert set(reader.candidates(row.id)) == {Candidate(4, 5, 0.9), Candidate(12, 60, 0.3)}
        mask = reader.mask(row.id)
        assert mask is not None and mask.classes == ("background", "membrane")
        assert np.array_equal(mask.values, np.eye(16, dtype=np.uint8))
    else:
        (found,) = reader.detections(row.id)
        assert (found.category, found.score, found.box.width) == ("single", 0.9, 5.0)


def test_the_engines_report_is_there(session: Session) -> None:
    state = session.engine_state()
    assert (state.status, state.pid, state.host, state.scored) == ("stopped", 4242, "daq1", 5)
    assert (state.model, state.shadow, state.paths) == ("first-model", "second-model", [FOLDER])


def test_trainings_are_there(session: Session) -> None:
    (training,) = TrainingsFollower(session).read()
    assert (training.name, training.state) == ("monday", "done")
    assert [(point.done, point.f1) for point in training.curve] == [(1, None), (2, None), (3, None), (4, 0.5)]


def test_what_an_older_version_did_not_record_is_said_and_no_error(
    session: Session, version: int, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "photon_triage.results"), closing(session.results()):
        pass
    assert ("older version" in caplog.text) == (version < 4)


def test_an_engine_goes_on_with_it(session: Session) -> None:
    before = contents(session)
    with closing(ResultsWriter(session.results_path)) as writer:
        recorded = {row.path: list(spans) for row, spans in writer.ledger()}
        assert recorded[A] == [(0, 2), (3, 5)]
        assert contents(session) == before
        writer.put_frames(1, [FrameResult(2, 1, False)], 2000.0)
        assert {row.path: list(spans) for row, spans in writer.ledger()}[A] == [(0, 5)]
    with closing(sqlite3.connect(session.results_path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (VERSION,)
    assert problem(session.results_path) == ""


def test_it_can_be_repaired(session: Session) -> None:
    before = contents(session)
    repair(session.results_path)
    assert contents(session) == before


def contents(session: Session) -> Any:
    """Everything that is listed, without the numbers of candidates, which a repair gives anew."""
    with closing(session.results()) as reader:
        rows = sorted(reader.frames(session.recipe().unit).select(), key=lambda row: row.key)
        listed = [(row.key, row.run, row.seen, row.score, row.digest, row.measures) for row in rows]
        return reader.files(), listed, session.labels().labels, reader.history()
