"""Labels of frames that have changed since they were given: no training learns from them."""

from __future__ import annotations

from pathlib import Path

import pytest

from photon_triage.core.common.errors import TrainingError
from photon_triage.core.session.decisions.labels import LabelWriter
from photon_triage.core.session.session import Session
from photon_triage.core.session.store.rows import FrameResult
from photon_triage.core.session.store.writer import ResultsWriter
from photon_triage.core.training.data.sources import CHANGED, DEFAULT_SOURCES, chosen_labels
from photon_triage.core.training.loop.runs import TrainingRun

from ...session.builders import build_session, file_row, key

A = "/data/a.cxi"
LATER = 4e9


@pytest.fixture
def session(tmp_path: Path) -> Session:
    """Three accepted frames."""
    session = build_session(tmp_path / "s", {})
    writer = ResultsWriter(session.results_path)
    writer.put_frames(writer.put_file(file_row(A, 3)), hits("a", "b", "c"), 1.0)
    writer.close()
    decide(session, {0: "a", 1: "b", 2: "c"})
    return session


def hits(*digests: str) -> list[FrameResult]:
    return [FrameResult(place, 3, True, 0.9, "m", digest=digest) for place, digest in enumerate(digests)]


def decide(session: Session, digests: dict[int, str]) -> None:
    journal = session.journal()
    for index, digest in digests.items():
        LabelWriter(journal).decide(key(A, index), "accepted", digest=digest)
    journal.close()


def change(session: Session, *digests: str) -> None:
    writer = ResultsWriter(session.results_path)
    writer.replace_frames(1, hits(*digests), LATER)
    writer.close()


def begun(session: Session, folder: Path) -> TrainingRun:
    """A training that goes on, where one of that folder was begun."""
    folder.mkdir(exist_ok=True)
    goes_on = (folder / "labels.csv").exists()
    run = TrainingRun(folder, {})
    run.goes_on = goes_on
    return run


def test_they_are_left_out_and_counted(session: Session, tmp_path: Path) -> None:
    change(session, "A")
    chosen = chosen_labels(session, begun(session, tmp_path / "t"), DEFAULT_SOURCES)
    assert {label.key for label in chosen.labels} == {key(A, 1), key(A, 2)}
    assert chosen.left_out == {CHANGED: 1}


def test_where_all_have_changed_it_is_said_what_to_do(session: Session, tmp_path: Path) -> None:
    change(session, "A", "B", "C")
    with pytest.raises(TrainingError, match=r"3 of changed frames.*then changed"):
        chosen_labels(session, begun(session, tmp_path / "t"), DEFAULT_SOURCES)


def test_a_training_whose_frames_changed_meanwhile_does_not_go_on(session: Session, tmp_path: Path) -> None:
    folder = tmp_path / "t"
    assert len(chosen_labels(session, begun(session, folder), DEFAULT_SOURCES).labels) == 3
    kept = (folder / "labels.csv").read_text()
    for _ in range(2):
        run = TrainingRun(folder, {})
        (folder / "labels.csv").write_text(kept)
        run.goes_on = True
        change(session, "A")
        with pytest.raises(TrainingError, match=r"1 of the frames that it learns from have changed.*--anew"):
            chosen_labels(session, run, DEFAULT_SOURCES)
        decide(session, {0: "A"})  # deciding it again does not make the old verdict one of the new bytes
