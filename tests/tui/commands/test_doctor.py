"""What `photon-triage doctor` says of terminals, and what it prints."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from photon_triage.tui.cli import main
from photon_triage.tui.commands import doctor as terminal_checks
from photon_triage.tui.commands.doctor import check_clipboard, check_pictures, check_terminal
from photon_triage.tui.terminal.images.query import Graphics, ask_terminal, read_answer
from photon_triage.tui.terminal.terminal import (
    SCREEN_LIMIT,
    Terminal,
    clipboard,
    colours_of,
    encoding_of,
    multiplexer_of,
    passed_through,
    screen_obstacle,
)

from ..fake_session import FakeSession
from ..ptys import Line

GOOD = Terminal("xterm-256color", "true", "", "utf-8", 120, 40, False)


@pytest.mark.parametrize(
    ("environment", "colours"),
    [
        ({"TERM": "xterm-256color", "COLORTERM": "truecolor"}, "true"),
        ({"TERM": "xterm-256color"}, "256"),
        ({"TERM": "screen-256color"}, "256"),
        ({"TERM": "xterm"}, "16"),
        ({"TERM": "dumb"}, "none"),
        ({"TERM": "xterm-256color", "COLORTERM": "truecolor", "NO_COLOR": "1"}, "none"),
    ],
)
def test_colours_follow_the_environment(environment: Mapping[str, str], colours: str) -> None:
    assert colours_of(environment) == colours


@pytest.mark.parametrize(
    ("environment", "multiplexer"),
    [
        ({"TERM": "xterm"}, ""),
        ({"TERM": "tmux-256color", "TMUX": "/x,1,0"}, "tmux"),
        ({"TERM": "screen-256color", "TMUX": "/x,1,0"}, "tmux"),
        ({"TERM": "screen", "STY": "1.x"}, "screen"),
    ],
)
def test_what_stands_between_is_known(environment: Mapping[str, str], multiplexer: str) -> None:
    assert multiplexer_of(environment) == multiplexer


def test_a_good_terminal_has_no_notes() -> None:
    assert {check.state for check in check_terminal(GOOD)} == {"ok"}


@pytest.mark.parametrize(
    ("terminal", "subject", "state"),
    [
        (replace(GOOD, width=79), "size", "problem"),
        (replace(GOOD, encoding="ascii"), "encoding", "problem"),
        (replace(GOOD, colours="16"), "colours", "note"),
        (replace(GOOD, colours="none"), "colours", "note"),
    ],
)
def test_what_a_terminal_lacks_is_said_with_advice(terminal: Terminal, subject: str, state: str) -> None:
    found = {check.subject: check for check in check_terminal(terminal)}[subject]
    assert found.state == state and found.advice


@pytest.mark.parametrize(("value", "state"), [("external", "note"), ("on", "ok")])
def test_tmux_must_let_the_clipboard_through(monkeypatch: pytest.MonkeyPatch, value: str, state: str) -> None:
    monkeypatch.setattr(terminal_checks, "tmux_option", lambda name: value if name == "set-clipboard" else "off")
    assert check_clipboard(replace(GOOD, multiplexer="tmux")).state == state


@pytest.mark.parametrize(
    ("environment", "output", "encoding"),
    [
        ({}, "utf-8", "utf-8"),
        ({"LANG": "en_GB.UTF-8"}, "utf-8", "UTF-8"),
        ({"LANG": "C"}, "utf-8", "ASCII"),
        ({"LC_ALL": "POSIX", "LANG": "en_GB.UTF-8"}, "utf-8", "ASCII"),
        ({"LC_ALL": "de_DE.ISO-8859-1@euro"}, "utf-8", "ISO-8859-1"),
        ({"LC_CTYPE": "C.UTF-8", "LANG": "C"}, "utf-8", "UTF-8"),
        ({"LANG": "de_DE"}, "utf-8", "utf-8"),
        ({"LANG": "en_GB.UTF-8"}, "iso8859-1", "iso8859-1"),
        ({}, None, "unknown"),
    ],
)
def test_the_locale_says_what_the_terminal_can_show(
    environment: Mapping[str, str], output: str | None, encoding: str
) -> None:
    assert encoding_of(environment, output) == encoding


@pytest.mark.parametrize(
    ("terminal", "streams", "reason"),
    [
        (GOOD, (True, True), None),
        (replace(GOOD, width=10), (True, True), None),
        (GOOD, (False, True), "standard input is no terminal"),
        (GOOD, (True, False), "standard output is no terminal"),
        (replace(GOOD, name="dumb"), (True, True), "TERM=dumb names no terminal"),
        (replace(GOOD, name=""), (True, True), "TERM is not set"),
        (replace(GOOD, encoding="ISO-8859-1"), (True, True), "encoding is ISO-8859-1"),
    ],
)
def test_no_screen_is_opened_where_it_could_not_be_read(
    terminal: Terminal, streams: tuple[bool, bool], reason: str | None
) -> None:
    found = screen_obstacle(terminal, has_input=streams[0], has_output=streams[1])
    assert found is None if reason is None else found is not None and reason in found[0]


@pytest.mark.parametrize("command", ["watch", "attach"])
def test_without_a_terminal_a_screen_is_refused_and_nothing_is_begun(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    session = tmp_path / "session"
    arguments = [str(session)] if command == "attach" else [str(tmp_path), "--session", str(session), "--recipe", "spi"]
    assert main([command, *arguments]) == 2
    told = capsys.readouterr()
    assert not told.out and "no terminal" in told.err and not session.exists()


@pytest.mark.parametrize(
    "environment", [{"TERM": "dumb"}, {"LC_ALL": "POSIX"}, {"LC_ALL": "de_DE.ISO-8859-1"}, {"LC_ALL": "", "LANG": "C"}]
)
def test_a_terminal_that_cannot_show_the_screen_is_told_before_it_opens(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    line = Line(tmp_path, "attach", str(tmp_path), **environment)
    try:
        line.until(lambda: line.process.poll() is not None)
        line.read()
        assert line.process.returncode == 2 and "No screen here" in line.text
    finally:
        line.close()


def test_bitmap_protocols_are_offered_where_the_terminal_has_them() -> None:
    assert "--images sixel" in check_pictures(GOOD, Graphics(True, sixel=True)).advice
    assert check_pictures(GOOD, Graphics(True)).advice == ""


@pytest.mark.parametrize(
    ("answer", "graphics"),
    [
        (b"\x1b[?62;4;22c", Graphics(True, sixel=True)),
        (b"\x1b[?64;14c", Graphics(True)),
        (b"\x1b[?4c", Graphics(True)),
        (b"\x1b_Gi=31;OK\x1b\\\x1b[6;20;10t\x1b[?62c", Graphics(True, kitty=True, cell=(20, 10))),
        (b"\x1b_Gi=31;ENOTSUPPORTED\x1b\\\x1b[?62c", Graphics(True)),
        (b"\x1b[6;0;0t\x1b[?62c", Graphics(True)),
        (b"", Graphics()),
    ],
)
def test_a_terminals_answer_is_understood(answer: bytes, graphics: Graphics) -> None:
    assert read_answer(answer) == graphics


def test_a_terminal_is_asked_and_answers() -> None:
    outside, inside = os.openpty()

    def answer() -> None:
        heard = b""
        while not heard.endswith(b"\x1b[c"):
            heard += os.read(outside, 1024)
        os.write(outside, b"\x1b[6;18;9t\x1b[?62;4c")

    terminal = threading.Thread(target=answer)
    terminal.start()
    try:
        assert ask_terminal(inside, patience_s=10) == Graphics(True, sixel=True, cell=(18, 9))
    finally:
        terminal.join()
        os.close(outside)
        os.close(inside)


def test_a_silent_terminal_costs_no_more_than_the_patience() -> None:
    outside, inside = os.openpty()
    try:
        assert ask_terminal(inside, patience_s=0.01) == Graphics()
    finally:
        os.close(outside)
        os.close(inside)


def test_tmux_gets_every_escape_twice() -> None:
    assert passed_through("\x1b]52;c;eA==\a", "tmux") == "\x1bPtmux;\x1b\x1b]52;c;eA==\a\x1b\\"


def test_screen_gets_long_sequences_in_parts_that_it_takes() -> None:
    wrapped = clipboard("x" * 2000, "screen")
    parts = wrapped.removeprefix("\x1bP").removesuffix("\x1b\\").split("\x1b\\\x1bP")
    assert len(parts) > 1 and max(map(len, parts)) <= SCREEN_LIMIT
    assert "".join(parts) == clipboard("x" * 2000, "")


def doctor(*arguments: str) -> int:
    try:
        return main(["doctor", *arguments])
    except SystemExit as ended:
        return int(ended.code or 0)


def test_the_doctor_prints_json_and_looks_at_the_sessions_folders(
    hits: FakeSession, capsys: pytest.CaptureFixture[str]
) -> None:
    code = doctor("--session", str(hits.session.path), "--json")
    report = json.loads(capsys.readouterr().out)
    checks = {check["subject"]: check for check in report["checks"]}
    assert str(hits.session.path) in checks["session folder"]["finding"]
    assert str(hits.session.path.parent) in checks["data folder"]["finding"]
    assert {"device", "precision", "processor", "HDF5 filters", "terminal"} <= checks.keys()
    assert code == (0 if report["healthy"] else 1)


def test_a_problem_is_the_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor(str(tmp_path / "nowhere"), "--session", str(tmp_path)) == 1
    problem = capsys.readouterr().out.partition("problem  data folder")[2]
    assert problem and "make the folder before the run" in problem
