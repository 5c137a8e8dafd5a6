"""A real terminal: the screen in tmux, with a real reader process, from the first key to the last."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..fake_session import FakeSession, make_session

PATIENCE_S = 30.0


class Terminal:
    """A tmux server of its own."""

    def __init__(self, folder: Path, width: int, height: int) -> None:
        self._socket = str(folder / "tmux")
        # An existing folder of its own as home: the operator's keymap must not be read.
        shell = f"env HOME={shlex.quote(str(folder))} LC_ALL=C.UTF-8 TERM=tmux-256color sh"
        self._tmux("-f", "/dev/null", "new-session", "-d", "-x", str(width), "-y", str(height), shell)

    def _tmux(self, *arguments: str) -> str:
        done = subprocess.run(["tmux", "-S", self._socket, *arguments], capture_output=True, text=True, check=True)
        return done.stdout

    def keys(self, *keys: str) -> None:
        """Press keys, by tmux's names."""
        self._tmux("send-keys", *keys)

    def text(self) -> str:
        """What stands on the screen."""
        return self._tmux("capture-pane", "-p")

    def until(self, *texts: str) -> str:
        """Wait until all of these stand on the screen; returns it."""
        deadline = time.monotonic() + PATIENCE_S
        while not all(text in (shown := self.text()) for text in texts):
            assert time.monotonic() < deadline, f"waited in vain for {texts}\n{shown}"
        return shown

    def close(self) -> None:
        """End the server and what runs in it."""
        subprocess.run(["tmux", "-S", self._socket, "kill-server"], capture_output=True, check=False)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    if shutil.which("tmux") is None:
        pytest.skip("tmux is not installed")
    # Sockets have short names; pytest's folders have not.
    opened = Terminal(tmp_path, 80, 24)
    yield opened
    opened.close()


@pytest.fixture
def real(tmp_path: Path) -> Iterator[FakeSession]:
    fake = make_session(tmp_path)
    fake.write_file(12)
    fake.add_frames(12)
    fake.run_engine()
    yield fake
    fake.close()


def test_an_operator_decides_undoes_and_leaves(real: FakeSession, terminal: Terminal) -> None:
    attach = [sys.executable, "-P", "-m", "photon_triage.tui", "attach", str(real.session.path)]
    command = shlex.join(attach)
    terminal.keys(f"clear; {command}; echo left with $?", "Enter")
    terminal.until("r0142", "Candidates 12", "▀▀▀", "64×48 ROI")
    terminal.keys("a", "x")
    terminal.until("1 0.990  70.5 A", "2 0.980  70.5 X", "✗ 2 rejected")
    terminal.keys("u")
    terminal.until("2 0.980  70.5 ?", "undecided again")
    labels = real.session.labels().labels
    assert {key.index: label.verdict for key, label in labels.items()} == {0: "accepted"}
    terminal.keys("q")
    terminal.until("The engine keeps running", "left with 0")
