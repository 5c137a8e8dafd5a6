"""Notes, and reasons of files that are not read in full, wherever a session is looked at; text of files is data."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from photon_triage.core.export import export
from photon_triage.core.report.report_content import gather
from photon_triage.core.report.report_page import page
from photon_triage.core.session.session import Session
from photon_triage.core.session.store.writer import ResultsWriter

from ...core.session.builders import build_session, file_row
from ..commands.test_cli import run
from ..driver import SIZES, opened
from ..fake_session import FakeSession

HOSTILE = "title \x1b[2J of [red]<b>a file"
SCANS = "12 further scans in this file were not read"


@pytest.fixture
def session(tmp_path: Path) -> Session:
    """Three files with notes, one that cannot be read and one that misses something."""
    session = build_session(tmp_path / "s", {f"/data/{name}.h5": [0.9, 0.4] for name in "abc"}, notes=(SCANS,))
    add_rows(session)
    return session


def add_rows(session: Session) -> None:
    writer = ResultsWriter(session.results_path)
    writer.put_file(file_row("/data/d.h5", 4, status="unreadable", reason="truncated file", notes=(HOSTILE,)))
    writer.put_file(file_row("/data/e.h5", 4, status="missing", reason="frames 2-3"))
    writer.set_state({"ignored": {".dat": 8, ".log": 4}, "status": "finished"})
    writer.close()


def test_status_and_the_list_of_files_tell_notes_and_reasons(
    session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    _, out, _ = run(capsys, "engine", "status", str(session.path))
    for told in (
        f"{SCANS} (3 files)",
        "truncated file (/data/d.h5)",
        "frames 2-3 (/data/e.h5)",
        r"title \e[2J of [red]<b>a file (/data/d.h5)",
        "files ignored: 12 (.dat 8, .log 4)",
    ):
        assert told in out
    _, out, _ = run(capsys, "engine", "status", str(session.path), "--json")
    counts = json.loads(out)["counts"]
    assert {"file": "/data/b.h5", "text": SCANS} in counts["notes"] and counts["noted"] == 4
    assert counts["ignored"] == {".dat": 8, ".log": 4}
    _, out, _ = run(capsys, "session", "files", str(session.path))
    assert out.count(f"note: {SCANS}") == 3 and "\x1b" not in out
    _, out, _ = run(capsys, "session", "files", str(session.path), "--json")
    assert [row["notes"] for row in json.loads(out)] == [[SCANS]] * 3 + [[HOSTILE], []]


def test_a_list_and_the_report_carry_the_notes(session: Session, tmp_path: Path) -> None:
    done = export(session, "csv", "all", 0.5, tmp_path / "all.csv", incomplete=True)
    manifest = json.loads(done.manifest_path.read_text())
    assert manifest["notes"] == [
        {"text": SCANS, "files": 3, "first": "/data/a.h5"},
        {"text": HOSTILE, "files": 1, "first": "/data/d.h5"},
    ]
    assert manifest["files"]["noted"] == 4
    text = page(gather(session), {}, {})
    assert SCANS in text and "&lt;b&gt;a file" in text and "\x1b" not in text
    assert "files ignored: 12 (.dat 8, .log 4)" in text


def test_a_summary_stays_short_where_every_file_says_something_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [f"{one}{two}" for one in "abcdef" for two in "uvwxyz"]
    session = build_session(tmp_path / "s", {f"/{word}.h5": [0.9] for word in words})
    writer = ResultsWriter(session.results_path)
    for row in writer.files():
        writer.put_file(replace(row, notes=(f"said of {Path(row.path).stem}",)))
    writer.close()
    _, out, _ = run(capsys, "engine", "status", str(session.path))
    assert out.count("said of") == 20 and "16 more: photon-triage session files" in out


@pytest.mark.parametrize("size", SIZES)
async def test_files_stand_on_the_screen_by_key(fake: FakeSession, size: str) -> None:
    fake.add_frames(3)
    assert fake.writer is not None
    for name, changes in (
        ("a.h5", {"notes": (SCANS, HOSTILE)}),
        ("b.h5", {"status": "unreadable", "reason": "truncated file"}),
    ):
        fake.writer.put_file(file_row(f"/data/{name}", 4, **changes))
    fake.run_engine(ignored={".dat": 8})
    async with opened(fake, SIZES[size]) as screen:
        await screen.ready()
        if size == "wide":
            await screen.shows("notes    1 files", "a.h5: title")
        await screen.press("F")
        await screen.shows("12 further scans", "unreadable", "truncated", "files ignored: 8 (.dat 8)")
        assert r"title \e[2J" in screen.text()
        await screen.press("F")
        await screen.until(lambda: screen.app.screen is screen.main, "the list")
