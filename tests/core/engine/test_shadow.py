from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from photon_triage.core.engine.events import Purpose
from photon_triage.core.engine.frame_scores import score_frames
from photon_triage.core.engine.networks import RunningStages
from photon_triage.core.engine.process import start_engine, stop_engine
from photon_triage.core.engine.recorder import Recorder
from photon_triage.core.engine.shadow import Shadow
from photon_triage.core.frames import Batch, FrameKey, Geometry
from photon_triage.core.session.decisions.labels import LabelWriter
from photon_triage.core.session.models.audit_estimate import draw_more
from photon_triage.core.session.models.comparison import judge
from photon_triage.core.session.models.promotion import promote, rollback, set_shadow
from photon_triage.core.session.session import Session
from photon_triage.core.session.store.rows import FrameResult
from photon_triage.core.session.store.writer import ResultsWriter
from photon_triage.models.cpu import packing
from photon_triage.models.inference.precision import VARIABLE
from tests.waiting import wait_until

from ...builders.detector_files import GrowingCxi, frames_of, write_cxi
from ..session.builders import DATASET, file_row
from .test_engine import CLASSIFY, add_model, counts

FIRST, SECOND = 0.119, 0.881


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    made = Session.create(tmp_path / "session", CLASSIFY, "classify")
    add_model(made, "first", -2.0)
    add_model(made, "second", 2.0)
    yield made
    stop_engine(made)


def test_operator_is_told_that_convolutions_run_slower(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert RunningStages(session, torch.device("cpu")).notices == []
    monkeypatch.setattr(packing, "packing_refusal", lambda _: "no such operator")
    (notice,) = RunningStages(session, torch.device("cpu")).notices
    assert "not used on this CPU" in notice and "no such operator" in notice
    assert RunningStages(session, torch.device("meta")).notices == []


def scores(session: Session, model: str) -> dict[int, float | None]:
    """The model's scores by index; None for frames that no network sees."""
    reader = session.results()
    try:
        keys = [row.key for row in reader.all_frames()]
        return {
            key.index: None if score is None else round(score, 3)
            for key, score in reader.scores_by(model, keys).items()
        }
    finally:
        reader.close()


def decisions(session: Session) -> list[tuple[int, float | None, int]]:
    reader = session.results()
    try:
        rows = sorted(reader.all_frames(), key=lambda row: row.key.index)
        return [(row.key.index, None if row.score is None else round(row.score, 3), row.passed) for row in rows]
    finally:
        reader.close()


def scan(session: Session, folder: Path) -> None:
    assert start_engine(session, [folder], once=True, patience=1).wait(60) == 0


def expected(frames: int, score: float) -> dict[int, float | None]:
    """Of `frames_of`: the first four frames are no hits."""
    return {index: score if index >= 4 else None for index in range(frames)}


def recorded(session: Session, path: Path, frames: int) -> Path:
    """A file whose frames are in the results, as the model in use has scored them."""
    write_cxi(path, frames_of(frames))
    writer = ResultsWriter(session.results_path)
    file_id = writer.put_file(file_row(str(path), frames, dataset=DATASET))
    results = [
        FrameResult(index, int(index >= 4), index >= 4, *((FIRST, "first") if index >= 4 else ()))
        for index in range(frames)
    ]
    writer.put_frames(file_id, results, now=100.0)
    writer.close()
    return path


def shadow_of_second(session: Session, results: Recorder, calm: bool) -> Shadow:
    running = RunningStages(session, torch.device("cpu"))
    shadow = Shadow(session, running, results, lambda: calm, lambda text, level: None)
    shadow.wish("second")
    return shadow


def test_a_shadow_scores_every_frame_that_the_network_sees_and_changes_no_decision(
    session: Session, tmp_path: Path
) -> None:
    write_cxi(tmp_path / "run.cxi", frames_of(30))
    set_shadow(session, "second")
    scan(session, tmp_path / "run.cxi")
    first = [(index, score, int(index >= 4)) for index, score in expected(30, FIRST).items()]
    assert decisions(session) == first and scores(session, "second") == expected(30, SECOND)
    state = session.engine_state()
    assert (state.model, state.shadow, state.shadow_scored) == ("first", "second", 26)


def test_a_running_engine_follows_shadow_promotion_and_rollback_and_every_score_keeps_its_model(
    session: Session, tmp_path: Path
) -> None:
    with GrowingCxi(tmp_path / "run.cxi") as run:
        run.append(frames_of(20))
        engine = start_engine(session, [tmp_path])
        try:
            wait_until(lambda: counts(session).frames == 20)
            set_shadow(session, "second")
            wait_until(lambda: session.engine_state().shadow_scored == 16)
            run.append(frames_of(10, first=20))
            run.finish()
            wait_until(lambda: scores(session, "second") == expected(30, SECOND))
            assert [score for _, score, _ in decisions(session)] == list(expected(30, FIRST).values())

            promote(session, judge(session, "first", "second"), anyway=True)
            wait_until(lambda: [score for _, score, _ in decisions(session)] == list(expected(30, SECOND).values()))
            assert scores(session, "first") == expected(30, FIRST) and scores(session, "second") == expected(30, SECOND)
            wait_until(lambda: session.engine_state().shadow is None)
            assert (session.engine_state().pid, session.engine_state().model) == (engine.pid, "second")

            rollback(session)
            wait_until(lambda: [score for _, score, _ in decisions(session)] == list(expected(30, FIRST).values()))
            assert scores(session, "second") == expected(30, SECOND)
        finally:
            stop_engine(session)
            engine.wait(10)


def test_a_shadow_that_cannot_be_used_is_said_once_and_nothing_is_asked_for(session: Session, tmp_path: Path) -> None:
    recorded(session, tmp_path / "run.cxi", 40)
    (session.models_path / "second.safetensors").write_bytes(b"no model")
    results = Recorder(ResultsWriter(session.results_path))
    said: list[str] = []
    running = RunningStages(session, torch.device("cpu"))
    shadow = Shadow(session, running, results, lambda: True, lambda text, level: said.append(text))
    for _ in range(2):
        shadow.wish("second")
        assert shadow.next_frames(()) is None and shadow.model is None
    results.close()
    assert len(said) == 1 and "second not used as a shadow" in said[0]


def test_a_frame_without_a_usable_pixel_costs_the_shadow_nothing_else(session: Session) -> None:
    results = Recorder(ResultsWriter(session.results_path))
    shadow = shadow_of_second(session, results, calm=True)
    frames = torch.from_numpy(frames_of(8).astype("f4"))
    frames[5] = float("nan")
    keys = tuple(FrameKey("a.h5", DATASET, index) for index in range(8))
    scored = shadow.look_again(Batch(keys, frames, None, Geometry()))
    results.close()
    assert [index for each in scored for index, _, _ in each.scores] == [4, 6, 7] and shadow.model == "second"


def test_the_frames_of_an_audit_come_first_then_labelled_ones_then_the_newest(session: Session, tmp_path: Path) -> None:
    path = recorded(session, tmp_path / "run.cxi", 100)
    drawn = draw_more(session, session.labels(), 0.5, 5, seed=1)
    audited = {frame.key.index for frame in drawn.frames if frame.key.index >= 4}
    labelled = next(index for index in range(10, 90) if index not in audited)
    LabelWriter(session.journal()).decide(FrameKey(str(path), DATASET, labelled), "accepted")
    results = Recorder(ResultsWriter(session.results_path))
    shadow = shadow_of_second(session, results, calm=True)
    asked = [shadow.next_frames(()) for _ in range(3)]
    results.close()
    assert [wanted and wanted.purpose for wanted in asked] == [Purpose.SHADOW] * 3
    assert [set(wanted.indices) for wanted in asked if wanted] == [audited, {labelled}, set(range(36, 100))]


def test_while_frames_wait_a_shadow_is_not_even_loaded(session: Session, tmp_path: Path) -> None:
    recorded(session, tmp_path / "run.cxi", 40)
    results = Recorder(ResultsWriter(session.results_path))
    shadow = shadow_of_second(session, results, calm=False)
    assert shadow.next_frames(()) is None and shadow.model is None
    results.close()


def test_frames_that_cannot_be_scored_are_not_asked_for_for_ever(session: Session, tmp_path: Path) -> None:
    recorded(session, tmp_path / "run.cxi", 200)
    results = Recorder(ResultsWriter(session.results_path))
    shadow = shadow_of_second(session, results, calm=True)
    asked = 0
    while shadow.next_frames(()) is not None:
        asked += 1
        assert asked < 10
    results.close()
    assert asked == 4, "196 frames, 64 at a time"


def test_of_files_that_were_read_by_turns_and_out_of_order_no_frame_is_left(session: Session, tmp_path: Path) -> None:
    writer = ResultsWriter(session.results_path)
    paths = [str(tmp_path / name) for name in ("a.cxi", "b.cxi")]
    files = [writer.put_file(file_row(path, 200, dataset=DATASET)) for path in paths]
    for start in (160, 80, 120, 0, 40):
        for file_id in files:
            scored = [FrameResult(index, 1, True, FIRST, "first") for index in range(start, start + 40)]
            writer.put_frames(file_id, scored, now=100.0)
    results = Recorder(writer)
    shadow = shadow_of_second(session, results, calm=True)
    asked: list[FrameKey] = []
    while (wanted := shadow.next_frames(())) is not None:
        asked += [FrameKey(wanted.path, wanted.dataset, index) for index in wanted.indices]
    results.close()
    assert sorted(asked) == [FrameKey(path, DATASET, index) for path in paths for index in range(200)]


def test_without_an_engine_labelled_frames_are_scored_here(session: Session, tmp_path: Path) -> None:
    path = str(recorded(session, tmp_path / "run.cxi", 10))
    keys = [FrameKey(path, DATASET, index) for index in range(10)]
    gone = FrameKey(str(tmp_path / "gone.cxi"), DATASET, 3)
    found = score_frames(session, "second", [*keys, gone], torch.device("cpu"))
    assert gone not in found
    assert {key.index: score and round(score, 3) for key, score in found.items()} == expected(10, SECOND)
