"""Processes that work for this one: started, talked to over a socket, ended whatever they are held up by.

Messages are JSON, not pickles: what a worker says after reading a damaged file is not to be executed.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

LOW_PRIORITY = 10
LONGEST_MESSAGE = 64 * 2**20
HANGS_UP_S, KILLED_S = 0.05, 1.0
"""How long a worker has to end by itself, and to be gone once it was killed."""
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
"""Variables of a process that does no arithmetic."""


class WorkerProcess:
    """A module of this package that runs as a process of its own and answers messages.

    arguments: what follows the number of its socket on its command line. descriptors: what it inherits besides.
    environment: all its variables. Raises OSError where it cannot be started.
    """

    def __init__(
        self, module: str, arguments: Sequence[str], *, descriptors: Sequence[int] = (), environment: Mapping[str, str]
    ) -> None:
        ours, theirs = socket.socketpair()
        try:
            # A session of its own: Ctrl-C in the terminal is for this process, which hangs up.
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", module, str(theirs.fileno()), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno(), *descriptors],
                env=environment,
                start_new_session=True,
            )
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        self._connection = Connection(ours.detach())
        self._finalizer = weakref.finalize(self, _end, self._process, self._connection)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def send(self, message: dict[str, Any]) -> None:
        """Hand over a message; raises OSError where the worker has died."""
        send(self._connection, message)

    def has_answer(self, seconds: float) -> bool:
        """Wait up to `seconds` for the next message; true where it comes, or the worker dies."""
        return self._connection.poll(seconds)

    def receive(self) -> dict[str, Any]:
        """The worker's next message; EOFError or OSError where it died, ValueError where it talks nonsense."""
        return receive(self._connection)

    def end(self) -> str:
        """Hang up, which ends an idle worker, and kill one that does not listen; returns how it ended."""
        self._finalizer()
        code = self._process.returncode
        return "still ending" if code is None else f"signal {-code}" if code < 0 else f"exit status {code}"


def send(connection: Connection, message: dict[str, Any]) -> None:
    """Send one message."""
    connection.send_bytes(json.dumps(message).encode())


def receive(connection: Connection) -> dict[str, Any]:
    """The next message; EOFError where the other side is gone, ValueError where it talks nonsense."""
    message = json.loads(connection.recv_bytes(LONGEST_MESSAGE))
    if not isinstance(message, dict):
        raise ValueError(f"Expected a message. Got {type(message).__name__} instead.")  # noqa: TRY004
    return message


def lower_priority() -> None:
    """Let the engine and the screens go first on this machine's cores."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, max(os.getpriority(os.PRIO_PROCESS, 0), LOW_PRIORITY))


def _end(process: subprocess.Popen[bytes], connection: Connection) -> None:
    connection.close()
    try:
        process.wait(HANGS_UP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        try:
            process.wait(KILLED_S)
        except subprocess.TimeoutExpired:  # held by a file system that does not answer: it ends when that does
            threading.Thread(target=process.wait, daemon=True).start()
