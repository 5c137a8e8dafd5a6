"""Labels of frames that have changed since: shown as such, and left out of what is measured, learned and written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from photon_triage.core.export import export
from photon_triage.core.report.report_content import gather
from photon_triage.core.report.report_page import page
from photon_triage.core.session.decisions.labels import LabelWriter
from photon_triage.core.session.models.audit_estimate import audit_now, draw_more
from photon_triage.core.session.models.comparison import judge
from photon_triage.core.session.session import Session
from photon_triage.core.session.store.rows import FrameResult
from photon_triage.core.session.store.writer import ResultsWriter
from photon_triage.core.session.trainings.label_summary import learnable

from ...core.session.builders import build_session, file_row, key
from ..commands.test_cli import run
from ..driver import SIZES, opened
from ..fake_session import FakeSession

A = "/data/a.cxi"
LATER = 4e9


def hits(*digests: str, start: int = 0) -> list[FrameResult]:
    return [
        FrameResult(place, 3, True, 0.9 - 0.01 * place, "hitnet-spi", digest=digest)
        for place, digest in enumerate(digests, start)
    ]


@pytest.fixture
def session(tmp_path: Path) -> Session:
    """Six labelled frames, half of them accepted; the first two, one of each kind, have changed since."""
    session = build_session(tmp_path / "s", {})
    writer = ResultsWriter(session.results_path)
    file_id = writer.put_file(file_row(A, 6))
    writer.put_frames(file_id, hits(*"abcdef"), 1.0)
    journal = session.journal("ada")
    for index, digest in enumerate("abcdef"):
        LabelWriter(journal).decide(key(A, index), "rejected" if index % 2 else "accepted", digest=digest)
    journal.close()
    writer.replace_frames(file_id, hits("A", "B"), LATER)
    writer.close()
    return session


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    code, out, err = run(capsys, *arguments, "--json")
    assert (code, err) == (0, "")
    found: dict[str, Any] = json.loads(out)
    return found


def test_metrics_leave_them_out_and_say_so(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    found = answer(capsys, "metrics", str(session.path), "--threshold", "0.5")
    assert (found["n"], found["tp"], found["of_changed_frames"]) == (4, 2, 2)
    _, out, _ = run(capsys, "metrics", str(session.path), "--threshold", "0.5")
    assert "2 labels are of frames that have changed since" in out


def test_the_audit_waits_for_them_again(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    draw_more(session, session.labels(), 0.5, 6, seed=1)
    audit = audit_now(session, session.labels())
    assert audit is not None and set(audit.waiting) == {key(A, 0), key(A, 1)}
    assert not audit.keys & {key(A, 0), key(A, 1)}
    assert answer(capsys, "audit", str(session.path))["of_changed_frames"] == 2


def test_a_list_of_accepted_frames_leaves_them_out(
    session: Session, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = export(session, "csv", "accepted", 0.5, tmp_path / "accepted.csv")
    assert (done.written, done.changed) == (2, 2)
    labels = json.loads(done.manifest_path.read_text())["labels"]
    assert (labels["accepted"], labels["of_changed_frames"]) == (2, 2)
    arguments = ("export", str(session.path), "--format", "csv", "--select", "accepted", "-o", str(tmp_path / "b.csv"))
    assert "2 labels are of frames that have changed since" in run(capsys, *arguments)[1]
    assert "2 labels are of frames that have changed since" in page(gather(session), {}, {})


def test_nothing_is_learned_from_them_and_they_judge_nothing(session: Session) -> None:
    found = learnable(session)
    assert (found.total.both, found.changed) == (4, 2)
    verdict = judge(session, "hitnet-spi", "hitnet-spi")
    assert verdict.labels is not None and verdict.labels.n == 4
    assert any("2 labels are of frames that have changed" in warning for warning in verdict.warnings)


def test_a_table_marks_them_and_taking_it_over_confirms_nothing(
    session: Session, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "labels.csv"
    assert answer(capsys, "labels", "export", str(session.path), str(table))["of_changed_frames"] == 2
    head, *rows = table.read_text().splitlines()
    assert head == "file,dataset,index,verdict,class,who,time,digest,changed"
    assert [row.rsplit(",", 2)[1:] for row in rows] == [["a", "yes"], ["b", "yes"], *([each, ""] for each in "cdef")]
    found = answer(capsys, "labels", "import", str(session.path), str(table))
    assert (found["imported"], found["already_there"], found["of_changed_frames"]) == (0, 4, 2)
    assert len(session.labels().changed) == 2


def test_a_table_with_digests_tells_another_session_which_frames_are_others(
    session: Session, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "labels.csv"
    table.write_text(f"file,dataset,index,verdict,digest\n{A},,2,accepted,c\n{A},,3,accepted,other\n")
    other = build_session(tmp_path / "other", {})
    writer = ResultsWriter(other.results_path)
    writer.put_frames(writer.put_file(file_row(A, 6)), hits(*"abcdef"), 1.0)
    writer.close()
    assert answer(capsys, "labels", "import", str(other.path), str(table))["imported"] == 2
    book = other.labels()
    assert (set(book.labels), set(book.changed)) == ({key(A, 2)}, {key(A, 3)})


def test_a_digest_that_is_none_is_refused_with_its_line(
    session: Session, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "labels.csv"
    table.write_text(f"file,dataset,index,verdict,digest\n{A},,2,accepted,{'f' * 200}\n")
    code, _, err = run(capsys, "labels", "import", str(session.path), str(table))
    assert code == 1 and "line 2" in err and "digest" in err


async def test_the_screen_marks_them_and_offers_them_again(fake: FakeSession) -> None:
    file_id = fake.add_file()
    fake.add_frames(4)
    fake.label({0: "accepted", 1: "rejected"})
    assert fake.writer is not None
    fake.writer.replace_frames(file_id, hits("new"), LATER)
    fake.run_engine()
    async with opened(fake, SIZES["medium"]) as screen:
        await screen.ready()
        await screen.shows("changed 1", "to do 3", "a c", "X  ")
        await screen.press("slash", *"state:changed", "enter")
        await screen.until(lambda: len(screen.list.ids) == 1, "the changed frame alone")


async def test_a_changed_frame_that_is_decided_again_counts(fake: FakeSession) -> None:
    file_id = fake.add_file()
    fake.add_frames(4)
    fake.label({0: "accepted"})
    assert fake.writer is not None
    fake.writer.replace_frames(file_id, hits("new"), LATER)
    fake.run_engine()
    async with opened(fake, SIZES["medium"]) as screen:
        await screen.ready()
        await screen.shows("changed 1")
        await screen.press("G", "x")
        await screen.until(lambda: 0 in screen.on_disk(), "the label")
        await screen.until(lambda: "changed 1" not in screen.text(), "no changed frame")
    assert screen.on_disk()[0].verdict == "rejected" and screen.on_disk()[0].digest == "new"
