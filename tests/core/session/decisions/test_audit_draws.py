from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from photon_triage.core.audit.estimate import estimate
from photon_triage.core.frames import FrameKey
from photon_triage.core.session.decisions.audit_draws import AuditDraw, audit_of, draw_audit, record_draw
from photon_triage.core.session.decisions.label_records import Label, Verdict
from photon_triage.core.session.decisions.labels import LabelBook, LabelWriter
from photon_triage.core.session.session import Session
from photon_triage.core.session.store.filters import AUDIT
from photon_triage.core.session.store.rows import FrameResult
from photon_triage.core.session.store.writer import ResultsWriter

from ..builders import build_session, file_row, frame_results, key

A, B = "/data/a.cxi", "/data/b.cxi"


def falling(count: int) -> list[float | None]:
    """Scores from 1 down; every fifth frame is refused."""
    return [None if place % 5 == 4 else 1 - place / count for place in range(count)]


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return build_session(tmp_path / "s", {A: falling(200), B: falling(100)})


def draw_more(session: Session, more: int, before: Sequence[AuditDraw] = (), seed: int | None = 7) -> AuditDraw:
    reader = session.results()
    try:
        labels = session.labels().labels
        return draw_audit(reader.frames(), before, labels, threshold=0.8, more=more, model="first", seed=seed)
    finally:
        reader.close()


def labelled(frames: Sequence[FrameKey], verdict: Verdict = "accepted", queue: str = AUDIT) -> dict[FrameKey, Label]:
    return {frame: Label(frame, verdict, "ada", 1.0, queue=queue) for frame in frames}


def keys_of(drawn: AuditDraw) -> list[FrameKey]:
    return [frame.key for frame in drawn.frames]


def scores_of(session: Session) -> dict[FrameKey, float | None]:
    reader = session.results()
    try:
        return {row.key: row.score for row in reader.all_frames()}
    finally:
        reader.close()


def test_a_draw_comes_back_from_the_journals_as_it_was_written(session: Session) -> None:
    drawn = draw_more(session, 250)
    journal = session.journal("ada")
    record_draw(journal, drawn)
    journal.close()
    assert session.labels().draws == (drawn,)
    assert len(drawn.frames) == 250 and sum(stratum.frames for stratum in drawn.strata) == 300


def test_a_draw_of_which_records_are_lost_does_not_count(session: Session) -> None:
    journal = session.journal("ada")
    record_draw(journal, draw_more(session, 20))
    journal.close()
    lines = journal.path.read_bytes().splitlines(keepends=True)
    journal.path.write_bytes(b"".join(lines[:-1]))
    assert session.labels().draws == ()


def test_the_same_seed_draws_the_same_frames_on_every_screen(session: Session) -> None:
    assert keys_of(draw_more(session, 30)) == keys_of(draw_more(session, 30))
    assert keys_of(draw_more(session, 30, seed=8)) != keys_of(draw_more(session, 30))


def test_more_labels_and_new_frames_keep_what_was_drawn_as_far_as_they_can(session: Session) -> None:
    first = draw_more(session, 60)
    again = draw_more(session, 100, [first], seed=None)
    assert again.seed == first.seed
    assert len(set(keys_of(first)) & set(keys_of(again))) >= 55
    writer = ResultsWriter(session.results_path)
    writer.put_frames(writer.put_file(file_row("/data/c.cxi", 50)), frame_results(falling(50)), now=200.0)
    writer.close()
    later = draw_more(session, 120, [first], seed=None)
    assert {frame.file for frame in keys_of(later)} == {A, B, "/data/c.cxi"}
    assert len(set(keys_of(again)) & set(keys_of(later))) >= 80


def test_labels_that_were_given_are_on_top_of_what_is_asked_for(session: Session) -> None:
    first = draw_more(session, 20)
    reader = session.results()
    again = draw_audit(reader.frames(), [first], labelled(keys_of(first)), threshold=0.8, more=20)
    reader.close()
    assert len(again.frames) == 40


def test_without_a_draw_there_is_no_audit() -> None:
    assert audit_of([], {}, {}) is None


def test_an_audit_that_was_begun_counts_up_to_where_it_was_left(session: Session) -> None:
    drawn = draw_more(session, 40)
    frames = keys_of(drawn)
    ranked = labelled(frames[20:30], queue="score")
    audit = audit_of([drawn], labelled(frames[:10]) | ranked, scores_of(session))
    assert audit is not None
    assert audit.keys == set(frames[:10]), "what a ranked list put forward is no random sample"
    assert audit.waiting == (*frames[10:20], *frames[30:])


def test_ranked_labels_count_where_the_audit_has_passed_them(session: Session) -> None:
    drawn = draw_more(session, 40)
    frames = keys_of(drawn)
    audit = audit_of([drawn], labelled(frames[:5]) | labelled([frames[5]], queue="score") | labelled(
        [frames[6]]), scores_of(session))  # fmt: skip
    assert audit is not None and audit.keys == set(frames[:7])


def test_an_audit_that_is_done_counts_all_labels_wherever_they_were_made(session: Session) -> None:
    drawn = draw_more(session, 40)
    audit = audit_of([drawn], labelled(keys_of(drawn), queue=""), scores_of(session))
    assert audit is not None and len(audit.sample) == 40 and not audit.waiting


def test_the_last_draw_that_is_done_counts_while_the_next_one_is_labelled(session: Session) -> None:
    first = draw_more(session, 30)
    second = draw_more(session, 60, [first])
    labels = labelled(keys_of(first))
    audit = audit_of([first, second], labels, scores_of(session))
    assert audit is not None and audit.draw == first and audit.keys == set(keys_of(first))
    assert set(audit.waiting) == set(keys_of(second)) - set(keys_of(first))


def test_skipped_frames_are_counted_apart(session: Session) -> None:
    drawn = draw_more(session, 20)
    frames = keys_of(drawn)
    audit = audit_of([drawn], labelled(frames[:15]) | labelled(frames[15:], "skipped"), scores_of(session))
    assert audit is not None and (len(audit.sample), audit.skipped, audit.decided) == (15, 5, 20)


def test_probabilities_stay_when_another_model_scores(session: Session) -> None:
    drawn = draw_more(session, 300)
    scores = scores_of(session)
    now = {frame: None if score is None else score**3 for frame, score in scores.items()}
    truth = {frame: (score or 0) >= 0.5 for frame, score in scores.items()}
    labels = {frame: label for frame in truth for label in labelled(
        [frame], "accepted" if truth[frame] else "rejected").values()}  # fmt: skip
    audit = audit_of([drawn], labels, now)
    assert audit is not None and audit.sample.rescored
    (found,) = estimate(audit.sample, [0.125])
    assert (found.precision.value, found.recall.value) == (1, 1)
    assert found.hit_rate.value == pytest.approx(np.mean(list(truth.values())))


def test_frames_that_are_gone_do_not_count(session: Session) -> None:
    drawn = draw_more(session, 300)
    scores = {frame: score for frame, score in scores_of(session).items() if frame.file == A}
    audit = audit_of([drawn], labelled(keys_of(drawn)), scores)
    assert audit is not None and len(audit.sample) == 200


def test_a_draw_follows_a_file_that_was_moved(session: Session) -> None:
    writer = ResultsWriter(session.results_path)
    moved_id = writer.put_file(file_row("/new/m.cxi", 4))
    writer.put_frames(moved_id, [FrameResult(i, 3, True, 0.9, "m", f"digest{i}") for i in range(4)], now=1.0)
    journal = session.journal("ada")
    drawn = draw_more(session, 304)
    assert key("/new/m.cxi", 0) in keys_of(drawn)
    record_draw(journal, drawn)
    LabelWriter(journal).decide(key("/new/m.cxi", 0), "accepted", digest="digest0")
    journal.close()
    writer.move_file("/new/m.cxi", "/old/m.cxi")
    writer.close()
    (now,) = session.labels().draws
    assert key("/old/m.cxi", 3) in keys_of(now) and key("/new/m.cxi", 3) not in keys_of(now)


def test_a_label_keeps_the_queue_that_it_was_made_from(session: Session) -> None:
    journal = session.journal("ada")
    writer = LabelWriter(journal)
    writer.decide(key(A, 0), "accepted")
    writer.queue = "audit"
    writer.decide(key(A, 1), "accepted")
    journal.close()
    labels = session.labels().labels
    assert (labels[key(A, 0)].queue, labels[key(A, 1)].queue) == ("", "audit")


def test_opinions_are_of_frames_that_several_people_decided_on(tmp_path: Path) -> None:
    session = build_session(tmp_path / "o", {})
    for who, verdicts in (
        ("ada", ("accepted", "rejected", "skipped")),
        ("grace", ("accepted", "accepted", "rejected")),
    ):
        journal = session.journal(who)
        for index, verdict in enumerate(verdicts):
            LabelWriter(journal).decide(key(A, index), verdict)  # type: ignore[arg-type]
        journal.close()
    book = LabelBook(session.journal_path)
    book.refresh()
    assert book.opinions == {
        key(A, 0): {"ada": True, "grace": True},
        key(A, 1): {"ada": False, "grace": True},
    }
    assert book.conflicts == {key(A, 1)}


def test_candidates_are_drawn_with_their_points(tmp_path: Path) -> None:
    from photon_triage.core.candidates import Candidate

    session = build_session(tmp_path / "c", {}, recipe="cryoet")
    writer = ResultsWriter(session.results_path)
    found = tuple(Candidate(10 * place, 5, 0.1 + 0.1 * place) for place in range(8))
    file_id = writer.put_file(file_row(A, 1))
    writer.put_frames(file_id, [FrameResult(0, 2, True, 0.8, "m", candidates=found)], now=1.0)
    writer.close()
    reader = session.results()
    drawn = draw_audit(reader.frames("candidates"), (), {}, threshold=0.5, more=8)
    reader.close()
    assert {frame.key.point for frame in drawn.frames} == {(each.x, each.y) for each in found}
