"""Two accounts of one group share a session: both decide, and one restarts the engine that the other one started."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from photon_triage.core.embedding.store import EmbeddingStore
from photon_triage.core.engine.process import engine_status, lock_session, stop_engine
from photon_triage.core.engine.recorder import Recorder
from photon_triage.core.engine.restart import EngineJob, job_of
from photon_triage.core.session.decisions.labels import LabelWriter
from photon_triage.core.session.session import Session
from photon_triage.core.session.state import EngineState
from photon_triage.core.session.store.writer import ResultsWriter
from photon_triage.core.training.loop.folder import locked
from tests.waiting import wait_until

from ..builders.detector_files import make_old, write_plain
from .engines import ALL_HITS, make_session

GROUP, NAMES = "pt-group", ("pt-ada", "pt-grace")
STRANGER = "pt-eve"
READS_ALL = "+dac_read_search"
"""A right to read everywhere, and none to write: an interpreter may lie where accounts of a test may not look."""

STARTS_ITSELF = """
import subprocess, sys
subprocess.run([sys.executable, "-P", "-c", "import photon_triage.core"], check=True)
"""


@dataclass(frozen=True)
class Account:
    """An account that runs commands of the program; reads_all: with the right to read everywhere."""

    name: str
    group: str
    reads_all: bool = False

    def python(self, *arguments: str, umask: int = 0o002) -> subprocess.CompletedProcess[str]:
        """Run the interpreter of this test."""
        rights = [f"--inh-caps={READS_ALL}", f"--ambient-caps={READS_ALL}", f"--bounding-set=-all,{READS_ALL}"]
        user = ["--reuid", self.name, "--regid", self.group, "--init-groups", *(rights if self.reads_all else ())]
        return subprocess.run(
            ["setpriv", *user, sys.executable, "-P", *arguments],
            capture_output=True,
            text=True,
            check=False,
            umask=umask,
            cwd="/",
            env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
        )

    def run(self, *arguments: str) -> str:
        """Run a command of the program that must work; what it printed."""
        done = self.python("-m", "photon_triage.tui", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def accounts() -> Iterator[tuple[Account, Account, Account]]:
    """Two accounts of one group and one of none."""
    if os.geteuid() != 0:
        pytest.skip("only root can make accounts")
    if missing := [name for name in ("useradd", "userdel", "groupadd", "setpriv") if not shutil.which(name)]:
        pytest.skip(f"no {', '.join(missing)} here")
    made: list[list[str]] = []
    try:
        for command in (
            ["groupadd", GROUP],
            *(["useradd", "--no-create-home", "--no-user-group", "--gid", GROUP, name] for name in NAMES),
            ["useradd", "--no-create-home", "--no-user-group", "--gid", "nogroup", STRANGER],
        ):
            subprocess.run(command, check=True, capture_output=True)
            made.append(["groupdel" if command[0] == "groupadd" else "userdel", command[-1]])
        groups = (GROUP, GROUP, "nogroup")
        found = [Account(name, group) for name, group in zip((*NAMES, STRANGER), groups, strict=True)]
        if found[0].python("-c", STARTS_ITSELF).returncode:
            found = [Account(each.name, each.group, reads_all=True) for each in found]
        if (done := found[0].python("-c", STARTS_ITSELF)).returncode:
            pytest.skip(f"other accounts cannot run {sys.executable}: {done.stderr.strip()}")
        yield found[0], found[1], found[2]
    finally:
        for command in reversed(made):
            subprocess.run(command, check=True, capture_output=True)


@pytest.fixture
def folder(accounts: tuple[Account, Account, Account]) -> Iterator[Path]:
    """A folder in which the group may write; pytest's own lets nobody else in."""
    path = Path(tempfile.mkdtemp(prefix="photon-triage-group-"))
    try:
        shutil.chown(path, accounts[0].name, GROUP)
        path.chmod(0o2775)
        yield path
    finally:
        stop(path / "s")
        shutil.rmtree(path, ignore_errors=True)


def stop(path: Path) -> None:
    """Stop the engine that a failed test has left at work: its account cannot be removed before."""
    if (path / "recipe.toml").exists():
        stop_engine(Session.open(path))


def begin(account: Account, folder: Path) -> Session:
    """A session with an engine at work that this account has made."""
    recipe, data = folder / "all.toml", folder / "data"
    recipe.write_text(ALL_HITS)
    data.mkdir()
    write_frames(data / "run_1.h5", 4)
    account.run("watch", str(data), "--session", str(folder / "s"), "--recipe", str(recipe), "--no-screen")
    session = Session.open(folder / "s")
    wait_until(lambda: engine_status(session).status == "running")
    wait_until(lambda: counts(session) == 4)
    return session


def write_frames(path: Path, count: int) -> None:
    make_old(write_plain(path, "data", np.ones((count, 32, 32), np.uint16)))


def counts(session: Session) -> int:
    reader = session.results()
    try:
        return reader.counts().frames
    finally:
        reader.close()


def end(session: Session, account: Account) -> None:
    account.run("engine", "stop", str(session.path))
    assert not engine_status(session).alive


def table(folder: Path, name: str, rows: dict[int, str]) -> Path:
    path = folder / f"{name}.csv"
    lines = [f"{folder / 'data' / 'run_1.h5'},,{index},{verdict}\n" for index, verdict in rows.items()]
    path.write_text("file,dataset,index,verdict\n" + "".join(lines))
    return path


def test_two_accounts_decide_and_one_restarts_the_engine_of_the_other(
    accounts: tuple[Account, Account, Account], folder: Path
) -> None:
    ada, grace, _ = accounts
    session = begin(ada, folder)
    ada.run("labels", "import", str(session.path), str(table(folder, "ada", {0: "accepted", 1: "accepted"})))
    grace.run("labels", "import", str(session.path), str(table(folder, "grace", {1: "rejected", 2: "accepted"})))
    labels = session.labels()
    assert {key.index: (label.verdict, label.who) for key, label in labels.labels.items()} == {
        0: ("accepted", ada.name),
        1: ("rejected", grace.name),
        2: ("accepted", grace.name),
    }
    before = engine_status(session)
    assert f"started by {ada.name}" in ada.run("engine", "status", str(session.path))
    said = grace.run("engine", "restart", str(session.path))
    assert f"which {ada.name} had started, has stopped" in said
    after = engine_status(session)
    job = job_of(after.state)
    assert (after.alive, after.state.pid != before.state.pid) == (True, True)
    assert job is not None and (job.who, job.paths) == (grace.name, (folder / "data",))
    # The new engine writes: a file that comes now is read.
    write_frames(folder / "data" / "run_2.h5", 3)
    wait_until(lambda: counts(session) == 7)
    end(session, ada)
    assert not not_for_the_group(session.path)


def test_who_may_not_write_is_told_who_runs_the_engine_and_what_to_do(
    accounts: tuple[Account, Account, Account], folder: Path
) -> None:
    ada, _, eve = accounts
    session = begin(ada, folder)
    done = eve.python("-m", "photon_triage.tui", "engine", "restart", str(session.path))
    assert done.returncode != 0
    said = " ".join(done.stderr.split())
    for words in (f"{ada.name} runs it on {os.uname().nodename}", "you may not write", f"Ask {ada.name}", "chmod"):
        assert words in said
    assert engine_status(session).alive
    end(session, ada)


def not_for_the_group(folder: Path) -> list[str]:
    """What the group may not read and write."""
    paths = [folder, *folder.rglob("*")]
    return [str(path) for path in paths if stat.S_IMODE(path.stat().st_mode) & 0o060 != 0o060]


@pytest.mark.parametrize(("umask", "file", "directory"), [(0o002, 0o664, 0o775), (0o027, 0o640, 0o750)])
def test_modes_of_all_that_a_session_holds_follow_the_umask(
    tmp_path: Path, umask: int, file: int, directory: int
) -> None:
    before = os.umask(umask)
    try:
        session = make_session(tmp_path / "s")
        os.close(lock_session(session))
        results = Recorder(ResultsWriter(session.results_path))
        results.set_state({"status": "stopped"})
        LabelWriter(session.journal("ada")).set_threshold(0.5)
        with EmbeddingStore(session).writing():
            pass
        training = session.path / "training" / "one"
        training.mkdir(parents=True)
        with locked(training):
            pass
        modes = {path: stat.S_IMODE(path.stat().st_mode) for path in session.path.rglob("*")}
        results.close()
    finally:
        os.umask(before)
    assert {path.name for path in modes} >= {"results.db", "results.db-wal", "results.db-shm", "engine.lock"}
    assert {path.name: mode for path, mode in modes.items()} == {
        path.name: directory if path.is_dir() else file for path in modes
    }


@pytest.mark.parametrize(
    "change",
    [
        {"paths": []},
        {"paths": ["relative"]},
        {"paths": ["/data\0"]},
        {"paths": "/data"},
        {"paths": [1]},
        {"once": 1},
        {"patience": "60"},
        {"device": 0},
        {"who": None},
        {"alarms": "touch /tmp/x"},
    ],
)
def test_a_job_of_another_form_is_none(change: dict[str, object]) -> None:
    job = EngineJob((Path("/data"),), False, 60.0, None, "ada", False)
    told = json.loads(json.dumps(job.as_json()))
    assert job_of(EngineState(job=told)) == job
    assert job_of(EngineState(job=told | change)) is None
