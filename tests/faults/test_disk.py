"""Disks that are full, over quota, broken or gone: nothing is lost, and the operator is told."""

from __future__ import annotations

import errno
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from photon_triage.core.engine.process import start_engine, stop_engine
from photon_triage.core.session.session import Session
from tests.builders.detector_files import GrowingCxi, frames_of
from tests.waiting import wait_until

from .disk import failing_disk
from .engines import counts, make_session, recorded
from .scale import scaled

Say = Callable[[str], None]
ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE)

DECIDING = """
import sys
from photon_triage.core.common.errors import SessionError
from photon_triage.core.frames import FrameKey
from photon_triage.core.session.decisions.labels import LabelWriter
from photon_triage.core.session.session import Session
journal = Session.open(sys.argv[1]).journal()
writer, number = LabelWriter(journal), 0
for _ in sys.stdin:
    try:
        record = writer.decide(FrameKey("/data/x.h5", "/data", number), "accepted")
    except SessionError as error:
        print("refused", number, error.title, flush=True)
    else:
        print("saved", number, record.sequence, flush=True)
    number += 1
"""


def test_no_decision_is_lost_or_made_up_on_a_disk_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, figure: Say
) -> None:
    session = make_session(tmp_path / "session")
    saved: set[int] = set()
    refused: set[int] = set()
    told: list[float] = []
    with failing_disk(monkeypatch, tmp_path, [session.journal_path]) as disk:
        command = [sys.executable, "-c", DECIDING, str(session.path)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as screen:

            def decide(count: int) -> None:
                assert screen.stdin is not None
                screen.stdin.write("\n" * count)
                screen.stdin.flush()

            def heard() -> bool:
                assert screen.stdout is not None
                decide(1)
                what, number, *_ = screen.stdout.readline().split()
                (saved if what == "saved" else refused).add(int(number))
                return what == "saved"

            try:
                for _ in range(scaled(3, 100)):
                    for number in ERRORS:
                        while not heard():
                            pass
                        for _ in range(20):
                            heard()
                        disk.fail(number)
                        began = time.monotonic()
                        while heard():
                            pass
                        told.append(time.monotonic() - began)
                        for _ in range(5):
                            heard()
                        disk.heal()
            finally:
                disk.heal()
                while not heard():
                    pass
                decide(100)
                assert screen.stdout is not None
                screen.stdout.readline()
                screen.kill()
                rest = screen.stdout.read().splitlines()
    saved |= {int(line.split()[1]) for line in rest if line.startswith("saved") and line.count(" ") == 2}
    standing = set(_standing(session))
    figure(
        f"decisions on disks that failed {len(told)} times (ENOSPC, EDQUOT, EIO, ESTALE): {len(saved - standing)} of "
        f"{len(saved)} saved ones lost, {len(refused & standing)} of {len(refused)} refused ones count; "
        f"told after {max(told) * 1000:.0f} ms at most"
    )
    assert saved <= standing and not refused & standing and len(refused) >= 4 * len(ERRORS)


def _standing(session: Session) -> list[int]:
    """The frames that are labelled, by index."""
    return [key.index for key in session.labels(follow_moves=False).labels]


def _is_recorded(session: Session, frames: int) -> bool:
    return counts(session).frames == frames and not session.engine_state().trouble


def test_an_engine_waits_while_its_results_cannot_be_written_says_so_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, figure: Say
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    session = make_session(tmp_path / "session")
    told: dict[str, list[float]] = {errno.errorcode[number]: [] for number in ERRORS}
    written = 20
    with failing_disk(monkeypatch, tmp_path, [session.results_path]) as disk, GrowingCxi(data / "run.cxi") as run:
        engine = start_engine(session, [data])
        try:
            run.append(frames_of(written))
            for number in ERRORS * scaled(1, 10):
                wait_until(lambda so_far=written: _is_recorded(session, so_far))  # type: ignore[misc]
                disk.fail(number)
                began = time.monotonic()
                run.append(frames_of(20, first=written))
                wait_until(lambda: "Results wait in memory" in session.engine_state().trouble)
                told[errno.errorcode[number]].append(time.monotonic() - began)
                tries = disk.failed + scaled(2, 10)
                wait_until(lambda tries=tries: disk.failed > tries)  # type: ignore[misc]
                assert engine.poll() is None, "it does not give up"
                assert counts(session).frames == written
                disk.heal()
                written += 20
            wait_until(lambda: _is_recorded(session, written))
        finally:
            disk.heal()
            stop_engine(session)
            engine.wait(20)
    found = recorded(session)["run.cxi"]
    latest = {name: f"{max(seconds):.2f} s" for name, seconds in told.items()}
    figure(
        f"disks that failed under results.db: {len(found)} of {written} frames recorded, told after {latest} at most"
    )
    assert sorted(found) == list(range(written))
