from __future__ import annotations

import fcntl
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from photon_triage.core.session.presence import ENGINE_LOCK, Presence, busy_text, presence_of
from photon_triage.core.session.state import EngineState

HOLD = """import fcntl, sys
lock = open(sys.argv[2], "w")
fcntl.lockf(lock, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""
NOW = 1000.0


def state(age: float, pid: int = 0, host: str = "", status: str = "running") -> EngineState:
    return EngineState(status=status, heartbeat=NOW - age, pid=pid, host=host or socket.gethostname())


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[int]:
    """The number of a process that looks like the engine of a session and holds its lock."""
    job = json.dumps({"session": str(tmp_path)})
    command = [sys.executable, "-c", HOLD, "photon_triage.core.engine", str(tmp_path / ENGINE_LOCK), job]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"held\n"
        yield process.pid
        assert process.stdin is not None
        process.stdin.close()


def test_an_engine_with_an_old_heartbeat_whose_process_is_there_does_not_answer(tmp_path: Path, engine: int) -> None:
    assert presence_of(tmp_path, state(1, engine), NOW) == Presence(alive=True)
    assert presence_of(tmp_path, state(4, engine), NOW) == Presence(alive=True)
    assert presence_of(tmp_path, state(13, engine), NOW) == Presence(alive=True, silent_s=13.0)


def test_an_engine_that_starts_may_take_longer(tmp_path: Path, engine: int) -> None:
    assert presence_of(tmp_path, state(13, engine, status="starting"), NOW) == Presence(alive=True)
    assert presence_of(tmp_path, state(90, engine, status="starting"), NOW).silent_s == 90


def test_an_engine_without_a_process_has_died(tmp_path: Path) -> None:
    (tmp_path / ENGINE_LOCK).touch()
    assert presence_of(tmp_path, state(3, 2**22 + 1), NOW) == Presence(died=True)


def test_another_process_with_the_number_of_an_engine_is_none(tmp_path: Path) -> None:
    assert presence_of(tmp_path, state(30, os.getpid()), NOW) == Presence(died=True)


def test_a_new_engine_that_has_not_spoken_yet_is_not_silent(tmp_path: Path, engine: int) -> None:
    assert presence_of(tmp_path, state(3000, 2**22 + 1), NOW) == Presence(alive=True)


def test_where_a_file_system_knows_no_locks_the_process_tells(
    tmp_path: Path, engine: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no locks here")

    monkeypatch.setattr(fcntl, "lockf", refuse)
    assert presence_of(tmp_path, state(30, engine), NOW) == Presence(alive=True, silent_s=30.0)


@pytest.mark.parametrize(("age", "alive"), [(1, True), (9, True), (11, False), (-11, False)])
def test_of_an_engine_on_another_host_the_heartbeat_tells(tmp_path: Path, age: float, alive: bool) -> None:
    assert presence_of(tmp_path, state(age, host="beamline"), NOW) == Presence(alive=alive)


@pytest.mark.parametrize("status", ["stopped", "finished", "failed", ""])
def test_an_engine_that_has_ended_is_neither_there_nor_dead(tmp_path: Path, status: str) -> None:
    assert presence_of(tmp_path, state(1, status=status), NOW) == Presence()


@pytest.mark.parametrize(
    ("told", "text"),
    [
        ({"busy_with": "19.tif", "busy_s": 44.2}, "busy with 19.tif for 44 s"),
        ({"busy_with": "19.tif", "busy_s": 4.9}, ""),
        ({"busy_with": "", "busy_s": 44.0}, ""),
        ({"busy_with": "19.tif", "busy_s": None}, ""),
        ({}, ""),
    ],
)
def test_an_engine_is_busy_from_five_seconds_on(told: dict[str, Any], text: str) -> None:
    assert busy_text(EngineState.from_json(told)) == text
