"""What the folders of trainings tell, and the labels that there are to learn from."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pytest

from photon_triage.core.common.errors import SessionError
from photon_triage.core.frames import FrameKey
from photon_triage.core.session.decisions.label_records import Label
from photon_triage.core.session.decisions.labels import LabelWriter
from photon_triage.core.session.session import Session
from photon_triage.core.session.store.filters import AUDIT
from photon_triage.core.session.trainings.label_summary import Count, learnable
from photon_triage.core.session.trainings.trainings import (
    PAUSE,
    STOP,
    CurveFollower,
    CurvePoint,
    State,
    Status,
    TrainingsFollower,
    find_training,
    read_curve,
    wish,
    write_status,
)

HOLD = """
import fcntl, sys
file = open(sys.argv[1], "w")
fcntl.lockf(file, fcntl.LOCK_EX)
print("held", flush=True)
input()
"""
HERE = socket.gethostname()


def points(done: int, planned: int = 100) -> list[CurvePoint]:
    """A curve of one batch a second, checked at every tenth."""
    return [CurvePoint(n, planned, 1 / n, n / 200 if n % 10 == 0 else None, float(n)) for n in range(1, done + 1)]


def write_training(
    session: Session, name: str, state: str = "running", curve: Sequence[CurvePoint] = (), pid: int | None = None
) -> Path:
    """A training's folder; its process is this one, unless another pid is given."""
    folder = session.path / "training" / name
    folder.mkdir(parents=True)
    (folder / "curve.jsonl").write_text("".join(json.dumps(asdict(point)) + "\n" for point in curve))
    if state:
        write_status(folder, Status(state, "", os.getpid() if pid is None else pid, HERE, ("train", "S"), "/data"))
    return folder


@pytest.fixture
def session(tmp_path: Path) -> Session:
    (tmp_path / "recipe.toml").write_text('name = "small"\n[[stages]]\nkind = "lit-pixels"\nmin_photons = 200\n')
    return Session(tmp_path)


@pytest.mark.parametrize(
    ("said", "done", "files", "state"),
    [
        ("preparing", 0, [], "preparing"),
        ("running", 5, [], "running"),
        ("running", 5, [PAUSE], "pausing"),
        ("paused", 5, [PAUSE], "paused"),
        ("paused", 5, [PAUSE, STOP], "stopping"),
        ("running", 100, [], "scoring"),
        ("done", 100, [], "done"),
        ("failed", 5, [], "failed"),
        ("interrupted", 5, [], "interrupted"),
        ("", 0, [], "starting"),
        ("", 5, ["settings.json"], "interrupted"),
        ("", 100, [], "done"),
    ],
)
def test_the_state_of_a_training_follows_from_its_folder(
    session: Session, said: str, done: int, files: list[str], state: State
) -> None:
    folder = write_training(session, "discs", said, points(done))
    for name in files:
        (folder / name).touch()
    if state == "starting":
        (folder / "log").touch()
    assert find_training(session, "discs").state == state


def test_a_training_whose_process_is_gone_is_interrupted_and_one_that_holds_its_lock_is_not(session: Session) -> None:
    folder = write_training(session, "discs", "running", points(5), pid=1)
    assert find_training(session, "discs").state == "interrupted"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder / "lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdin and holder.stdout and holder.stdout.readline()
    assert find_training(session, "discs").state == "running"
    holder.communicate(b"\n", timeout=10)
    assert find_training(session, "discs").state == "interrupted"


def test_a_process_that_gave_up_at_once_has_failed_with_the_words_of_its_log(session: Session) -> None:
    folder = write_training(session, "discs", "")
    (folder / "log").write_text("Wrong usage\nCould not train: no such thing.\nLeave it out.\n")
    training = find_training(session, "discs")
    assert (training.state, training.message) == ("failed", "Wrong usage Could not train: no such thing. Leave it out.")


def test_the_time_left_is_that_of_the_last_batches(session: Session) -> None:
    curve = [CurvePoint(n, 100, 0.5, None, 10.0 * n if n < 20 else 200.0 + n) for n in range(1, 81)]
    write_training(session, "discs", "running", curve)
    training = find_training(session, "discs")
    assert training.share == 0.8 and training.seconds_left == pytest.approx(20.0)


def test_trainings_at_work_come_first(session: Session) -> None:
    for name, state in (("old", "running"), ("new", "done")):
        write_training(session, name, state, points(3))
    assert [training.name for training in TrainingsFollower(session).read()] == ["old", "new"]


def test_a_curve_is_followed_as_it_grows_and_after_it_was_trimmed(tmp_path: Path) -> None:
    path = tmp_path / "curve.jsonl"
    lines = [json.dumps(asdict(point)) + "\n" for point in points(4)]
    follower = CurveFollower(path, tmp_path)
    assert follower.read() == ()
    path.write_text("".join(lines[:2]) + lines[2][:9])
    assert [point.done for point in follower.read()] == [1, 2]
    with path.open("a") as file:
        file.write(lines[2][9:])
    assert [point.done for point in follower.read()] == [1, 2, 3]
    path.with_suffix(".new").write_text(lines[0] + lines[3])
    path.with_suffix(".new").replace(path)
    assert [point.done for point in follower.read()] == [1, 4] == [point.done for point in read_curve(tmp_path)]


def test_a_pause_is_a_file_that_is_made_and_taken_away(session: Session) -> None:
    folder = write_training(session, "discs", "running", points(3))
    training = find_training(session, "discs")
    wish(training, PAUSE)
    assert (folder / PAUSE).exists()
    wish(training, PAUSE, holds=False)
    wish(training, PAUSE, holds=False)
    assert not (folder / PAUSE).exists()


def test_a_training_that_is_not_there_is_named_with_those_that_are(session: Session) -> None:
    write_training(session, "discs", "done", points(3))
    with pytest.raises(SessionError, match="There are: discs"):
        find_training(session, "rings")


def test_the_labels_of_the_audit_are_kept_apart_from_those_to_learn_from(session: Session) -> None:
    writer = LabelWriter(session.journal())
    for queue, verdicts in (("uncertain", "aar"), (AUDIT, "ar"), ("score", "as")):
        writer.queue = queue
        for place, verdict in enumerate(verdicts):
            told = {"a": "accepted", "r": "rejected", "s": "skipped"}[verdict]
            writer.decide(FrameKey(f"/data/{queue}.h5", "", place), told)  # type: ignore[arg-type]
    writer.take_over([Label(FrameKey("/data/other.h5", "", 0), "rejected", "someone", 1.0)])
    found = learnable(session)
    assert found.sources == (("uncertain", Count(2, 1)), ("imported", Count(0, 1)), ("score", Count(1, 0)))
    assert (found.audit, found.total, found.skipped) == (Count(1, 1), Count(3, 2), 1)
