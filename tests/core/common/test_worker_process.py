from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from photon_triage.core.common.worker_process import WorkerProcess, receive, send

MODULE = "tests.core.common.test_worker_process"
ROOT = Path(__file__).parents[3]


def serve(descriptor: int) -> None:
    """Answer "echo" with what came with it, "hang" with nothing, and end at anything else."""
    with Connection(descriptor) as connection:
        while True:
            match receive(connection):
                case {"echo": value}:
                    send(connection, {"echo": value, "arguments": sys.argv[2:]})
                case {"list": value}:
                    connection.send_bytes(str(value).encode())
                case {"hang": _}:
                    os.read(descriptor_of_silence(), 1)
                case {"exit": code}:
                    os._exit(int(code))


def descriptor_of_silence() -> int:
    """The end of a pipe that nothing ever comes out of."""
    reading, _ = os.pipe()
    return reading


@pytest.fixture
def worker() -> Iterator[WorkerProcess]:
    worker = WorkerProcess(MODULE, ["a", "b c"], environment=os.environ | {"PYTHONPATH": str(ROOT)})
    yield worker
    worker.end()


def test_a_worker_answers_and_ends_when_its_parent_hangs_up(worker: WorkerProcess) -> None:
    worker.send({"echo": "text"})
    assert worker.has_answer(60)
    assert worker.receive() == {"echo": "text", "arguments": ["a", "b c"]}
    assert worker.end() != "still ending"


def test_one_that_hangs_is_killed(worker: WorkerProcess) -> None:
    worker.send({"echo": 1})
    worker.receive()
    worker.send({"hang": True})
    assert worker.end() == "signal 9"


def test_the_end_of_one_that_died_is_told(worker: WorkerProcess) -> None:
    worker.send({"exit": 3})
    with pytest.raises(EOFError):
        worker.receive()
    assert worker.end() == "exit status 3"


def test_an_answer_that_is_no_message_is_a_value_error(worker: WorkerProcess) -> None:
    worker.send({"list": [1, 2]})
    with pytest.raises(ValueError, match="Got list"):
        worker.receive()


if __name__ == "__main__":
    serve(int(sys.argv[1]))
