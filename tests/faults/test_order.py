"""Under load the newest frames come first, the others later; killed at any instant, none is lost or counted twice."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from photon_triage.core.engine.load import LoadedBatch
from photon_triage.core.engine.score import FrameScorer
from photon_triage.core.engine.tracked_file import CHUNK_FRAMES, LIVE_CHUNKS
from tests.builders.detector_files import GrowingCxi, frames_of, make_old, write_cxi, write_simulated_tiff
from tests.waiting import wait_until

from .engines import ALL_HITS, counts, engine, files, follow, intake, make_session, recorded, scan
from .killed import begin, run_engine
from .scale import scaled

Say = Callable[[str], None]
JUMP = LIVE_CHUNKS * CHUNK_FRAMES
TRIES = 5


def test_the_newest_frames_come_first_and_those_passed_over_later(tmp_path: Path) -> None:
    count = 5 * JUMP
    with GrowingCxi(tmp_path / "run.cxi") as run:
        run.append(frames_of(count))
        with intake([tmp_path], latest=True) as running:
            told = follow(running, lambda told: len(told.frames.get("run.cxi", {})) == count)
    order = [index for _, index in told.order]
    assert order[:CHUNK_FRAMES] == list(range(count - CHUNK_FRAMES, count)), "the newest chunk"
    assert order[CHUNK_FRAMES:] == list(range(count - CHUNK_FRAMES)), "then what was passed over, from the beginning"


def test_a_stream_that_is_kept_up_with_is_read_in_its_order(tmp_path: Path) -> None:
    with GrowingCxi(tmp_path / "run.cxi") as run, intake([tmp_path], latest=True) as running:
        order = []
        for number in range(5):
            run.append(frames_of(10, first=10 * number))
            told = follow(running, lambda told: len(told.frames.get("run.cxi", {})) == 10)
            order += [index for _, index in told.order]
    assert order == list(range(50))


def test_of_many_files_the_newest_comes_first(tmp_path: Path) -> None:
    for number in range(6):
        path = write_simulated_tiff(tmp_path / f"f_{number}.tif", frames_of(1, first=number)[0])
        os.utime(path, (1000 + number, 1000 + number))
    for latest, expected in ((True, [5, 4, 3, 2, 1, 0]), (False, [0, 1, 2, 3, 4, 5])):
        orders = (_order(tmp_path, latest=latest) for _ in range(TRIES))
        assert expected in orders, "on a busy machine a folder is told of in parts, and reading begins with the first"


def _order(folder: Path, *, latest: bool) -> list[int]:
    """The numbers of the six files in the order read."""
    with intake([folder], latest=latest, readers=1) as running:
        told = follow(running, lambda told: len(told.frames) == 6)
    return [int(name[2]) for name, _ in told.order]


@pytest.mark.parametrize("order", ["latest", "complete"])
def test_an_engine_that_is_too_slow_says_how_far_behind_it_is_and_catches_up(
    tmp_path: Path, order: str, monkeypatch: pytest.MonkeyPatch, figure: Say
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    count = scaled(300, 3000)
    session = make_session(tmp_path / "session", f'{ALL_HITS}[source]\norder = "{order}"\n')
    reached, gate = threading.Event(), threading.Event()
    score = FrameScorer.score

    def held(self: FrameScorer, stages: Any, loaded: LoadedBatch) -> Any:
        reached.set()
        gate.wait()
        return score(self, stages, loaded)

    monkeypatch.setattr(FrameScorer, "score", held)
    with GrowingCxi(data / "run.cxi") as run, engine(session, [data]):
        try:
            run.append(frames_of(20))
            wait_until(reached.is_set)
            run.append(frames_of(count - 20, first=20))
            wait_until(lambda: session.engine_state().queue > 0)
            if order == "latest":
                wait_until(lambda: session.engine_state().passed_over > 0)
            behind = session.engine_state()
        finally:
            gate.set()
        run.finish()
        wait_until(lambda: counts(session).frames == count)
        wait_until(lambda: session.engine_state().queue == 0)
    assert sorted(recorded(session)["run.cxi"]) == list(range(count))
    figure(f"{order}: {behind.passed_over} of {count} frames passed over, all caught up, each recorded once")
    assert (behind.passed_over > 0) == (order == "latest")


def test_engines_killed_at_any_instant_lose_nothing_and_count_nothing_twice(tmp_path: Path, figure: Say) -> None:
    kills = scaled(6, 500)
    data = tmp_path / "data"
    data.mkdir()
    session = make_session(tmp_path / "session")
    rng, written = random.Random(5), 0
    with GrowingCxi(data / "run.cxi") as run:
        for number in range(kills):
            process = begin(run_engine, session.path, data)
            assert process.pid is not None
            for _ in range(4):
                run.append(frames_of(25, first=written))
                written += 25
                time.sleep(rng.uniform(0, 0.4))
            if number == 0:
                wait_until(lambda: counts(session).frames > 0)
            write_cxi(data / f"extra_{number}.cxi", frames_of(3))
            os.kill(process.pid, signal.SIGKILL)
            process.join()
        run.finish()
    before = counts(session).frames
    scan(session, [data])
    found = recorded(session)
    total = written + 3 * kills
    figure(f"{kills} engines killed: {total} frames, each recorded once ({before} before the last engine)")
    assert sorted(found["run.cxi"]) == list(range(written))
    assert counts(session).frames == total == sum(map(len, found.values()))
    with closing(session.results()) as reader:
        assert sum(frames for _, frames, _ in reader.history()) == total


def test_a_file_that_another_takes_the_place_of_is_read_anew(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    session = make_session(tmp_path / "session")
    write_cxi(data / "a.cxi", frames_of(5))
    scan(session, [data])
    before = recorded(session)["a.cxi"]
    make_old(write_cxi(tmp_path / "new.cxi", np.flip(frames_of(4), axis=0) + 7)).replace(data / "a.cxi")
    scan(session, [data])
    after = recorded(session)["a.cxi"]
    assert sorted(after) == [0, 1, 2, 3] and not set(after.values()) & set(before.values())
    assert counts(session).frames == 4 and files(session)["a.cxi"].status == "complete"


def test_a_renamed_file_is_not_read_again(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    session = make_session(tmp_path / "session")
    write_cxi(data / "a.cxi", frames_of(5))
    with engine(session, [data]):
        wait_until(lambda: counts(session).frames == 5 and files(session)["a.cxi"].status == "complete")
        (data / "a.cxi").rename(data / "b.cxi")
        wait_until(lambda: "b.cxi" in files(session))
    (data / "b.cxi").rename(data / "c.cxi")
    scan(session, [data])
    assert list(files(session)) == ["c.cxi"] and sorted(recorded(session)["c.cxi"]) == list(range(5))
    assert counts(session).frames == 5
