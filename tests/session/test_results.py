from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from photon_triage.core.errors import SessionError
from photon_triage.core.session import results
from photon_triage.core.session.results import ResultsReader, ResultsWriter
from photon_triage.core.session.rows import Counts, FrameResult

from .builders import DATASET, build_session, file_row, frame_results, key

A = "/data/a.cxi"


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


def test_frames_of_an_unreadable_file_are_dropped_not_pending(writer: ResultsWriter, tmp_path: Path) -> None:
    writer.put_file(file_row(A, 4, status="unreadable", reason="truncated file"))
    writer.put_file(file_row("/data/b.cxi", 5, status="waiting"))
    counts = ResultsReader(tmp_path / "results.db").counts()
    assert (counts.dropped, counts.pending, counts.unreadable, counts.waiting) == (4, 5, 1, 1)


def test_the_models_that_scored_are_counted(tmp_path: Path) -> None:
    session = build_session(tmp_path / "s", {A: [0.9, None, 0.2]})
    assert session.results().scoring_models() == {"hitnet-test": 2}


def test_scores_are_found_by_key(tmp_path: Path) -> None:
    session = build_session(tmp_path / "s", {A: [0.9, None]})
    assert session.results().scores() == {key(A, 0): 0.9, key(A, 1): None}


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
    connect = results._connect

    def look_and_connect(opened: Path) -> sqlite3.Connection:
        if path.exists():
            states.append(results._state(connect(path)))
        return connect(opened)

    monkeypatch.setattr(results, "_connect", look_and_connect)
    ResultsWriter(path).close()
    assert states == [{}]
    assert [entry.name for entry in tmp_path.iterdir()] == ["results.db"]


def test_what_is_known_of_a_file_outlives_a_time_when_it_cannot_be_read(writer: ResultsWriter) -> None:
    file_id = writer.put_file(file_row(A, 5, status="reading", simulated=True))
    nothing = {"dataset": "", "run": "", "layout": "", "height": 0, "simulated": False}
    writer.put_file(file_row(A, 0, status="unreadable", reason="gone", **nothing))
    (row,) = writer.files()
    assert (row.id, row.dataset, row.run, row.layout, row.height) == (file_id, DATASET, "r0001", "cxi", 16)
    assert (row.frames, row.simulated, row.status, row.reason) == (5, True, "unreadable", "gone")
