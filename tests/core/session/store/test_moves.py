from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from photon_triage.core.frames import FrameKey
from photon_triage.core.session.decisions.labels import LabelBook, LabelWriter
from photon_triage.core.session.session import Session
from photon_triage.core.session.store.rows import FrameResult
from photon_triage.core.session.store.writer import ResultsWriter

from ..builders import DATASET, build_session, file_row, key

OLD, NEW = "/data/run_tmp/a.cxi", "/archive/run_0042/a.cxi"


def results_of(name: str, count: int) -> list[FrameResult]:
    """Hits whose digests tell the files apart, but for the first frame, which is none."""
    return [FrameResult(place, 1, place > 0, digest=f"{name}-{place}" if place else None) for place in range(count)]


def session_with(folder: Path, **files: str) -> Session:
    """A session whose results know these files: path by the name of their content."""
    session = build_session(folder, {})
    writer = ResultsWriter(session.results_path)
    for name, path in files.items():
        writer.put_frames(writer.put_file(file_row(path.replace("|", "/"), 4)), results_of(name, 4), now=1.0)
    writer.close()
    return session


def label(session: Session, path: str, index: int, digest: str | None, verdict: str = "accepted") -> LabelWriter:
    writer = LabelWriter(session.journal())
    writer.decide(key(path, index), verdict, digest=digest)  # type: ignore[arg-type]
    return writer


def verdicts(book: LabelBook) -> dict[FrameKey, str]:
    return {each: given.verdict for each, given in book.labels.items()}


def test_a_moved_run_keeps_its_labels(tmp_path: Path) -> None:
    session = session_with(tmp_path / "s", a=NEW)
    label(session, OLD, 2, "a-2")
    label(session, OLD, 0, None, "rejected")
    book = session.labels()
    assert verdicts(book) == {key(NEW, 2): "accepted", key(NEW, 0): "rejected"}
    assert all(each == given.key for each, given in book.labels.items())


def test_the_same_digest_at_another_index_is_another_frame(tmp_path: Path) -> None:
    session = session_with(tmp_path / "s", a=NEW)
    label(session, OLD, 3, "a-2")
    assert verdicts(session.labels()) == {key(OLD, 3): "accepted"}


def test_of_two_copies_the_one_with_the_same_name_counts(tmp_path: Path) -> None:
    session = build_session(tmp_path / "s", {})
    writer = ResultsWriter(session.results_path)
    for path in ("/archive/a.cxi", "/archive/b.cxi"):
        writer.put_frames(writer.put_file(file_row(path, 4)), results_of("a", 4), now=1.0)
    label(session, OLD, 2, "a-2")
    label(session, "/data/c.cxi", 2, "a-2")
    assert set(session.labels().labels) == {key("/archive/a.cxi", 2), key("/data/c.cxi", 2)}


def test_a_file_that_is_where_it_was_keeps_its_labels_to_itself(tmp_path: Path) -> None:
    session = build_session(tmp_path / "s", {})
    writer = ResultsWriter(session.results_path)
    for path in (OLD, NEW):
        writer.put_frames(writer.put_file(file_row(path, 4)), results_of("a", 4), now=1.0)
    label(session, OLD, 2, "a-2")
    assert set(session.labels().labels) == {key(OLD, 2)}


def test_what_is_said_after_the_move_counts_over_what_was_said_before(tmp_path: Path) -> None:
    session = session_with(tmp_path / "s", a=NEW)
    label(session, OLD, 2, "a-2", "rejected")
    after = label(session, NEW, 2, "a-2", "accepted")
    book = session.labels()
    assert verdicts(book) == {key(NEW, 2): "accepted"}
    after.undo()
    book.refresh()
    assert verdicts(book) == {key(NEW, 2): "rejected"}


def test_a_book_that_is_open_follows_a_file_from_place_to_place(tmp_path: Path) -> None:
    session = session_with(tmp_path / "s", a=OLD)
    before = label(session, OLD, 2, "a-2")
    book = session.labels()
    for now in (NEW, "/elsewhere/b.cxi"):
        writer = ResultsWriter(session.results_path)
        (row,) = writer.files()
        writer.move_file(row.path, now)
        writer.close()
        assert book.follow_moves(session.results())
        assert verdicts(book) == {key(now, 2): "accepted"}
    before.undo()
    book.refresh()
    assert not book.labels


def test_candidates_and_flags_move_with_their_frame(tmp_path: Path) -> None:
    session = session_with(tmp_path / "s", a=NEW)
    writer = label(session, OLD, 2, "a-2")
    point = FrameKey(OLD, DATASET, 1, (3, 4))
    writer.decide(point, "accepted", digest="a-1")
    writer.flag(key(OLD, 3), True)
    book = session.labels()
    assert set(book.labels) == {key(NEW, 2), replace(point, file=NEW)} and book.flagged == {key(NEW, 3)}
