from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from photon_triage.core.common.errors import SessionError
from photon_triage.core.session.decisions.journal import JournalWriter
from photon_triage.core.session.decisions.labels import Label, LabelBook, LabelWriter, Subject
from photon_triage.core.session.session import Session

from ..builders import build_session, key

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
    assert ada.undo() is not None
    assert book(tmp_path).labels[FRAME].verdict == "rejected"
    assert ada.undo() is not None
    assert book(tmp_path).labels == {}
    assert ada.undo() is None


@pytest.mark.usefixtures("clock")
def test_redo_makes_the_decision_again_as_the_newest_word(tmp_path: Path) -> None:
    ada, grace = writer(tmp_path, "ada"), writer(tmp_path, "grace")
    ada.decide(FRAME, "accepted", category="single")
    ada.undo()
    grace.decide(FRAME, "rejected")
    assert ada.redo() is not None
    label = book(tmp_path).labels[FRAME]
    assert (label.verdict, label.category, label.who) == ("accepted", "single", "ada")
    assert ada.redo() is None
    ada.undo()
    assert book(tmp_path).labels[FRAME].who == "grace"


def test_a_new_decision_leaves_nothing_to_redo(tmp_path: Path) -> None:
    ada = writer(tmp_path, "ada")
    ada.decide(FRAME, "accepted")
    ada.undo()
    ada.decide(OTHER, "rejected")
    assert ada.redo() is None
    assert set(book(tmp_path).labels) == {OTHER}


def test_a_decision_on_many_frames_is_one_record_and_one_undo(tmp_path: Path) -> None:
    ada = writer(tmp_path, "ada")
    ada.decide(FRAME, "accepted")
    ada.decide_all([Subject(FRAME, "d0"), Subject(OTHER, "d1")], "rejected", "ice")
    assert len(next(tmp_path.glob("*.jsonl")).read_text().splitlines()) == 2
    labels = book(tmp_path).labels
    assert {key.index: (label.verdict, label.category, label.digest) for key, label in labels.items()} == {
        0: ("rejected", "ice", "d0"),
        1: ("rejected", "ice", "d1"),
    }
    ada.undo()
    assert {key.index: label.verdict for key, label in book(tmp_path).labels.items()} == {0: "accepted"}


def test_of_a_torn_decision_on_many_frames_nothing_counts(tmp_path: Path) -> None:
    writer(tmp_path, "ada").decide_all([Subject(key("/data/a.cxi", index)) for index in range(50)], "accepted")
    journal = next(tmp_path.glob("*.jsonl"))
    journal.write_bytes(journal.read_bytes()[:2000])
    assert book(tmp_path).labels == {}


def test_flags_of_many_frames_are_set_and_taken_back_in_one_stroke(tmp_path: Path) -> None:
    ada = writer(tmp_path, "ada")
    ada.flag_all([Subject(FRAME), Subject(OTHER)], True)
    assert book(tmp_path).flagged == {FRAME, OTHER}
    ada.undo()
    assert not book(tmp_path).flagged
    ada.redo()
    assert book(tmp_path).flagged == {FRAME, OTHER}


def test_a_clock_that_was_set_back_is_seen_behind_a_long_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: 2000.0)
    many = [Subject(key(f"/data/{index:0200}.cxi", 0)) for index in range(1000)]
    writer(tmp_path, "ada").decide_all(many, "accepted")
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    assert writer(tmp_path, "grace").decide(many[0].key, "rejected").stamp > 2000.0


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
    assert ada.undo() is not None
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


@pytest.mark.usefixtures("clock")
def test_a_flag_or_threshold_taken_back_leaves_the_word_before(tmp_path: Path) -> None:
    journal = JournalWriter(tmp_path, "ada")
    ada = LabelWriter(journal)
    ada.set_threshold(0.3)
    later = ada.set_threshold(0.6)
    flag = ada.flag(FRAME, True)
    labels = book(tmp_path)
    assert (labels.threshold, labels.flagged) == (0.6, {FRAME})
    for record in (later, flag):
        journal.append("undo", journal=record.journal, of=record.sequence)
    labels.refresh()
    assert (labels.threshold, labels.flagged) == (0.3, set())


def test_an_undo_read_before_what_it_takes_back_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = JournalWriter(tmp_path, "ada")
    labels = LabelBook(tmp_path)
    monkeypatch.setattr(time, "time", lambda: 50.0)
    decided = LabelWriter(journal).decide(FRAME, "accepted")
    text = journal.path.read_bytes()
    journal.path.unlink()
    other = JournalWriter(tmp_path, "ada")
    other.append("undo", journal=decided.journal, of=decided.sequence)
    labels.refresh()
    journal.path.write_bytes(text)
    labels.refresh()
    assert labels.labels == {}


def test_who_holds_the_labels_may_go_on_reading_them(tmp_path: Path) -> None:
    ada = writer(tmp_path, "ada")
    ada.decide(FRAME, "accepted")
    labels = book(tmp_path)
    held = labels.labels
    ada.decide(OTHER, "accepted")
    labels.refresh()
    assert set(held) == {FRAME} and set(labels.labels) == {FRAME, OTHER}


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("label", {}),
        ("label", {"file": "/a", "dataset": "", "index": 0, "verdict": "maybe"}),
        ("label", {"file": "/a", "dataset": "", "index": 0, "verdict": []}),
        ("label", {"file": 1, "dataset": "", "index": "0", "verdict": "accepted"}),
        ("label", {"file": "/a", "dataset": "", "index": 10**30, "verdict": "accepted"}),
        ("label", {"file": "/a", "dataset": "", "index": -1, "verdict": "accepted"}),
        ("label", {"file": "/a\0b", "dataset": "", "index": 0, "verdict": "accepted"}),
        ("label", {"file": "/\ud800", "dataset": "", "index": 0, "verdict": "accepted"}),
        ("label", {"file": "/a", "dataset": "", "index": 0, "point": [10**20, 1], "verdict": "accepted"}),
        ("label", {"file": "/a", "dataset": "", "index": 0, "verdict": "accepted", "class": "\ud800"}),
        *(
            ("label", {"file": "/a", "dataset": "", "index": 0, "verdict": "accepted", "labelled_at": when})
            for when in (-1.0, 1e300, float("nan"), 10**400)
        ),
        ("flag", {"file": "/a"}),
        ("threshold", {"value": None}),
        ("threshold", {"value": 10**400}),
        ("threshold", {"value": float("nan")}),
        ("undo", {"journal": [], "of": {}}),
    ],
)
def test_a_record_that_says_nothing_is_counted_as_damaged(tmp_path: Path, kind: str, fields: dict[str, object]) -> None:
    journal = JournalWriter(tmp_path, "ada")
    journal.append(kind, **fields)
    LabelWriter(journal).decide(FRAME, "accepted")
    labels = book(tmp_path)
    assert (labels.damaged, set(labels.labels)) == (1, {FRAME})


def test_commands_to_the_engine_are_none_of_the_labels_business(tmp_path: Path) -> None:
    JournalWriter(tmp_path, "ada").append("command", action="stop")
    assert book(tmp_path).damaged == 0


names = st.sampled_from(["ada", "grace"])
actions = st.lists(
    st.tuples(names, st.sampled_from(["accepted", "rejected", "skipped", "undo", "redo"]), st.integers(0, 2)),
    max_size=25,
)


@settings(max_examples=30)
@given(actions, st.integers(1, 5))
def test_following_in_steps_gives_what_reading_at_once_gives(
    tmp_path_factory: pytest.TempPathFactory, actions: list[tuple[str, str, int]], step: int
) -> None:
    folder = tmp_path_factory.mktemp("journal")
    writers = {name: writer(folder, name) for name in ("ada", "grace")}
    followed = LabelBook(folder)
    for place, (name, action, index) in enumerate(actions):
        if action == "undo":
            writers[name].undo()
        elif action == "redo":
            writers[name].redo()
        else:
            writers[name].decide(key("/data/a.cxi", index), action)  # type: ignore[arg-type]
        if place % step == 0:
            followed.refresh()
    followed.refresh()
    at_once = book(folder)
    assert (followed.labels, followed.conflicts) == (at_once.labels, at_once.conflicts)
