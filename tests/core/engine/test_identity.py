"""Whom `engine stop` may signal: the process that holds the session's lock and is the engine it says it is."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from photon_triage.core.common.errors import SessionError
from photon_triage.core.engine import process
from photon_triage.core.engine.process import engine_process
from photon_triage.core.session.presence import ENGINE_LOCK
from photon_triage.core.session.session import Session

HOLD = """
import os, sys
from pathlib import Path
from photon_triage.core.engine.process import lock_session
from photon_triage.core.session.session import Session
handle = lock_session(Session(Path(sys.argv[1])))
if sys.argv[2]:
    os.ftruncate(handle, 0)
    os.pwrite(handle, sys.argv[2].encode(), 0)
print(flush=True)
sys.stdin.read()
"""


@contextmanager
def holder(folder: Path, told: str = "") -> Iterator[subprocess.Popen[bytes]]:
    """A process that holds a session as an engine does; told: what its lock file says, if not the truth."""
    with subprocess.Popen(
        [sys.executable, "-P", "-c", HOLD, str(folder), told], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as held:
        assert held.stdout is not None
        held.stdout.readline()
        try:
            yield held
        finally:
            held.kill()


def found(folder: Path) -> int | None:
    engine = engine_process(folder / ENGINE_LOCK, folder)
    return None if engine is None else engine.pid


def test_the_process_that_holds_the_lock_is_the_engine(tmp_path: Path) -> None:
    assert found(tmp_path) is None
    with holder(tmp_path) as held:
        assert found(tmp_path) == held.pid
        engine = engine_process(tmp_path / ENGINE_LOCK, tmp_path)
        assert engine is not None
        engine.signal(signal.SIGTERM)
        assert held.wait(60) == -signal.SIGTERM
    assert found(tmp_path) is None


@pytest.mark.parametrize("field", ["pid", "host", "boot", "began", "uid"])
def test_a_process_that_is_not_the_one_the_lock_names_is_none(tmp_path: Path, field: str) -> None:
    with holder(tmp_path) as held:
        lock = tmp_path / ENGINE_LOCK
        told = json.loads(lock.read_text())
        told[field] = told[field] + 1 if isinstance(told[field], int) else "elsewhere"
        lock.write_text(json.dumps(told))
        assert found(tmp_path) is None and held.poll() is None


@pytest.mark.parametrize("pid", [-1, 0, 1])
@pytest.mark.parametrize(
    "told", ['{"pid": %d}', "[%d]", "%d", '{"pid": %d, "host": "", "boot": "", "began": 0, "uid": 0}']
)
def test_a_lock_file_that_names_everybody_names_nobody(tmp_path: Path, pid: int, told: str) -> None:
    with holder(tmp_path, told % pid):
        assert found(tmp_path) is None


def test_one_who_only_looks_whether_it_is_locked_is_no_engine(tmp_path: Path) -> None:
    with holder(tmp_path) as held:
        lock = tmp_path / ENGINE_LOCK
        told = lock.read_text()
        held.kill()
        held.wait()
        lock.write_text(told)
        handle = os.open(lock, os.O_RDONLY)
        fcntl.lockf(handle, fcntl.LOCK_SH)
        assert found(tmp_path) is None
        os.close(handle)


def test_a_lock_file_elsewhere_is_not_believed(tmp_path: Path) -> None:
    session = tmp_path / "session"
    session.mkdir()
    with holder(tmp_path):
        (session / ENGINE_LOCK).symlink_to(tmp_path / ENGINE_LOCK)
        assert found(session) is None


def test_a_stop_that_nobody_reads_ends_and_stays_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "SILENT_S", 0.2)
    session = Session(tmp_path)
    with holder(tmp_path, "{}") as held:
        with pytest.raises(SessionError, match="no sign of life"):
            process.stop_engine(session)
        assert held.poll() is None
    assert len(list(session.journal_path.iterdir())) == 1
