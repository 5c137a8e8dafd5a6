"""Dropped lines, stalled terminals, kills and screens that only look: no label is lost, and nobody else notices."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from textual.events import Key

from photon_triage.core.common.errors import SessionError
from photon_triage.core.session.decisions.labels import LabelBook
from photon_triage.core.session.store.preview import Previewer
from photon_triage.tui.app import TriageApp
from photon_triage.tui.terminal.slow_terminal import LineDriver
from tests.waiting import wait_until

from ..driver import opened
from ..fake_session import FakeSession, FakeSource, make_session
from ..ptys import PATIENCE_S, Line


@pytest.fixture
def real(tmp_path: Path) -> Iterator[FakeSession]:
    fake = make_session(tmp_path)
    fake.write_file(40)
    fake.add_frames(40)
    fake.run_engine()
    yield fake
    fake.close()


def labels_of(fake: FakeSession) -> int:
    book = LabelBook(fake.session.journal_path)
    book.refresh()
    return len(book.labels)


def wait_for_labels(fake: FakeSession, count: int) -> None:
    wait_until(lambda: labels_of(fake) >= count, PATIENCE_S, lambda: f"{labels_of(fake)} of {count} labels")


def test_a_terminal_that_takes_nothing_keeps_no_decision_from_the_disk(real: FakeSession) -> None:
    with closing(Line.attached(real.session.path)) as line:
        line.shows("Candidates 40", "▀▀▀")
        line.press("a")
        line.shows("1 accepted")
        for place in range(2, 13):  # nothing is read from here on: each picture is more than the line holds
            line.press("x")
            wait_for_labels(real, place)
        line.press("u")
        wait_for_labels(real, 11)
        line.shows("undecided again")
        line.press("q")
        line.until(lambda: line.process.poll() is not None)
    assert line.process.returncode == 0


@pytest.mark.parametrize("how", ["the line drops", "SIGHUP", "SIGTERM"])
def test_a_screen_that_is_hung_up_on_writes_what_was_decided_and_ends(real: FakeSession, how: str) -> None:
    with closing(Line.attached(real.session.path)) as line:
        line.shows("Candidates 40", "▀▀▀")
        line.press("a")
        line.shows("1 accepted")
        if how == "the line drops":
            line.drop()
        else:
            line.process.send_signal(signal.Signals[how])
            line.until(lambda: line.process.poll() is not None)
        assert line.process.wait(PATIENCE_S) == 0
    assert labels_of(real) == 1


@pytest.mark.parametrize("how", ["SIGHUP", "SIGTERM"])
def test_a_screen_that_is_ended_while_it_starts_gives_the_terminal_back(real: FakeSession, how: str) -> None:
    with closing(Line.attached(real.session.path)) as line:
        line.until(lambda: "\x1b[?1049h" in line.received)
        line.process.send_signal(signal.Signals[how])
        line.until(lambda: line.process.poll() is not None)
        line.read()
        assert line.process.returncode == 0 and "\x1b[?1049l" in line.received


def test_bytes_that_are_no_text_end_no_screen(real: FakeSession) -> None:
    with closing(Line.attached(real.session.path)) as line:
        line.shows("Candidates 40", "▀▀▀")
        line.send(b"\xe9\xff\xc3")
        line.press("a")
        line.shows("1 accepted")
        line.send(b"\xe9")
        line.press("x")
        line.shows("1A 1X")
        line.press("q")
        line.until(lambda: line.process.poll() is not None)
    assert line.process.returncode == 0


async def test_a_screen_that_is_left_before_it_stands_ends(hits: FakeSession, monkeypatch: pytest.MonkeyPatch) -> None:
    mount = TriageApp.on_mount

    def leave_at_once(app: TriageApp) -> None:
        mount(app)
        app._main.leave()

    monkeypatch.setattr(TriageApp, "on_mount", leave_at_once)
    app = TriageApp(hits.session, previewer=Previewer(hits.session.recipe(), FakeSource()))
    assert await app.run_async(headless=True) == 0


def test_what_a_killed_screen_said_was_saved_is_kept_and_shown_by_the_other(real: FakeSession) -> None:
    with closing(Line.attached(real.session.path)) as one, closing(Line.attached(real.session.path)) as other:
        one.shows("Candidates 40", "▀▀▀")
        other.shows("Candidates 40", "▀▀▀")
        told = 0
        while told < 15:
            one.press("a")
            told += 1
            one.shows(f"({told} undoable)")
        one.process.kill()
        other.shows("15A")
    assert labels_of(real) >= told


async def test_what_is_typed_when_the_screen_has_been_left_is_passed_over(hits: FakeSession) -> None:
    async with opened(hits) as screen:
        driver = LineDriver(screen.app)
        driver._loop = asyncio.new_event_loop()
        driver._loop.close()
        driver.send_message(Key("a", "a"))
        await screen.ready()
    assert not list(hits.session.journal_path.iterdir())


async def test_a_screen_that_only_looks_says_so_and_makes_no_journal(hits: FakeSession) -> None:
    hits.session.read_only = True
    async with opened(hits) as screen:
        await screen.ready()
        await screen.shows("READ-ONLY")
        for key in ("a", "x", "1", "u", "f"):
            await screen.press("j", key)
            await screen.shows("this screen is read-only")
    assert not list(hits.session.journal_path.iterdir())


def test_a_journal_that_is_read_only_refuses_and_makes_no_file(hits: FakeSession) -> None:
    hits.session.read_only = True
    with pytest.raises(SessionError, match="look only"):
        hits.session.journal().append("label")
    assert not list(hits.session.journal_path.iterdir())


def test_attach_knows_read_only(real: FakeSession) -> None:
    with closing(Line.attached(real.session.path, "--read-only")) as line:
        line.shows("READ-ONLY", "Candidates 40")
        line.press("a")
        line.shows("this screen is read-only")
        line.press("q")
        line.until(lambda: line.process.poll() is not None)
    assert not list(real.session.journal_path.iterdir())
