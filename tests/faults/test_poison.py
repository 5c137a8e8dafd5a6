"""Frames that cannot be scored, slow frames and exhausted memory: each costs what it must, and the run continues."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
import torch

from photon_triage.core.common.errors import RecipeError
from photon_triage.core.engine import pipeline
from photon_triage.core.engine.networks import RunningStages
from photon_triage.core.frames import Batch
from photon_triage.core.recipe import recipe_text, shipped_recipes
from photon_triage.core.session.session import Session
from photon_triage.core.session.state import FileStatus
from photon_triage.core.sources import SourceInfo
from photon_triage.core.stages.cascade import Stage, StageResult
from tests.builders.detector_files import GrowingCxi, frames_of, make_old, write_cxi, write_nxmx
from tests.waiting import wait_until

from .engines import counts, engine, files, make_session, recorded, scan
from .scale import SOAK, scaled

Say = Callable[[str], None]
POISON = 77
"""The value of the first pixel of a frame that the stage below cannot score."""


class Fragile:
    """A stage that fails on some frames; what: the error. most: frames that fit into its memory."""

    name, columns, is_network = "fragile", (), False

    def __init__(self, stage: Stage, what: Exception | None, most: int) -> None:
        self._stage, self._what, self._most = stage, what, most
        self.sizes: list[int] = []

    def __call__(self, batch: Batch) -> StageResult:
        self.sizes.append(len(batch))
        if len(batch) > self._most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        if self._what is not None and (batch.frames[:, 0, 0] == POISON).any():
            raise self._what
        return self._stage(batch)


@pytest.fixture
def fragile(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Fragile]]:
    """Puts such a stage in the place of each stage of the engines that are made afterwards."""

    def install(what: Exception | None = None, most: int = 10**6) -> list[Fragile]:
        made: list[Fragile] = []

        class Running(RunningStages):
            def _stage(self, *arguments: Any) -> Stage:
                made.append(Fragile(super()._stage(*arguments), what, most))
                return made[-1]

        monkeypatch.setattr(pipeline, "RunningStages", Running)
        return made

    return install


def poisoned(count: int, *bad: int) -> np.ndarray:
    frames: np.ndarray = frames_of(count)
    frames[list(bad), 0, 0] = POISON
    return frames


@pytest.mark.parametrize("what", [RuntimeError("expected 4D input"), ZeroDivisionError("division by zero")])
def test_a_frame_that_breaks_a_stage_costs_that_frame(
    tmp_path: Path, fragile: Callable[..., list[Fragile]], what: Exception
) -> None:
    fragile(what)
    (data := tmp_path / "data").mkdir()
    make_old(write_cxi(data / "a.cxi", poisoned(30, 5, 6, 7, 8, 29)), 100)
    make_old(write_cxi(data / "b.cxi", frames_of(10)), 100)
    session = make_session(tmp_path / "session")
    scan(session, [data])
    assert sorted(recorded(session)["a.cxi"]) == [index for index in range(30) if index not in (5, 6, 7, 8, 29)]
    assert sorted(recorded(session)["b.cxi"]) == list(range(10))
    row = files(session)["a.cxi"]
    assert row.status == FileStatus.UNREADABLE and "5-8, 29" in row.reason
    assert "fragile" in row.reason and str(what) in row.reason
    assert counts(session).dropped == 5


def test_a_file_of_which_nothing_can_be_scored_is_set_aside_for_good(
    tmp_path: Path, fragile: Callable[..., list[Fragile]]
) -> None:
    stages = fragile(ValueError("too dark"))
    (data := tmp_path / "data").mkdir()
    make_old(write_cxi(data / "a.cxi", poisoned(400, *range(400))), 100)
    make_old(write_cxi(data / "b.cxi", frames_of(5)), 90)
    session = make_session(tmp_path / "session")
    tried = []
    for _ in range(2):
        scan(session, [data])
        tried.append(sum(len(stage.sizes) for stage in stages))
        assert files(session)["a.cxi"].status == FileStatus.UNREADABLE
        assert sorted(recorded(session)["b.cxi"]) == list(range(5))
    assert tried[0] == tried[1], "the next engine does not try it again"


def test_a_recipe_that_does_not_fit_is_reported_after_all_frames_were_handed_out(
    tmp_path: Path, fragile: Callable[..., list[Fragile]]
) -> None:
    fragile(RecipeError("Could not cut the region."))
    (data := tmp_path / "data").mkdir()
    for number in range(41):
        make_old(Path(write_cxi(data / f"{number:02}.cxi", poisoned(1, 0))), 100)
    session = make_session(tmp_path / "session")
    scan(session, [data])
    assert {row.status for row in files(session).values()} == {FileStatus.UNREADABLE}
    assert all("The recipe does not fit: Could not cut the region." in row.reason for row in files(session).values())


def test_where_memory_is_short_batches_are_halved(tmp_path: Path, fragile: Callable[..., list[Fragile]]) -> None:
    stages = fragile(most=3)
    (data := tmp_path / "data").mkdir()
    make_old(write_cxi(data / "a.cxi", frames_of(40)), 100)
    session = make_session(tmp_path / "session")
    scan(session, [data])
    assert sorted(recorded(session)["a.cxi"]) == list(range(40))
    assert files(session)["a.cxi"].status == FileStatus.COMPLETE
    sizes = [size for stage in stages for size in stage.sizes]
    assert max(sizes) > 3 and sum(size > 3 for size in sizes) <= 5, "what does not fit is remembered"


def write_odd_files(folder: Path, shape: tuple[int, int]) -> set[str]:
    """Files of odd shapes, data types and contents between good ones; returns the names of the good ones."""
    rng = np.random.default_rng(4)
    good = set[str]()

    def write(name: str, frames: np.ndarray) -> None:
        with h5py.File(folder / f"{name}.h5", "w") as file:
            file.create_dataset("images", data=frames, chunks=(1, *frames.shape[1:]))

    def write_good() -> None:
        number = len(good)
        write(f"good_{number}", rng.poisson(3, (2, *shape)).astype("u2"))
        tifffile.imwrite(folder / f"good_{number}.tif", rng.poisson(3, shape).astype("u2"))
        good.update((f"good_{number}.h5", f"good_{number}.tif"))

    write_good()
    for height, width in ((8, 8), (1, 1), (40_000, 10)):
        tifffile.imwrite(folder / f"shape_{height}.tif", rng.poisson(3, (height, width)).astype("u2"))
        write_good()
    for dtype in ("?", "b", "h", "i", "q", "B", "H", "I", "Q", "e", "f", "d", "F", "D", ">i2", ">f4", "S4"):
        write(f"type_{np.dtype(dtype).str[1:]}_{ord(dtype[0])}", rng.poisson(3, (2, *shape)).astype(dtype))
    write_good()
    write("nan", np.full((2, *shape), np.nan, "f4"))
    write("infinite", np.full((2, *shape), np.inf, "f4"))
    write("gap", np.full((2, *shape), -1, "i4"))
    write("saturated", np.full((2, *shape), 2**32 - 1, "u4"))
    with h5py.File(folder / "masked.cxi", "w") as file:
        file["cxi_version"] = 150
        file["entry_1/data_1/data"] = rng.poisson(3, (2, *shape)).astype("u2")
        file["entry_1/data_1/mask"] = np.ones(shape, "u4")
    write_good()
    for path in folder.iterdir():
        make_old(path, 100)
    return good


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("name", sorted(shipped_recipes()) if SOAK > 1 else ["sfx", "spi", "tomo"])
def test_odd_frames_between_good_ones_cost_no_other_frame(tmp_path: Path, name: str, live: bool, figure: Say) -> None:
    (data := tmp_path / "data").mkdir()
    good = write_odd_files(data, (140, 640) if name.startswith("spi") else (64, 96))
    session = Session.create(tmp_path / "session", recipe_text(name), name)
    if live:
        with engine(session, [data], patience=1.0):
            wait_until(lambda: {path.name for path in data.iterdir()} == set(files(session)))
            wait_until(lambda: all(FileStatus(row.status).is_final for row in files(session).values()))
            wait_until(lambda: session.engine_state().queue == 0 and session.engine_state().status == "running")
    else:
        scan(session, [data])
    rows = files(session)
    assert set(rows) == {path.name for path in data.iterdir()}
    for file, row in rows.items():
        if file in good:
            assert (row.status, row.done) == (FileStatus.COMPLETE, row.frames), row
        elif row.status != FileStatus.COMPLETE:
            assert row.reason
    figure(f"recipe {name}: {len(good)} good files among {len(rows)}, all scored")


UNUSABLE = "None of its pixels can be used: all are masked, gaps or not finite."


@pytest.mark.parametrize("recipe", ["spots", "lit-pixels"])
def test_frames_without_a_usable_pixel_are_listed_and_no_misses(tmp_path: Path, recipe: str) -> None:
    rng = np.random.default_rng(4)
    (data := tmp_path / "data").mkdir()
    good = rng.poisson(3, (2, 48, 64)).astype("i4")
    blank = {"nan": np.full(good.shape, np.nan, "f4"), "gap": np.full(good.shape, -1, "i4")}
    for name, bad in (*blank.items(), ("masked", good)):
        for side in ("before", "after"):
            write_cxi(data / f"{name}_{side}.h5", good)
        path = (write_cxi if bad.dtype == good.dtype else write_nxmx)(data / f"{name}.h5", bad)
        if name == "masked":  # what the mask leaves are gaps
            with h5py.File(path, "r+") as file:
                images = file["entry_1/data_1/data"]
                images[:, :20] = -1
                mask = np.ones(good.shape[1:], "u4")
                mask[:20] = 0
                file["entry_1/data_1/mask"][...] = mask
    mixed = rng.poisson(3, (90, 48, 64)).astype("f4")
    mixed[:80] = np.nan
    write_nxmx(data / "mixed.h5", mixed)
    for path in data.iterdir():
        make_old(path, 100)
    session = make_session(tmp_path / "session", f'name = "all"\n[[stages]]\nkind = "{recipe}"\n')

    scan(session, [data])

    rows, found = files(session), recorded(session)
    for name in (*blank, "masked"):
        row = rows[f"{name}.h5"]
        assert (row.status, row.done) == (FileStatus.UNREADABLE, 0)
        assert row.reason == f"2 frames cannot be scored: 0-1. {UNUSABLE}"
        for side in ("before", "after"):
            row = rows[f"{name}_{side}.h5"]
            assert (row.status, row.done) == (FileStatus.COMPLETE, 2)
    assert sorted(found["mixed.h5"]) == list(range(80, 90)), "they say nothing about the file's other frames"
    assert rows["mixed.h5"].reason == f"80 frames cannot be scored: 0-79. {UNUSABLE}"


class Gate:
    """A stage that stands still until it is opened."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.reached = threading.Event()

    def around(self, stage: Stage) -> Stage:
        gate = self

        class Slow:
            name, columns, is_network = stage.name, stage.columns, False

            def __call__(self, batch: Batch) -> StageResult:
                gate.reached.set()
                gate.open.wait()
                return stage(batch)

        return Slow()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    """Such a stage in the place of each stage of the engines that are made."""
    made = Gate()

    class Running(RunningStages):
        def _stage(self, *arguments: Any) -> Stage:
            return made.around(super()._stage(*arguments))

    monkeypatch.setattr(pipeline, "RunningStages", Running)
    yield made
    made.open.set()


def test_an_engine_in_the_middle_of_a_slow_frame_says_so_and_ends_when_asked(
    tmp_path: Path, gate: Gate, figure: Say
) -> None:
    (data := tmp_path / "data").mkdir()
    write_cxi(data / "19.cxi", frames_of(3))
    session = make_session(tmp_path / "session")
    with engine(session, [data]) as running:
        wait_until(gate.reached.is_set)
        wait_until(lambda: session.engine_state().busy_s >= 3)
        state = session.engine_state()
        assert state.busy_with == "19.cxi" and time.time() - state.heartbeat < 3
        began = time.monotonic()
        running.stop()
        wait_until(lambda: session.engine_state().status == "stopped")
        took = time.monotonic() - began
    figure(f"an engine asked to stop in the middle of a frame that takes for ever ended after {took:.1f} s")


@pytest.mark.parametrize("readers", [2, 4, 8])
def test_frames_never_overtake_their_files_with_many_readers_and_a_slow_stage(
    tmp_path: Path, gate: Gate, readers: int, monkeypatch: pytest.MonkeyPatch, figure: Say
) -> None:
    monkeypatch.setattr(pipeline, "READERS", readers)
    (data := tmp_path / "data").mkdir()
    session = make_session(tmp_path / "session")
    seconds, written, number = scaled(20, 300) / 3, 0, 0
    with GrowingCxi(data / "run.cxi") as run, engine(session, [data]):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            gate.open.clear()  # what is written meanwhile waits before the stage
            run.append(frames_of(10, first=written % 1000))
            written += 10
            write_cxi(data / f"extra_{number:04}.cxi", frames_of(2))
            number += 1
            gate.open.set()
            wait_until(lambda: session.engine_state().queue < 400)
        run.finish()
        wait_until(lambda: counts(session).frames == written + 2 * number)
        wait_until(lambda: {row.status for row in files(session).values()} == {FileStatus.COMPLETE})
    figure(f"{readers} readers, a slow stage: {written} frames of a growing file and {number} other files, each once")
    found = recorded(session)
    assert sorted(found["run.cxi"]) == list(range(written)) and len(found) == number + 1


class Senseless(Fragile):
    """A stage whose network gives a score that is no number for some frames."""

    def __call__(self, batch: Batch) -> StageResult:
        result = self._stage(batch)
        score = torch.where(batch.frames[:, 0, 0] == POISON, torch.nan, 0.5)
        return replace(result, score=score)


def test_a_score_that_is_no_number_costs_its_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Running(RunningStages):
        def _stage(self, *arguments: Any) -> Stage:
            return Senseless(super()._stage(*arguments), None, 10**6)

    monkeypatch.setattr(pipeline, "RunningStages", Running)
    (data := tmp_path / "data").mkdir()
    make_old(write_cxi(data / "a.cxi", poisoned(10, 3)), 100)
    session = make_session(tmp_path / "session")
    scan(session, [data])
    assert sorted(recorded(session)["a.cxi"]) == [index for index in range(10) if index != 3]
    assert "no finite number" in files(session)["a.cxi"].reason


def test_texts_and_numbers_of_a_file_that_cannot_be_stored_cost_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inspect = SourceInfo.from_json

    def odd(facts: dict[str, Any]) -> SourceInfo:
        info = inspect(facts)
        return replace(info, run="run \udc80", notes=("a note \udcff",), layout="\ud800")

    monkeypatch.setattr(SourceInfo, "from_json", staticmethod(odd))
    (data := tmp_path / "data").mkdir()
    make_old(write_cxi(data / "a.cxi", frames_of(3)), 100)
    session = make_session(tmp_path / "session")
    scan(session, [data])
    row = files(session)["a.cxi"]
    assert (row.done, row.run, row.notes) == (3, "run \\udc80", ("a note \\udcff",))
