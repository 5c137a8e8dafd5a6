from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from photon_triage.core.common import locks
from photon_triage.core.common.containment import RefusedError
from photon_triage.core.common.locks import is_locked, lock_holder, take_lock

HOLDER = """
import sys
from pathlib import Path
from photon_triage.core.common.locks import take_lock
path = Path(sys.argv[1])
print(take_lock(path, path.parent), flush=True)
sys.stdin.read()
"""


@contextmanager
def held(path: Path) -> Iterator[int]:
    """Hold a file locked in another process; gives its number."""
    with subprocess.Popen(
        [sys.executable, "-P", "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip().isdigit()
        yield process.pid
        process.kill()


def test_a_lock_is_had_by_one_process_and_is_free_when_that_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "TRIES", 2)
    path = tmp_path / "lock"
    with held(path) as pid:
        assert is_locked(path, tmp_path)
        assert take_lock(path, tmp_path) is None
        if sys.platform == "linux":
            with path.open("rb") as file:
                assert lock_holder(file.fileno()) == pid
    assert not is_locked(path, tmp_path)
    handle = take_lock(path, tmp_path)
    assert handle is not None
    assert lock_holder(handle) == 0
    os.close(handle)


def test_where_the_file_system_knows_no_locks_the_file_is_just_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.lockf", refuse)
    handle = take_lock(tmp_path / "lock", tmp_path)
    assert handle is not None
    os.close(handle)


def test_a_lock_file_outside_of_the_session_is_refused(tmp_path: Path) -> None:
    session = tmp_path / "session"
    session.mkdir()
    (session / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RefusedError):
        take_lock(session / "lock", session)
    assert not (tmp_path / "elsewhere").exists()
