"""Labels of frames whose bytes have changed since: kept and marked, and not counted until they are given again."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from photon_triage.core.frames import FrameKey
from photon_triage.core.session.decisions.labels import LabelBook, LabelWriter
from photon_triage.core.session.session import Session
from photon_triage.core.session.store.rows import FrameResult
from photon_triage.core.session.store.writer import ResultsWriter

from ..builders import build_session, file_row, key

A = "/data/a.cxi"
LATER = 4e9
"""A Unix time after all that a test writes."""


def frames(*digests: str | None, hits: bool = True) -> list[FrameResult]:
    return [FrameResult(place, 3, hits, 0.9, "m", digest=digest) for place, digest in enumerate(digests)]


@pytest.fixture
def session(tmp_path: Path) -> Session:
    """A session with a file of three hits and a miss."""
    session = build_session(tmp_path / "s", {})
    with_file(session, A, [*frames("a0", "a1", "a2"), FrameResult(3, 1, False)])
    return session


def with_file(session: Session, path: str, results: list[FrameResult], now: float = 1.0) -> int:
    writer = ResultsWriter(session.results_path)
    file_id = writer.put_file(file_row(path, len(results)))
    writer.put_frames(file_id, results, now)
    writer.close()
    return file_id


def replaced(session: Session, results: list[FrameResult], now: float = LATER) -> list[int]:
    writer = ResultsWriter(session.results_path)
    try:
        return writer.replace_frames(1, results, now)
    finally:
        writer.close()


def decided(session: Session, verdicts: dict[int, str | None], verdict: str = "accepted") -> LabelWriter:
    """Verdicts on frames of A, digests by index."""
    writer = LabelWriter(session.journal())
    for index, digest in verdicts.items():
        writer.decide(key(A, index), verdict, digest=digest)  # type: ignore[arg-type]
    return writer


def indices(labels: dict[FrameKey, object]) -> list[int]:
    return sorted(each.index for each in labels)


def of(book: LabelBook) -> tuple[list[int], list[int]]:
    return indices(dict(book.labels)), indices(dict(book.changed))


def test_a_frame_read_again_with_the_same_bytes_keeps_its_results_and_its_label(session: Session) -> None:
    decided(session, {0: "a0", 1: "a1"})
    assert replaced(session, [FrameResult(0, 1, False, digest="a0"), FrameResult(1, 1, False, digest="new")]) == [1]
    rows = {row.key.index: row for row in session.results().all_frames()}
    assert (rows[0].hit, rows[0].score) == (True, 0.9)
    assert (rows[1].hit, rows[1].score, rows[1].digest) == (False, None, "new")
    assert of(session.labels()) == ([0], [1])


def test_history_follows_hits_that_became_misses(session: Session) -> None:
    replaced(session, frames("b0", "b1", "b2", hits=False))
    reader = session.results()
    assert (reader.counts().frames, reader.counts().hits) == (4, 0)
    assert reader.history() == [(0.0, 4, 0)]


def test_a_label_without_a_digest_is_of_the_frame_as_it_was(session: Session) -> None:
    decided(session, {3: None})
    assert of(session.labels()) == ([3], [])
    replaced(session, [FrameResult(3, 1, False, digest="b3")])
    assert of(session.labels()) == ([], [3])


def test_a_labelled_miss_that_was_digested_in_time_is_known_to_be_unchanged(session: Session) -> None:
    decided(session, {3: None, 0: "a0"})
    writer = ResultsWriter(session.results_path)
    assert writer.missing.labelled_without_digest(session.labels().labels) == [(A, key(A, 0).dataset, (3,))]
    writer.put_digests(1, {3: "a3"})
    assert writer.missing.labelled_without_digest(session.labels().labels) == []
    assert writer.replace_frames(1, [FrameResult(3, 1, False, digest="a3")], LATER) == []
    assert of(session.labels()) == ([0, 3], [])


def test_a_changed_label_counts_again_once_it_is_given_again(session: Session) -> None:
    decided(session, {0: "a0"})
    book = session.labels()
    replaced(session, frames("b0"))
    assert book.follow_moves(session.results())
    assert of(book) == ([], [0]) and book.changed[key(A, 0)].verdict == "accepted"
    again = decided(session, {0: "b0"}, "rejected")
    book.refresh()
    book.follow_moves(session.results())
    assert of(book) == ([0], []) and book.labels[key(A, 0)].verdict == "rejected"
    again.undo()
    book.refresh()
    assert of(book) == ([], [0])


def test_a_frame_that_is_as_it_was_has_its_label_back(session: Session) -> None:
    decided(session, {0: "a0"})
    book = session.labels()
    for digest, labels in (("b0", ([], [0])), ("a0", ([0], []))):
        replaced(session, frames(digest))
        book.follow_moves(session.results())
        assert of(book) == labels


def test_while_a_file_is_read_again_its_labels_wait(session: Session) -> None:
    decided(session, {0: "a0", 1: "a1", 3: None})
    book = session.labels()
    writer = ResultsWriter(session.results_path)
    writer.forget_frames(1, LATER)
    book.follow_moves(session.results())
    assert of(book) == ([], [0, 1, 3])
    writer.put_file(file_row(A, 4))
    writer.put_frames(1, [*frames("a0", "b1"), FrameResult(2, 1, False), FrameResult(3, 1, False)], LATER)
    book.follow_moves(session.results())
    assert of(book) == ([0], [1, 3])
    writer.close()


def test_a_label_from_before_the_results_were_made_again_is_held_against_the_frame(session: Session) -> None:
    decided(session, {0: "a0", 1: "other"})
    assert of(session.labels()) == ([0], [1])


def test_people_who_differ_about_former_bytes_do_not_dispute(session: Session) -> None:
    decided(session, {0: "a0"})
    other = LabelWriter(session.journal("someone"))
    other.decide(key(A, 0), "rejected", digest="a0")
    assert session.labels().conflicts == {key(A, 0)}
    replaced(session, frames("b0"))
    book = session.labels()
    assert not book.conflicts and not book.opinions and of(book) == ([], [0])


def test_candidates_change_with_their_frame(session: Session) -> None:
    writer = LabelWriter(session.journal())
    writer.decide(key(A, 0).at(3, 4), "accepted", digest="a0")
    replaced(session, frames("b0"))
    book = session.labels()
    assert not book.labels and set(book.changed) == {key(A, 0).at(3, 4)}


@pytest.mark.parametrize(("is_small", "notes"), [(True, []), (False, [()])])
def test_values_that_no_engine_wrote_end_in_no_traceback(
    session: Session, is_small: bool, notes: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a small data base the rows are passed over, in a large one, which nobody looks through, read as they are."""
    monkeypatch.setattr("photon_triage.core.session.store.validity.is_small", lambda _: is_small)
    decided(session, {0: "a0"})
    db = sqlite3.connect(session.results_path)
    db.executescript(
        "UPDATE files SET notes = '[1, ', replaced = 'soon'; UPDATE frames SET changed = 'now';"
        "INSERT INTO state VALUES ('changes', '\"many\"');"
    )
    db.close()
    reader = session.results()
    assert [row.notes for row in reader.files()] == notes
    assert (reader.newest_note()[1], reader.changes()) == ("", 0)
    assert of(session.labels()) == ([0], [])


def test_a_label_of_a_file_whose_name_is_no_unicode_is_read(session: Session) -> None:
    LabelWriter(session.journal()).decide(key("/data/\udcff.cxi", 0), "accepted")
    assert [each.file for each in session.labels().labels] == ["/data/\udcff.cxi"]
