"""The real application on a pseudo-terminal of its own, drained and timed."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

PATIENCE_S = 60.0
CURSOR = re.compile("▶(?: |┃)? *([0-9]+)[^0-9]".encode())
"""The list's cursor with the number of the frame that it stands on.

Where it is painted does not tell that it has moved: a banner that comes above the list moves it, too.
"""
LONGEST = 32
"""Bytes of the longest of these."""


class Screen:
    """`photon-triage attach` in a terminal of that size (columns, rows)."""

    def __init__(self, session: Path, size: tuple[int, int]) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
        environment = os.environ | {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
        self.started = time.monotonic()
        command = [sys.executable, "-P", "-m", "photon_triage.tui", "attach", str(session)]
        self._process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True
        )
        os.close(slave)
        self.received = 0
        self._tail = b""
        self._under_cursor = -1

    def __enter__(self) -> Screen:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._master)

    def kill(self) -> None:
        """End the application with SIGKILL."""
        self._process.kill()
        self._process.wait()

    def read(self, wait: float) -> bytes:
        """What has come; empty where nothing came for so long."""
        if not select.select([self._master], [], [], wait)[0]:
            return b""
        data = os.read(self._master, 65536)
        self.received += len(data)
        text, end = self._tail + data, 0
        for found in CURSOR.finditer(text):
            self._under_cursor, end = int(found[1]), found.end()
        self._tail = text[max(end, len(text) - LONGEST) :]  # a sign may come in two parts
        return data

    def rest(self, seconds: float) -> None:
        """Read for so long."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.read(left)

    def until(self, text: str) -> float:
        """Seconds from the start until that text came."""
        seen, wanted = b"", text.encode()
        while wanted not in seen:
            if time.monotonic() - self.started > PATIENCE_S:
                raise TimeoutError(f"{text!r} did not come; the last was {seen[-400:]!r}")
            try:
                seen = seen[-2000:] + self.read(1.0)
            except OSError as error:
                raise RuntimeError(f"The screen has ended; its last words were {seen.decode()}") from error
        return time.monotonic() - self.started

    def press(self, keys: str) -> None:
        """Press keys."""
        os.write(self._master, keys.encode())

    def key_to_paint(self, presses: int) -> list[float]:
        """Seconds from a key that moves the list's cursor until the terminal is sent the cursor on another frame."""
        waits = []
        self.press("j")  # from the first move on the list stands still
        self.rest(2.0)
        for place in range(presses):
            self.rest(0.05 + 0.01 * (place % 7))
            before = self._under_cursor
            begun = time.monotonic()
            self.press("j" if place // 8 % 2 == 0 else "k")
            while self._under_cursor == before:
                self.read(1.0)
                if time.monotonic() - begun > PATIENCE_S:
                    raise TimeoutError(f"press {place} moved nothing from frame {before}")
            waits.append(time.monotonic() - begun)
        return waits

    def cpu_s(self) -> float:
        """Seconds that the application has computed."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss_mib(self) -> float:
        """Resident memory of the application."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024
