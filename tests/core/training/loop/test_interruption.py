"""Trainings that are paused, stopped and killed go on to the same model."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
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

from ..builders import write_scenes
from ..tasks.segmentation.test_segmentation import job

PATIENCE_S = 120.0


def steps(count: int, *, a_batch: float = 0.0) -> Iterator[Progress]:
    for number in range(1, count + 1):
        time.sleep(a_batch)
        yield Progress(number, count, 1 / number, None)


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def test_a_pause_waits_between_batches_and_does_not_count_as_work(tmp_path: Path) -> None:
    seen: list[int] = []
    with training_run(Session(tmp_path), "discs", {}) as run:

        def look() -> None:
            until(lambda: (told := read_status(run.folder)) is not None and told.state == "paused")
            time.sleep(1.0)
            (run.folder / PAUSE).unlink()

        looking = threading.Thread(target=look)
        looking.start()
        for step in run.follow(steps(4)):
            seen.append(step.done)
            if step.done == 1:
                (run.folder / PAUSE).touch()
        looking.join()
        told = read_status(run.folder)
        assert told is not None and told.state == "running"
        assert seen == [1, 2, 3, 4] and read_curve(run.folder)[-1].seconds < 1.0


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
        run.done()
    assert learned_by(Session(tmp_path), "discs").frames == {key}


def test_a_training_process_is_paused_killed_and_resumed(tmp_path: Path) -> None:
    write_scenes(tmp_path, 4)
    session = job(tmp_path).session
    words = [
        "train", "session", "--network", "msd", "--option", "depth=5", "--images", "images", "--masks", "masks",
        "--classes", "background,disc", "--iterations", "30", "--batch", "2", "--crop", "64", "--name", "discs",
        "--device", "cpu", "--quiet",
    ]  # fmt: skip
    process = Popen([sys.executable, "-m", "photon_triage.tui", *words], cwd=tmp_path, stdout=DEVNULL, stderr=DEVNULL)

    def now() -> Training:
        return find_training(session, "discs")

    folder = tmp_path / "session" / "training" / "discs"
    until(lambda: process.poll() is not None or (folder / "status.json").exists())
    wish(now(), PAUSE)
    until(lambda: process.poll() is not None or now().state == "paused")
    spent, done = _cpu_seconds(process.pid), now().done
    time.sleep(2.0)
    assert _cpu_seconds(process.pid) - spent < 0.5 and now().done == done < 30
    process.kill()
    process.wait()
    assert now().state == "interrupted"
    resume(now())
    until(lambda: now().state == "running" and now().done > done)
    told = read_status(folder)
    assert told is not None
    os.kill(told.pid, signal.SIGKILL)
    until(lambda: now().state == "interrupted")
    resume(now())
    until(lambda: now().state in ("done", "failed"))
    assert (now().state, now().message) == ("done", "")
    assert [point.done for point in now().curve] == sorted({point.done for point in now().curve})


def _cpu_seconds(pid: int) -> float:
    """What a process has worked so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
