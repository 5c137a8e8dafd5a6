from __future__ import annotations

import time
from pathlib import Path

import pytest

from photon_triage.core.errors import SessionError
from photon_triage.core.session.journal import JournalWriter
from photon_triage.core.session.labels import Label, LabelBook, LabelWriter
from photon_triage.core.session.session import Session

from .builders import build_session, key

FRAME, OTHER = key("/data/a.cxi", 0), key("/data/a.cxi", 1)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(1000, 2000))
    monkeypatch.setattr(time, "time", lambda: float(next(ticks)))


def writer(folder: Path, who: str) -> LabelWriter:
    return LabelWriter(JournalWriter(folder, who))


def book(folder: Path) -> LabelBook:
    labels = LabelBook(folder)
    labels.refresh()
    return labels


@pytest.mark.usefixtures("clock")
def test_the_later_word_counts(tmp_path: Path) -> None:
    ada = writer(tmp_path, "ada")
    ada.decide(FRAME, "rejected")
    ada.decide(FRAME, "accepted", category="single")
    label = book(tmp_path).labels[FRAME]
    assert (label.verdict, label.category, label.who) == ("accepted", "single", "ada")


@pytest.mark.usefixtures("clock")
def test_undo_brings_back_the_word_before(tmp_path: Path) -> None:
    ada = writer(tmp_path, "ada")
    ada.decide(FRAME, "rejected")
    ada.decide(FRAME, "accepted")
    assert ada.undo() == FRAME
    assert book(tmp_path).labels[FRAME].verdict == "rejected"
    assert ada.undo() == FRAME
    assert book(tmp_path).labels == {}
    assert ada.undo() is None


def test_undo_takes_back_only_ones_own(tmp_path: Path) -> None:
    ada, grace = writer(tmp_path, "ada"), writer(tmp_path, "grace")
    ada.decide(FRAME, "accepted")
    grace.decide(OTHER, "rejected")
    ada.undo()
    assert set(book(tmp_path).labels) == {OTHER}


def test_an_undo_that_was_not_saved_can_be_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ada = writer(tmp_path, "ada")
    ada.decide(FRAME, "accepted")
    with monkeypatch.context() as patch:
        patch.setattr("os.write", lambda fd, data: 0)
        with pytest.raises(SessionError):
            ada.undo()
    assert ada.undoable == 1
    assert ada.undo() == FRAME
    assert book(tmp_path).labels == {}


@pytest.mark.usefixtures("clock")
def test_two_people_who_differ_are_a_conflict_and_the_later_counts(tmp_path: Path) -> None:
    writer(tmp_path, "ada").decide(FRAME, "accepted")
    writer(tmp_path, "grace").decide(FRAME, "rejected")
    labels = book(tmp_path)
    assert labels.conflicts == {FRAME}
    assert labels.labels[FRAME].who == "grace"


@pytest.mark.parametrize("second", ["accepted", "skipped"])
def test_agreeing_or_skipping_is_no_conflict(tmp_path: Path, second: str) -> None:
    writer(tmp_path, "ada").decide(FRAME, "accepted")
    writer(tmp_path, "grace").decide(FRAME, second)  # type: ignore[arg-type]
    assert book(tmp_path).conflicts == set()


@pytest.mark.usefixtures("clock")
def test_changing_ones_mind_is_no_conflict(tmp_path: Path) -> None:
    writer(tmp_path, "ada").decide(FRAME, "accepted")
    writer(tmp_path, "ada").decide(FRAME, "rejected")
    assert book(tmp_path).conflicts == set()


def test_labels_taken_over_keep_their_name_and_time(tmp_path: Path) -> None:
    label = Label(FRAME, "rejected", "grace", 12.5, "water")
    assert writer(tmp_path, "ada").take_over([label]) == 1
    assert book(tmp_path).labels == {FRAME: label}


@pytest.mark.usefixtures("clock")
def test_a_flag_can_be_taken_off(tmp_path: Path) -> None:
    ada = writer(tmp_path, "ada")
    ada.flag(FRAME, True)
    ada.flag(OTHER, True)
    ada.flag(FRAME, False)
    assert book(tmp_path).flagged == {OTHER}


def test_a_book_says_whether_anything_is_new(tmp_path: Path) -> None:
    ada, labels = writer(tmp_path, "ada"), LabelBook(tmp_path)
    ada.decide(FRAME, "accepted")
    assert labels.refresh()
    assert not labels.refresh()


@pytest.mark.usefixtures("clock")
def test_the_operators_threshold_comes_before_the_recipes(tmp_path: Path) -> None:
    session: Session = build_session(tmp_path / "s", {})
    assert session.threshold() == session.recipe().default_threshold
    ada = LabelWriter(session.journal("ada"))
    ada.set_threshold(0.7)
    ada.set_threshold(0.0)
    assert session.threshold() == 0.0
