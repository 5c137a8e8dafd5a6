"""Commands of the program, each in a process of its own with little memory, killed where it does not end.

What commands import is imported once; then a line of JSON on stdin is a command, and one on stdout says how it ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import pty
import resource
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

MEMORY = 4 * 2**30
PROGRAM = "from tests.faults.confined import main; main()"
DEADLINE_S = 60.0
"""Far more than any command needs on a machine at work: what takes longer hangs."""


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code, or minus the signal; None where it was killed because it did not end."""

    code: int | None
    seconds: float
    output: str


class Confined:
    """A process that runs commands for the tests."""

    def __init__(self, home: Path) -> None:
        environment = os.environ | {"HOME": str(home), "XDG_CONFIG_HOME": str(home / "config")}
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", f"import sys; sys.path.insert(0, {str(Path.cwd())!r}); {PROGRAM}"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, cwd=home, text=True,
        )  # fmt: skip

    def run(self, *words: str, screen: bool = False) -> Ended:
        """Run a command; screen: on a terminal of its own, where `q` is pressed until it ends."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps([screen, *words]) + "\n")
        self._process.stdin.flush()
        return Ended(*json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


@contextmanager
def confined(home: Path) -> Iterator[Confined]:
    """Such a process, until the block ends."""
    process = Confined(home)
    try:
        yield process
    finally:
        process.close()


def main() -> None:
    """Run the commands that stdin names."""
    import torch

    import photon_triage.tui.app
    from photon_triage.core.engine import process
    from photon_triage.models.common import registry

    registry.available()
    torch.set_num_threads(1)
    assert process and photon_triage.tui.app
    for line in sys.stdin:
        screen, *words = json.loads(line)
        ended = _on_terminal(words) if screen else _run(words)
        sys.stdout.write(json.dumps([ended.code, ended.seconds, ended.output]) + "\n")
        sys.stdout.flush()


def _run(words: Sequence[str]) -> Ended:
    with tempfile.TemporaryFile() as output:
        began = time.monotonic()
        child = os.fork()
        if child == 0:
            nothing = os.open(os.devnull, os.O_RDONLY)
            for ours, descriptor in ((nothing, 0), (output.fileno(), 1), (output.fileno(), 2)):
                os.dup2(ours, descriptor)
            _become(words)
        code = _waited(child, began)
        output.seek(0)
        return Ended(code, time.monotonic() - began, output.read().decode(errors="replace"))


def _on_terminal(words: Sequence[str]) -> Ended:
    began = time.monotonic()
    child, terminal = pty.fork()
    if child == 0:
        _become(words)
    seen = b""
    while time.monotonic() - began < DEADLINE_S:
        if select.select([terminal], [], [], 0.2)[0]:
            try:
                seen += os.read(terminal, 65536)
            except OSError:
                break
        elif seen:
            with contextlib.suppress(OSError):
                os.write(terminal, b"q")
    code = _waited(child, began)
    os.close(terminal)
    return Ended(code, time.monotonic() - began, seen.decode(errors="replace"))


def _waited(child: int, began: float) -> int | None:
    handle = os.pidfd_open(child)  # readable once the process has ended
    ended = bool(select.select([handle], [], [], max(0.0, began + DEADLINE_S - time.monotonic()))[0])
    os.close(handle)
    if not ended:
        os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    return os.waitstatus_to_exitcode(status) if ended else None


def _become(words: Sequence[str]) -> None:
    """Be the program, with these words; never returns."""
    code = 70
    try:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        from photon_triage.tui.cli import main as program

        sys.argv = ["photon-triage", *words]
        # After a fork Python's own streams are still those of the parent.
        sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115
        try:
            code = program(list(words))
        except SystemExit as exit_:
            code = exit_.code if isinstance(exit_.code, int) else 1
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)
