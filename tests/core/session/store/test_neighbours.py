"""The frames beside one in its run."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

import pytest

from photon_triage.core.session.store.reader import ResultsReader
from photon_triage.core.session.store.rows import FrameResult

from ....tui.fake_session import FakeSession, make_session


@pytest.fixture
def runs(tmp_path: Path) -> FakeSession:
    """Two files of one run and one of another; of the first, frame 2 has not been recorded."""
    fake = make_session(tmp_path)
    assert fake.writer is not None
    for name, run, indices in (("b_1.h5", "b", (0, 1)), ("a_2.h5", "a", (0, 1, 2)), ("a_1.h5", "a", (0, 1, 3))):
        file_id = fake.add_file(name, run=run)
        fake.writer.put_frames(file_id, [FrameResult(index, 1, index % 2 == 0) for index in indices], time.time())
    return fake


def beside(fake: FakeSession, name: str, index: int, count: int) -> list[tuple[str, int]]:
    """Names and indices of a frame and its neighbours."""
    with closing(ResultsReader(fake.session.results_path)) as reader:
        here = reader.frames().rows([fake.key(index, name)])[fake.key(index, name)]
        return [(Path(row.key.file).name, row.key.index) for row in reader.neighbours(here.id, count)]


def test_neighbours_are_frames_of_any_kind_in_the_order_of_the_file(runs: FakeSession) -> None:
    assert beside(runs, "a_2.h5", 1, 1) == [("a_2.h5", 0), ("a_2.h5", 1), ("a_2.h5", 2)]


def test_frames_that_were_not_recorded_are_passed_over(runs: FakeSession) -> None:
    assert beside(runs, "a_1.h5", 1, 1) == [("a_1.h5", 0), ("a_1.h5", 1), ("a_1.h5", 3)]


def test_a_run_goes_on_in_its_next_file_and_ends_where_it_ends(runs: FakeSession) -> None:
    assert beside(runs, "a_1.h5", 3, 2) == [("a_1.h5", 0), ("a_1.h5", 1), ("a_1.h5", 3), ("a_2.h5", 0), ("a_2.h5", 1)]
    assert beside(runs, "a_2.h5", 0, 1) == [("a_1.h5", 3), ("a_2.h5", 0), ("a_2.h5", 1)]
    assert beside(runs, "a_1.h5", 0, 3)[0] == ("a_1.h5", 0)
    assert beside(runs, "b_1.h5", 0, 9) == [("b_1.h5", 0), ("b_1.h5", 1)]


def test_a_frame_that_is_not_there_has_none(runs: FakeSession) -> None:
    with closing(ResultsReader(runs.session.results_path)) as reader:
        assert reader.neighbours(4711, 2) == []
