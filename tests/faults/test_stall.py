"""File systems that do not answer: shown, not suffered; when they do again, nothing was lost."""

from __future__ import annotations

import os
import signal
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from photon_triage.core.session.store.rows import FrameRow
from photon_triage.tui.snapshot.snapshot_builder import SnapshotBuilder
from tests.builders.detector_files import GrowingCxi, frames_of, write_cxi
from tests.tui.driver import opened
from tests.tui.fake_session import FakeSource
from tests.tui.fake_session import make_session as make_fake_session
from tests.waiting import wait_until

from .engines import counts, engine, files, make_session, recorded
from .memory import children
from .scale import scaled

Say = Callable[[str], None]


@contextmanager
def nothing_answers() -> Iterator[None]:
    """Hold every process that touches files, also those that are started meanwhile, as a file system does."""
    over, held = threading.Event(), set[int]()

    def hold() -> None:
        while not over.wait(0.02):
            for pid in set(children()) - held:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)
                    held.add(pid)

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        for pid in held:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def test_folders_that_do_not_answer_are_told_and_cost_no_file(tmp_path: Path, figure: Say) -> None:
    seconds = scaled(5, 60)
    data = tmp_path / "data"
    data.mkdir()
    session = make_session(tmp_path / "session")
    beats, told = set[float](), list[float]()
    with GrowingCxi(data / "run.cxi") as run, engine(session, [data]):
        run.append(frames_of(40))
        wait_until(lambda: counts(session).frames == 40)
        with nothing_answers():
            began = time.monotonic()
            run.append(frames_of(40, first=40))
            write_cxi(data / "other.cxi", frames_of(5))

            def is_told_for_long() -> bool:
                state = session.engine_state()
                beats.add(state.heartbeat)
                if state.stalled_s:
                    told.append(state.stalled_s)
                return bool(told) and time.monotonic() - began >= seconds

            wait_until(is_told_for_long)
            assert counts(session).frames == 40
        run.finish()
        wait_until(lambda: counts(session).frames == 85)
        wait_until(lambda: session.engine_state().stalled_s == 0)
        wait_until(lambda: {row.status for row in files(session).values()} == {"complete"})
    figure(
        f"folders that did not answer for {seconds} s: told (up to {max(told):.0f} s), the engine's heart beat "
        f"{len(beats)} times meanwhile, {counts(session).frames} of 85 frames recorded after it"
    )
    assert len(beats) > seconds and sorted(recorded(session)["run.cxi"]) == list(range(80))


class Stuck(FakeSource):
    """Frames that come when the gate is open."""

    def __init__(self, gate: threading.Event) -> None:
        super().__init__()
        self._gate = gate

    def read(self, path: str, dataset: str, start: int, stop: int, *more: Any) -> Any:
        self._gate.wait()
        return super().read(path, dataset, start, stop, *more)


async def test_the_screen_answers_while_nothing_below_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, figure: Say
) -> None:
    seconds = scaled(5, 60)
    fake = make_fake_session(tmp_path)
    fake.add_frames(40)
    fake.run_engine()
    gate = threading.Event()
    gate.set()
    build, sync = SnapshotBuilder._build, os.fsync

    def slow_build(self: SnapshotBuilder, *arguments: Any) -> Any:
        gate.wait()
        return build(self, *arguments)

    def slow_sync(descriptor: int) -> None:
        gate.wait()
        sync(descriptor)

    monkeypatch.setattr(SnapshotBuilder, "_build", slow_build)
    monkeypatch.setattr("photon_triage.core.session.decisions.journal.os.fsync", slow_sync)
    answers: list[float] = []
    async with opened(fake, (100, 30), source=Stuck(gate)) as driver:
        try:
            await driver.ready()
            gate.clear()
            began = time.monotonic()
            await driver.press("a")
            down = True
            while time.monotonic() - began < seconds:
                row: FrameRow | None = driver.list.row
                place = driver.list.selected
                asked = time.monotonic()
                await driver.press("j" if down else "k")
                await driver.until(lambda place=place: driver.list.selected != place)  # type: ignore[misc]
                answers.append(time.monotonic() - asked)
                down = not down
                assert row is not None
            await driver.shows("has not answered for")
            assert "accepted (" not in driver.text(), "nothing is called saved"
        finally:
            gate.set()
        await driver.until(lambda: 0 in driver.on_disk())
        await driver.until(lambda: "has not answered" not in driver.text())
    fake.close()
    figure(
        f"folders that did not answer for {seconds} s: {len(answers)} keys answered, after "
        f"{1000 * statistics.median(answers):.0f} ms (median), {1000 * max(answers):.0f} ms at most, painting included"
    )
