"""Damaged, read-only and contested sessions: a clear message each time, and nothing lost."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from photon_triage.core.common.errors import SessionError
from photon_triage.core.engine.process import lock_session, start_engine
from photon_triage.core.session.decisions.labels import LabelWriter
from photon_triage.core.session.session import Session
from tests.builders.detector_files import frames_of, write_cxi

from .engines import counts, make_session, recorded, scan
from .scale import scaled

Say = Callable[[str], None]


def command(*arguments: str) -> tuple[int, str]:
    """A command of the program: (its exit code, what it said)."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "photon_triage.tui", *arguments], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def labelled(tmp_path: Path, frames: int) -> tuple[Session, Path]:
    """A session that has read a file, with every tenth frame accepted."""
    data = tmp_path / "data"
    data.mkdir()
    write_cxi(data / "run.cxi", frames_of(frames))
    session = make_session(tmp_path / "session")
    scan(session, [data])
    with closing(session.results()) as reader, closing(session.journal()) as journal:
        writer = LabelWriter(journal)
        for row in list(reader.all_frames())[::10]:
            writer.decide(row.key, "accepted", digest=row.digest)
    return session, data


def test_a_damaged_results_db_is_told_repaired_and_completed(tmp_path: Path, figure: Say) -> None:
    session, data = labelled(tmp_path, 400)
    labels, whole = dict(session.labels().labels), session.results_path.read_bytes()
    rng = random.Random(4)
    told = saved = 0
    rounds = scaled(2, 40)
    for number in range(rounds):
        for path in session.path.glob("results*"):
            path.unlink()
        changed = bytearray(whole)
        for _ in range(rng.choice((1, 4, 16))):
            at = rng.randrange(0, len(whole), 4096)
            changed[at : at + 4096] = rng.randbytes(4096)
        if number == 0:
            changed[:100] = bytes(100)
        session.results_path.write_bytes(changed)
        code, said = command("session", "repair", str(session.path))
        assert "Traceback" not in said, said
        told += code == 1 and "was damaged" in said
        assert code == 0 or list(session.path.glob("results-damaged-*")), said
        saved += counts(session).frames
        scan(session, [data])
        assert sorted(recorded(session)["run.cxi"]) == list(range(400))
        assert session.labels().labels == labels, "labels are in the journals"
    figure(
        f"results.db damaged {rounds} times: told {told} times, {100 * saved / (400 * rounds):.0f} % of the frames "
        f"saved, the others read again, all of {len(labels)} labels kept"
    )
    assert told > 0


def test_an_engine_on_a_damaged_results_db_names_the_repair(tmp_path: Path) -> None:
    session, data = labelled(tmp_path, 20)
    session.results_path.write_bytes(bytes(4096) * 4)
    for ending in ("-wal", "-shm"):
        session.results_path.with_name(f"results.db{ending}").unlink(missing_ok=True)
    code, said = command("scan", str(data), "--session", str(session.path))
    assert code != 0 and "session repair" in said and "Traceback" not in said


def test_a_second_engine_is_refused_by_name(tmp_path: Path) -> None:
    session, data = labelled(tmp_path, 20)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(session.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == "held\n"
        code, said = command("scan", str(data), "--session", str(session.path))
        assert code != 0 and "another one is at work" in said and "Traceback" not in said
        with pytest.raises(SessionError, match="another one is at work"):
            start_engine(session, [data])
    finally:
        holder.communicate()
    os.close(lock_session(session))


HOLDING = """
import sys
from photon_triage.core.engine.process import lock_session
from photon_triage.core.session.session import Session
lock_session(Session.open(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_a_read_only_session_can_be_looked_at_and_says_what_it_is(tmp_path: Path) -> None:
    session, data = labelled(tmp_path, 20)
    place = tmp_path / "mounted"
    place.mkdir()
    shutil.copytree(session.path, tmp_path / "copy")
    if os.geteuid() != 0:
        for folder in (session.path, session.journal_path):
            folder.chmod(0o555)
        place = session.path
    elif subprocess.run(
        ["mount", "--bind", "-o", "ro", session.path, place], capture_output=True, check=False
    ).returncode:
        pytest.skip("a session cannot be made read-only here: the account may write everywhere and not mount")
    try:
        code, said = command("metrics", str(place), "--json")
        assert "Traceback" not in said and len(Session.open(place).labels().labels) == 2
        with closing(Session.open(place).results()) as reader:
            assert reader.counts().frames == 20
        code, said = command("scan", str(data), "--session", str(place))
        assert code != 0 and ("read-only" in said.lower() or "writable" in said), said
        journal = Session.open(place).journal()
        with pytest.raises(SessionError, match="Could not save"):
            journal.append("flag")
    finally:
        if place != session.path:
            subprocess.run(["umount", place], check=True)
        else:
            session.path.chmod(0o755)
            session.journal_path.chmod(0o755)
