from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from photon_triage.core.frames import Geometry
from photon_triage.core.session.state import FileStatus
from photon_triage.core.session.store.reader import ResultsReader
from photon_triage.core.session.store.rows import FileRow, FrameResult
from photon_triage.core.session.store.runs import PLACE
from photon_triage.core.session.store.writer import ResultsWriter


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[ResultsWriter]:
    made = ResultsWriter(tmp_path / "results.db")
    yield made
    made.close()


@pytest.fixture
def reader(writer: ResultsWriter) -> Iterator[ResultsReader]:
    made = ResultsReader(writer.path)
    yield made
    made.close()


def add_file(writer: ResultsWriter, name: str, run: str, frames: int = 0) -> int:
    return writer.put_file(
        FileRow(
            0, name, "/d", run, "nexus", 8, 8, "u2", Geometry(), False, frames, 0, FileStatus.READING, "", 0, 0, 0.0
        )
    )


def frames(first: int, hits: str, lit: float | None = None) -> list[FrameResult]:
    """A frame a letter, "h" for a hit."""
    return [
        FrameResult(
            first + place, 1, kind == "h", 0.5 if kind == "h" else None,
            measures={"lit": float(first + place) if lit is None else lit},
        )
        for place, kind in enumerate(hits)
    ]  # fmt: skip


def test_runs_are_counted_as_frames_come_and_the_newest_stands_first(
    writer: ResultsWriter, reader: ResultsReader
) -> None:
    one, two = add_file(writer, "/a.h5", "r1", 4), add_file(writer, "/b.h5", "r2", 3)
    tally = reader.run_tally()
    writer.put_frames(one, frames(0, "hh-"), 100.0)
    assert [(row.run, row.frames, row.hits, row.scored, row.waiting) for row in tally.rows(0)] == [("r1", 3, 2, 2, 1)]
    writer.put_frames(two, frames(0, "-h-"), 200.0)
    writer.put_frames(one, frames(3, "-"), 150.0)
    assert [(row.run, row.frames, row.hits, row.waiting) for row in tally.rows(0)] == [("r2", 3, 1, 0), ("r1", 4, 2, 0)]
    assert tally.rows(0)[1].first_seen == 100.0 and tally.rows(0)[1].last_seen == 150.0


def test_frames_that_were_forgotten_leave_their_run(writer: ResultsWriter, reader: ResultsReader) -> None:
    file_id = add_file(writer, "/a.h5", "r1")
    writer.put_frames(file_id, frames(0, "hh-"), 100.0)
    tally = reader.run_tally()
    assert tally.rows("before")[0].frames == 3
    writer.forget_frames(file_id)
    writer.put_frames(file_id, frames(0, "-"), 110.0)
    assert [(row.frames, row.hits) for row in tally.rows("after")] == [(1, 0)]


@pytest.mark.parametrize("name", ["lit", PLACE])
def test_a_hit_rate_against_a_number_follows_what_comes(
    writer: ResultsWriter, reader: ResultsReader, name: str
) -> None:
    file_id = add_file(writer, "/a.h5", "r1")
    writer.put_frames(file_id, frames(0, "-" * 50 + "h" * 51), 100.0)
    tally = reader.rate_tally(name)
    bars = tally.bars(0)
    assert sum(bar.frames for bar in bars) == 101 and sum(bar.hits for bar in bars) == 51
    assert bars[0].percent == 0 and bars[-1].percent == 100 and bars[0].low == 1 and bars[-1].high == pytest.approx(99)
    writer.put_frames(file_id, frames(500, "--"), 101.0)
    assert tally.bars(0)[-1].frames == bars[-1].frames + 2, "what lies outside counts in the outermost"


def test_a_number_that_no_frame_has_makes_no_bars(writer: ResultsWriter, reader: ResultsReader) -> None:
    writer.put_frames(add_file(writer, "/a.h5", "r1"), frames(0, "h-"), 100.0)
    assert reader.rate_tally("diameter_nm").bars(0) == ()
    assert reader.recorded_numbers() == ["lit"]
