from __future__ import annotations

from pathlib import Path

import pytest

from photon_triage.core.session.decisions.labels import LabelWriter
from photon_triage.core.session.session import Session

from ...core.session.builders import build_session, key
from .test_cli import run
from .test_session_commands import report

A = "/data/a.cxi"


@pytest.fixture
def session(tmp_path: Path) -> Session:
    scores: list[float | None] = [None if place % 4 == 3 else 1 - place / 400 for place in range(400)]
    return build_session(tmp_path / "s", {A: scores})


def label_all_drawn(session: Session, who: str = "ada", *, turned: int | None = None) -> None:
    """Hits are those with a score of at least 0.6; somebody may see every n-th frame the other way round."""
    reader = session.results()
    scores = {row.key: row.score for row in reader.all_frames()}
    reader.close()
    journal = session.journal(who)
    writer = LabelWriter(journal)
    writer.queue = "audit"
    for place, drawn in enumerate(session.labels().draws[-1].frames):
        hit = (scores[drawn.key] or 0) >= 0.6
        if turned and place % turned == 0:
            hit = not hit
        writer.decide(drawn.key, "accepted" if hit else "rejected")
    journal.close()


def test_without_a_draw_there_is_nothing_to_say(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(capsys, "audit", str(session.path)) == {"n": 0, "drawn": 0, "waiting": 0}
    _, out, _ = run(capsys, "audit", str(session.path))
    assert "no audit sample yet" in out


def test_frames_are_drawn_labelled_and_estimated_from(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    drawn = report(capsys, "audit", str(session.path), "--draw", "100", "--seed", "1")
    assert (drawn["drawn_now"], drawn["waiting"], drawn["n"]) == (100, 100, 0)
    label_all_drawn(session)
    found = report(capsys, "audit", str(session.path), "--threshold", "0.5", "--curve")
    assert (found["n"], found["waiting"], found["frames"]) == (100, 0, 400)
    assert found["recall"] == 1 and found["precision"] == pytest.approx(0.8, abs=0.08)
    assert found["precision_interval"][0] < 0.8 < found["precision_interval"][1]
    assert set(found["labels_needed"]) == {"hit_rate", "precision", "recall", "f1"}
    assert [each["threshold"] for each in found["curve"]] == [step / 20 for step in range(1, 20)]
    code, out, _ = run(capsys, "audit", str(session.path), "--curve", "--width", "0.01")
    assert code == 0 and "n = 100 audited of 400" in out and "more labels for ±0.01" in out


def test_a_wider_draw_waits_while_the_last_one_counts(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    report(capsys, "audit", str(session.path), "--draw", "40")
    label_all_drawn(session)
    found = report(capsys, "audit", str(session.path), "--draw", "60")
    assert found["n"] == 40 and found["drawn_now"] == 100 and 60 <= found["waiting"] <= 70


def test_metrics_tell_the_audit_apart_from_ranked_labels(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    report(capsys, "audit", str(session.path), "--draw", "50")
    label_all_drawn(session)
    journal = session.journal("ada")
    untouched = next(
        place for place in range(0, 400, 4) if key(A, place) not in {f.key for f in session.labels().draws[-1].frames}
    )
    LabelWriter(journal).decide(key(A, untouched), "accepted")
    journal.close()
    found = report(capsys, "metrics", str(session.path), "--threshold", "0.5")
    assert found["n"] == 51, "all labels, as ever"
    assert found["audit"]["n"] == 50 and found["ranked"]["n"] == 1
    _, out, _ = run(capsys, "metrics", str(session.path))
    assert "of all 400, by n = 50 drawn at random" in out


def test_people_who_differ_have_a_kappa(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    report(capsys, "audit", str(session.path), "--draw", "50")
    label_all_drawn(session)
    label_all_drawn(session, "grace", turned=5)
    found = report(capsys, "metrics", str(session.path))
    (pair,) = found["people"]
    assert (pair["first"], pair["second"], pair["n"], pair["disagreements"]) == ("ada", "grace", 50, 10)
    assert pair["kappa_interval"][0] < pair["kappa"] < pair["kappa_interval"][1]
    assert found["audit"]["disputed"] == 10
    _, out, _ = run(capsys, "metrics", str(session.path))
    assert "ada and grace: n = 50, differ on 10" in out
    _, out, _ = run(capsys, "audit", str(session.path))
    assert "on 10 people differ and the later word counts" in out


def test_a_draw_has_the_name_of_who_made_it(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    report(capsys, "audit", str(session.path), "--draw", "10", "--as", "mary")
    (journal,) = session.journal_path.glob("*.jsonl")
    assert '"who":"mary"' in journal.read_text()


def test_nothing_can_be_drawn_from_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    session = build_session(tmp_path / "e", {A: []})
    code, _, err = run(capsys, "audit", str(session.path), "--draw", "10")
    assert code == 1 and "there are none yet" in err
