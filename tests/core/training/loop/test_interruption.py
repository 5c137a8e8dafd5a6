"""Trainings that are paused, stopped and killed go on to the same model."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from subprocess import DEVNULL, Popen

import pytest

from photon_triage.core.frames import FrameKey
from photon_triage.core.session.models.lineage import learned_by
from photon_triage.core.session.session import Session
from photon_triage.core.session.trainings.trainings import (
    PAUSE,
    STOP,
    Training,
    find_training,
    read_curve,
    read_status,
    wish,
)
from photon_triage.core.training.dispatch import run_network_training
from photon_triage.core.training.loop.progress import Progress
from photon_triage.core.training.loop.runs import TrainingStopped, training_run
from photon_triage.tui.snapshot.training_process import resume
from tests.waiting import wait_until

from ..builders import write_scenes
from ..tasks.segmentation.test_segmentation import job


def steps(count: int) -> Iterator[Progress]:
    for number in range(1, count + 1):
        yield Progress(number, count, 1 / number, None)


def test_a_pause_waits_between_batches_and_does_not_count_as_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    states: list[str] = []
    clock = 1000.0

    def state() -> str:
        status = read_status(run.folder)
        assert status is not None
        return status.state

    def pause_for_an_hour(seconds: float) -> None:
        nonlocal clock
        clock += 3600.0
        states.append(state())
        (run.folder / PAUSE).unlink()

    monkeypatch.setattr("time.monotonic", lambda: clock)
    monkeypatch.setattr("time.sleep", pause_for_an_hour)
    with training_run(Session(tmp_path), "discs", {}) as run:
        for step in run.follow(steps(4)):
            clock += 1.0
            seen.append(step.done)
            if step.done == 1:
                (run.folder / PAUSE).touch()
        assert states == ["paused"] and state() == "running"
    assert seen == [1, 2, 3, 4] and read_curve(run.folder)[-1].seconds == pytest.approx(3.0)


def test_a_stopped_training_says_so_and_goes_on_to_the_same_model(tmp_path: Path) -> None:
    write_scenes(tmp_path, 4)
    whole = run_network_training(replace(job(tmp_path), name="whole"))
    folder = tmp_path / "session" / "training" / "discs"

    def stopping(done: int, planned: int, loss: float, f1: float | None) -> None:
        if done == 14:
            (folder / STOP).touch()

    with pytest.raises(TrainingStopped):
        run_network_training(job(tmp_path), stopping)
    session = Session(tmp_path / "session")
    assert find_training(session, "discs").state == "interrupted" and not (folder / STOP).exists()
    seen: list[int] = []
    resumed = run_network_training(job(tmp_path), lambda done, planned, loss, f1: seen.append(done))
    assert seen[0] == 16, "the state was kept after the batch that followed the wish"
    assert resumed.entry.path.stem.rpartition("-")[2] == whole.entry.path.stem.rpartition("-")[2]
    assert find_training(session, "discs").state == "done"


def test_a_failure_is_kept_with_its_message(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), training_run(Session(tmp_path), "discs", {}):
        raise ZeroDivisionError("of the test")
    training = find_training(Session(tmp_path), "discs")
    assert (training.state, training.message) == ("failed", "ZeroDivisionError: of the test")


def test_the_frames_that_a_model_learned_from_are_kept(tmp_path: Path) -> None:
    key = FrameKey("/data/a\udcff.h5", "x,y", 7)
    with training_run(Session(tmp_path), "discs", {}) as run:
        run.record_trained_on([key, key])
    assert learned_by(Session(tmp_path), "discs").frames == {key}


def test_a_training_process_is_paused_killed_and_resumed(tmp_path: Path) -> None:
    write_scenes(tmp_path, 4)
    session = job(tmp_path).session
    words = [
        "train", "session", "--model", "msd", "--option", "depth=5", "--images", "images", "--masks", "masks",
        "--classes", "background,disc", "--iterations", "30", "--batch", "2", "--crop", "64", "--name", "discs",
        "--device", "cpu", "--quiet",
    ]  # fmt: skip
    process = Popen([sys.executable, "-m", "photon_triage.tui", *words], cwd=tmp_path, stdout=DEVNULL, stderr=DEVNULL)

    def now() -> Training:
        return find_training(session, "discs")

    folder = tmp_path / "session" / "training" / "discs"
    wait_until(lambda: process.poll() is not None or (folder / "status.json").exists())
    wish(now(), PAUSE)
    wait_until(lambda: process.poll() is not None or now().state == "paused")
    done, looks = now().done, _times_waited(process.pid)
    wait_until(lambda: _times_waited(process.pid) >= looks + 10)
    assert now().done == done < 30
    process.kill()
    process.wait()
    assert now().state == "interrupted"
    resume(now())
    wait_until(lambda: now().state == "running" and now().done > done)
    told = read_status(folder)
    assert told is not None
    os.kill(told.pid, signal.SIGKILL)
    wait_until(lambda: now().state == "interrupted")
    resume(now())
    wait_until(lambda: now().state in ("done", "failed"))
    assert (now().state, now().message) == ("done", "")
    assert [point.done for point in now().curve] == sorted({point.done for point in now().curve})


def _times_waited(pid: int) -> int:
    """How often a process has left the processor to wait."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(lines["voluntary_ctxt_switches"])
