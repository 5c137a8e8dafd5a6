"""What is said of an engine that was stopped, killed, or could not begin: by `engine status`, `scan` and the screen."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from photon_triage.core.engine import process
from photon_triage.core.engine.process import EngineProcess, ending_of, engine_status, start_engine, stop_engine
from photon_triage.core.session.session import Session
from photon_triage.tui.snapshot.snapshot import Request, Snapshot
from photon_triage.tui.snapshot.snapshot_builder import SnapshotBuilder
from photon_triage.tui.widgets.engine_log import engine_summary, engine_trouble
from photon_triage.tui.widgets.status import engine_word
from tests.waiting import wait_until

from ...builders.detector_files import frames_of, write_cxi
from ...tui.commands.test_cli import run
from .test_engine import CLASSIFY, LIT, counts

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    made = Session.create(tmp_path / "session", LIT, "lit")
    yield made
    stop_engine(made)


def at_work(session: Session, folder: Path) -> EngineProcess:
    """An engine that has recorded frames of a file."""
    write_cxi(folder / "run.cxi", frames_of(9))
    engine = start_engine(session, [folder])
    wait_until(lambda: counts(session).frames == 9)
    return engine


def test_a_stopped_engine_does_not_answer_until_it_continues(session: Session, tmp_path: Path, capsys: Capture) -> None:
    engine = at_work(session, tmp_path)
    builder = SnapshotBuilder(session)

    def seen() -> Snapshot:
        return builder.build(Request())

    with closing(builder):
        wait_until(lambda: "LIVE" in engine_word(seen()).text)
        os.kill(engine.pid, signal.SIGSTOP)
        try:
            wait_until(lambda: seen().silent_s >= 6)
            snapshot = seen()
            code, out, _ = run(capsys, "engine", "status", str(session.path))
        finally:
            os.kill(engine.pid, signal.SIGCONT)
        told = f"does not answer for {snapshot.silent_s:.0f} s"
        assert all(told in text for text in (engine_word(snapshot).text, engine_summary(snapshot)))
        assert told in engine_trouble(snapshot) and f"process {engine.pid}" in engine_trouble(snapshot)
        assert snapshot.alive and code == 0 and "running, but it does not answer for" in out
        wait_until(lambda: "LIVE" in engine_word(seen()).text)
    stop_engine(session)
    assert engine.wait(10) == 0 and ending_of(session, engine) == ""


def test_a_killed_engine_has_died_on_the_screen_and_in_its_status(
    session: Session, tmp_path: Path, capsys: Capture
) -> None:
    engine = at_work(session, tmp_path)
    os.kill(engine.pid, signal.SIGKILL)
    engine.wait(10)
    assert ending_of(session, engine).startswith("its engine was ended by SIGKILL (signal 9); the system kills")
    with closing(SnapshotBuilder(session)) as builder:
        wait_until(lambda: "DIED" in engine_word(builder.build(Request())).text)
        assert "engine died" in engine_summary(builder.build(Request()))
    code, out, _ = run(capsys, "engine", "status", str(session.path))
    assert code == 1 and "died (not at work): it was killed, or has crashed" in out
    assert engine_status(session).silent_s == 0


def test_an_engine_killed_before_it_began_is_told_so(session: Session, tmp_path: Path) -> None:
    engine = start_engine(session, [tmp_path])
    wait_until(lambda: session.engine_state().pid == engine.pid)
    os.kill(engine.pid, signal.SIGKILL)
    engine.wait(10)
    session.results_path.unlink()
    assert "SIGKILL (signal 9) before it began to work" in ending_of(session, engine)


def test_a_scan_whose_engine_is_killed_says_by_which_signal(
    session: Session, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*arguments: object, **options: object) -> EngineProcess:
        engine = start_engine(*arguments, **options)  # type: ignore[arg-type]
        wait_until(lambda: session.engine_state().pid == engine.pid)
        os.kill(engine.pid, signal.SIGKILL)
        return engine

    monkeypatch.setattr("photon_triage.core.engine.process.start_engine", killed)
    code, _, err = run(capsys, "scan", str(tmp_path), "--session", str(session.path), "--quiet")
    assert code == 1 and "its engine was ended by SIGKILL (signal 9)" in err
    assert "did not start" not in err and "the same command continues" in err


def test_an_engine_that_ends_with_an_error_gives_its_reason(tmp_path: Path, capsys: Capture) -> None:
    session = Session.create(tmp_path / "session", CLASSIFY, "classify")
    engine = start_engine(session, [tmp_path], once=True)
    assert engine.wait(60) == 1 and "Could not find a model named 'first'" in ending_of(session, engine)


def test_the_log_gives_the_reason_of_an_engine_that_ended_before_it_began(
    session: Session, tmp_path: Path, capsys: Capture
) -> None:
    session.log_path.write_text("an older engine says something else\n")
    session.results_path.write_bytes(b"this is no data base at all" * 100)
    code, _, err = run(capsys, "scan", str(tmp_path), "--session", str(session.path), "--quiet")
    assert code == 1 and "older engine" not in err and "Traceback" not in err
    session.results_path.unlink()


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("2026-11-30 21:00:00,123 ERROR the engine does not begin: no room", "the engine does not begin: no room"),
        ("ModuleNotFoundError: No module named 'torch'", "ModuleNotFoundError: No module named 'torch'"),
    ],
)
def test_the_last_line_of_the_log_stands_without_its_time(tmp_path: Path, line: str, told: str) -> None:
    (tmp_path / "engine.log").write_text(f"earlier\n{line}\n\n")
    assert process._last_line(tmp_path / "engine.log", 0) == told
