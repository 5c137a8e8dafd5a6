from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from photon_triage.core.common.errors import SessionError
from photon_triage.core.engine.events import digest
from photon_triage.core.engine.process import engine_is_running, engine_status, start_engine, stop_engine
from photon_triage.core.frames import FrameKey
from photon_triage.core.session.decisions.commands import ask_to_use
from photon_triage.core.session.decisions.labels import LabelWriter
from photon_triage.core.session.session import Session
from photon_triage.core.session.store.rows import Counts
from photon_triage.models.common.checkpoint import save
from photon_triage.models.darknet.darknet import Darknet
from tests.waiting import wait_until

from ...builders.detector_files import GrowingCxi, frames_of, write_cxi, write_simulated_tiff

LIT = """name = "lit"
[[stages]]
kind = "lit-pixels"
photon_threshold = 5
min_lit_pixels = 2
"""

CLASSIFY = LIT + '[[stages]]\nkind = "classify"\nmodel = "first"\nthreshold = 0.5\n'

CFG = """[net]
width=32
height=32
channels=1
[convolutional]
filters=6
size=3
stride=8
pad=1
activation=linear
[region]
anchors=2,2
classes=1
coords=4
num=1
softmax=1
"""


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    made = Session.create(tmp_path / "session", LIT, "lit")
    yield made
    stop_engine(made)


def counts(session: Session) -> Counts:
    if not session.results_path.exists():
        return Counts()
    reader = session.results()
    try:
        return reader.counts()
    finally:
        reader.close()


def add_model(session: Session, name: str, bias: float) -> None:
    """A model that gives every frame the same score, the logistic of `bias`."""
    model = Darknet.from_cfg(CFG)
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    with torch.no_grad():
        next(p for n, p in model.named_parameters() if n.endswith("bias"))[4] = bias
    save(session.models_path / f"{name}.safetensors", model, {"name": name})


def test_a_scan_ends_with_every_frame_counted_once(session: Session, tmp_path: Path) -> None:
    write_cxi(tmp_path / "run_0001.cxi", frames_of(9))
    (tmp_path / "broken.h5").write_bytes(b"no HDF5 at all" * 100)
    assert start_engine(session, [tmp_path], once=True, patience=1).wait(60) == 0
    found = counts(session)
    assert (found.frames, found.files, found.unreadable, found.pending) == (9, 2, 1, 0)
    assert found.hits == 5, "frames 4 to 8 hold more than one pixel of 5 counts and more"
    reader = session.results()
    broken = next(row for row in reader.files() if row.path.endswith("broken.h5"))
    assert broken.status == "unreadable" and broken.reason
    frames = {row.key.index: row for row in reader.all_frames()}
    reader.close()
    assert sorted(frames) == list(range(9))
    assert frames[8].hit and frames[8].digest and not frames[0].hit and frames[0].digest is None
    assert engine_status(session).status == "finished"


def test_a_second_scan_counts_nothing_twice_and_takes_what_is_new(session: Session, tmp_path: Path) -> None:
    write_cxi(tmp_path / "a.cxi", frames_of(4))
    for expected in (4, 4):
        assert start_engine(session, [tmp_path], once=True, patience=1).wait(60) == 0
        assert counts(session).frames == expected
    write_cxi(tmp_path / "b.cxi", frames_of(3))
    (tmp_path / "link.cxi").symlink_to(tmp_path / "a.cxi")
    assert start_engine(session, [tmp_path], once=True, patience=1).wait(60) == 0
    assert counts(session).frames == 7


def test_killed_engines_lose_nothing_and_count_nothing_twice(session: Session, tmp_path: Path) -> None:
    labels = LabelWriter(session.journal())
    written = 0
    with GrowingCxi(tmp_path / "run.cxi") as run:
        for round_ in range(3):
            engine = start_engine(session, [tmp_path])
            for _ in range(3):
                run.append(frames_of(15, first=written))
                written += 15
            labels.decide(FrameKey(str(tmp_path / "run.cxi"), "/entry_1/data_1/data", round_), "accepted")
            enough = written - 30
            wait_until(lambda enough=enough: counts(session).frames >= enough)  # type: ignore[misc]
            os.kill(engine.pid, signal.SIGKILL)
            engine.wait()
        run.finish()
    assert engine_status(session).status == "died"
    assert start_engine(session, [tmp_path], once=True, patience=1).wait(60) == 0
    reader = session.results()
    indices = [row.key.index for row in reader.all_frames()]
    reader.close()
    assert sorted(indices) == list(range(written)) and counts(session).frames == written
    assert len(session.labels().labels) == 3


def test_files_of_a_frame_each_are_recorded_each_under_its_own_name(session: Session, tmp_path: Path) -> None:
    frames = frames_of(30)
    for index, frame in enumerate(frames):
        write_simulated_tiff(tmp_path / f"run_0001_{index:05d}.tif", frame)
    assert start_engine(session, [tmp_path], once=True, patience=1).wait(60) == 0
    reader = session.results()
    lit = {Path(row.key.file).stem[-5:]: row.measures["lit_pixels"] for row in reader.all_frames()}
    done = {row.done for row in reader.files()}
    reader.close()
    assert lit == {f"{index:05d}": (frame >= 5).sum() for index, frame in enumerate(frames)}
    assert done == {1} and counts(session).simulated


def test_a_file_that_does_not_fit_the_recipe_is_a_row_and_the_run_goes_on(tmp_path: Path) -> None:
    recipe = LIT + "roi = { top = 0, left = 0, height = 40, width = 60 }\n"
    session = Session.create(tmp_path / "session", recipe, "region")
    write_cxi(tmp_path / "a_small.cxi", frames_of(50, shape=(32, 32)))
    write_cxi(tmp_path / "b_right.cxi", frames_of(6))
    assert start_engine(session, [tmp_path], once=True, patience=1).wait(60) == 0
    reader = session.results()
    small, right = reader.files()
    reader.close()
    assert (small.status, small.done) == ("unreadable", 0) and "columns 0..60 out of frames of 32 x 32" in small.reason
    assert (right.status, right.done) == ("complete", 6)
    assert counts(session).frames == 6 and counts(session).dropped == 50


def test_one_engine_a_session(session: Session, tmp_path: Path) -> None:
    engine = start_engine(session, [tmp_path])
    wait_until(lambda: engine_is_running(session))
    with pytest.raises(SessionError, match="another one is at work"):
        start_engine(session, [tmp_path])
    wait_until(lambda: session.engine_state().status == "running")
    assert stop_engine(session)
    assert engine.wait(10) == 0 and session.engine_state().status == "stopped"
    assert not stop_engine(session)


def test_a_running_engine_takes_another_model_and_scores_again(tmp_path: Path) -> None:
    session = Session.create(tmp_path / "session", CLASSIFY, "classify")
    add_model(session, "first", -2.0)
    add_model(session, "second", 2.0)
    write_cxi(tmp_path / "run.cxi", frames_of(30))
    engine = start_engine(session, [tmp_path])
    try:
        wait_until(lambda: counts(session).frames == 30)

        def scores() -> set[float | None]:
            reader = session.results()
            try:
                return {None if row.score is None else round(row.score, 3) for row in reader.all_frames()}
            finally:
                reader.close()

        assert scores() == {None, 0.119}
        ask_to_use(session.journal(), "second")
        wait_until(lambda: scores() == {None, 0.881})
        assert session.engine_state().model == "second" and session.engine_state().pid == engine.pid
        assert counts(session).frames == 30
        reader = session.results()
        assert reader.scoring_models() == {"second": 26} and reader.listing().selected_count(0.5) == 26
        frame = next(row for row in reader.all_frames() if row.score is not None)
        assert len(reader.detections(frame.id)) == 1 and frame.passed == 2
        reader.close()
        ask_to_use(session.journal(), "nowhere")
        wait_until(lambda: "nowhere not used" in session.engine_state().message)
        assert session.engine_state().status == "running"
    finally:
        stop_engine(session)
        engine.wait(10)


def test_an_engine_that_cannot_begin_says_why(tmp_path: Path) -> None:
    session = Session.create(tmp_path / "session", CLASSIFY, "classify")
    assert start_engine(session, [tmp_path], once=True).wait(60) == 1
    state = session.engine_state()
    assert state.status == "failed" and "'first'" in state.message
    assert "Traceback" in session.log_path.read_text()


def test_forced_bfloat16_never_ends_an_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    monkeypatch.setenv("PHOTON_TRIAGE_PRECISION", "bfloat16")
    session = Session.create(tmp_path / "session", CLASSIFY, "classify")
    add_model(session, "first", -2.0)
    write_cxi(tmp_path / "run.cxi", frames_of(9))
    assert start_engine(session, [tmp_path], once=True, patience=1).wait(60) == 0
    reader = session.results()
    scores = [round(row.score, 3) for row in reader.all_frames() if row.score is not None]
    reader.close()
    assert scores == [0.119] * 5


def test_where_a_recipe_looks_at_a_part_of_the_frames_hits_still_get_a_digest_of_all_of_it(tmp_path: Path) -> None:
    data = frames_of(30, shape=(256, 320))
    write_cxi(tmp_path / "run_0001.cxi", data)
    roi = "[prepare]\nroi = { top = 10, left = 20, height = 30, width = 40 }\n"
    part = Session.create(tmp_path / "part", LIT.replace("[[stages]]", f"{roi}[[stages]]"), "lit")

    assert start_engine(part, [tmp_path / "run_0001.cxi"], once=True, patience=1).wait(60) == 0

    reader = part.results()
    rows = {row.key.index: row for row in reader.all_frames()}
    reader.close()
    assert [rows[index].digest for index in range(30)] == [
        None if index < 4 else digest(data[index]) for index in range(30)
    ]
    assert rows[9].measures["photons"] == 30 * 40 * 10
