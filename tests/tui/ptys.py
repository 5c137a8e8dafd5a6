"""A screen on a pseudo-terminal that a test reads, leaves unread, or drops."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

PATIENCE_S = 60.0
ROWS, COLUMNS = 24, 80
WORDS = re.compile(
    r"\x1b\[(\d+);(\d+)H|\x1b\[[0-9;:?<>=$]*[A-Za-z]|\x1b[P\]_].*?(?:\x1b\\|\x07)|\x1b[^\[P\]_]|([^\x1b])", re.S
)
"""Where the cursor is sent, other sequences, and what is written."""


class Line:
    """A command with a screen at the other end of a line."""

    def __init__(self, home: Path, *words: str, **environment: str) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        environment = os.environ | {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8", "HOME": str(home)} | environment
        command = [sys.executable, "-P", "-m", "photon_triage.tui", *words]

        def take_terminal() -> None:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True,
            preexec_fn=take_terminal,
        )  # fmt: skip
        os.close(slave)
        self._cells = [[" "] * COLUMNS for _ in range(ROWS)]
        self._row = self._column = 0
        self._rest = ""
        self.received = ""
        """All that has come, sequences too."""

    @classmethod
    def attached(cls, session: Path, *options: str) -> Line:
        """`photon-triage attach SESSION`."""
        return cls(session.parent, "attach", str(session), *options)

    @property
    def text(self) -> str:
        """What stands on the screen."""
        return "\n".join("".join(row) for row in self._cells)

    def press(self, keys: str) -> None:
        """Press keys."""
        self.send(keys.encode())

    def send(self, data: bytes) -> None:
        """Send bytes, whatever they are."""
        os.write(self._master, data)

    def read(self) -> None:
        """Take what has come."""
        while select.select([self._master], [], [], 0.02)[0]:
            try:
                data = os.read(self._master, 65536)
            except OSError:
                return
            self._take(data.decode(errors="replace"))

    def _take(self, data: str) -> None:
        self.received += data
        data, end = self._rest + data, 0
        for word in WORDS.finditer(data):
            if word.start() != end:  # a sequence that has not come whole
                break
            end = word.end()
            if word[1]:
                self._row, self._column = int(word[1]) - 1, int(word[2]) - 1
            elif word[3] == "\n":
                self._row, self._column = self._row + 1, 0
            elif word[3] and word[3] >= " ":
                if self._row < ROWS and self._column < COLUMNS:
                    self._cells[self._row][self._column] = word[3]
                self._column += 1
        self._rest = data[end:]

    def until(self, holds: Callable[[], object]) -> None:
        """Read until something holds."""
        deadline = time.monotonic() + PATIENCE_S
        while not holds():
            assert time.monotonic() < deadline, f"waited in vain; the screen is\n{self.text}"
            self.read()

    def shows(self, *texts: str) -> None:
        """Read until all of these stand on the screen."""
        self.until(lambda: all(text in self.text for text in texts))

    def drop(self) -> None:
        """Drop the line: the terminal hangs up."""
        os.close(self._master)
        self._master = -1

    def close(self) -> None:
        """End the screen."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        if self._master >= 0:
            self.drop()
