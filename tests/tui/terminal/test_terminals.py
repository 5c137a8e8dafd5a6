"""Real terminals of few colours, in tmux and in screen: states are letters, pictures are characters."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path

import pytest

from ..fake_session import FakeSession
from .test_terminal import Terminal, real, terminal

__all__ = ["real", "terminal"]


def attach(fake: FakeSession, *options: str) -> str:
    return shlex.join([sys.executable, "-P", "-m", "photon_triage.tui", "attach", str(fake.session.path), *options])


@pytest.mark.parametrize("environment", ["TERM=xterm", "NO_COLOR=1 TERM=tmux-256color COLORTERM=truecolor"])
def test_decisions_can_be_read_with_few_colours_or_none(
    real: FakeSession, terminal: Terminal, environment: str
) -> None:
    terminal.keys(f"clear; env -u COLORTERM {environment} {attach(real)}", "Enter")
    terminal.until("Candidates 12", "? Help", "p99")
    terminal.keys("a", "x")
    shown = terminal.until("1 0.990  70.5 A", "2 0.980  70.5 X")
    picture = "\n".join(line[37:] for line in shown.splitlines()[2:20])
    assert "▀" not in picture and {"@", "#", "."} <= set(picture)
    terminal.keys("q")
    terminal.until("The engine keeps running")


def test_gnu_screen_shows_and_decides(real: FakeSession, terminal: Terminal, tmp_path: Path) -> None:
    if shutil.which("screen") is None:
        pytest.skip("screen is not installed")
    sockets = tmp_path / "s"
    sockets.mkdir(mode=0o700)
    command = f"env SCREENDIR={shlex.quote(str(sockets))} screen -U -c /dev/null -T screen-256color {attach(real)}"
    terminal.keys(f"clear; {command}; echo left", "Enter")
    terminal.until("Candidates 12", "▀▀")
    terminal.keys("a")
    terminal.until("1 0.990  70.5 A")
    terminal.keys("q")
    terminal.until("left")
    assert len(real.session.labels().labels) == 1


def test_a_protocol_that_the_terminal_lacks_is_said_and_half_blocks_are_drawn(
    real: FakeSession, terminal: Terminal
) -> None:
    terminal.keys(f"clear; env TERM=tmux-256color {attach(real, '--images', 'sixel')}", "Enter")
    terminal.until("▀▀", "half-blocks instead")
    terminal.keys("q")
    terminal.until("The engine keeps running")
