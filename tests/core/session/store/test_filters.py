from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from photon_triage.core.candidates import Candidate
from photon_triage.core.common.errors import UsageError
from photon_triage.core.session.store.filters import Range, parse_filter
from photon_triage.core.session.store.reader import ResultsReader
from photon_triage.core.session.store.rows import FrameResult
from photon_triage.core.session.store.writer import ResultsWriter

from ..builders import file_row


@pytest.fixture
def results(tmp_path: Path) -> Iterator[tuple[ResultsWriter, ResultsReader]]:
    """Six frames of two runs: falling scores, rising sizes, the last one a miss."""
    writer = ResultsWriter(tmp_path / "results.db")
    for name, run, start in (("/data/a.h5", "r0001", 0), ("/data/B.h5", "r0002", 3)):
        file_id = writer.put_file(file_row(name, 3, run=run))
        writer.put_frames(
            file_id,
            [
                FrameResult(
                    index, 3, True, 0.9 - 0.1 * (start + index), "first", measures={"diameter_nm": 60.0 + start + index}
                )
                if start + index < 5
                else FrameResult(index, 0, False)
                for index in range(3)
            ],
            time.time(),
        )
    reader = ResultsReader(tmp_path / "results.db")
    yield writer, reader
    reader.close()
    writer.close()


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("", [1, 2, 3, 4, 5]),
        ("run:R0002", [4, 5]),
        ("run:r0001,r0002", [1, 2, 3, 4, 5]),
        ("file:b.h5", [4, 5]),
        ("b.H5", [4, 5]),
        ("data r0001", [1, 2, 3]),
        ("score:0.65..0.85", [2, 3]),
        ("score:>0.85", [1]),
        ("score:..0.55", [5]),
        ("size:61..63", [2, 3, 4]),
        ("diameter_nm:>=63 run:r0002", [4, 5]),
        ("size:62", [3]),
        ("spots:1..", []),
        ("state:miss", [6]),
        ("state:hit score:>0.85", [1]),
        ("state:hit,miss", [1, 2, 3, 4, 5, 6]),
        ("'a b'", []),
    ],
)
def test_a_filter_keeps_what_it_says(results: tuple[ResultsWriter, ResultsReader], text: str, ids: list[int]) -> None:
    _, reader = results
    wanted = parse_filter(text)
    assert sorted(reader.listing().ids(only=wanted, hits_only=not wanted.seen)) == ids


def test_every_order_takes_a_filter(results: tuple[ResultsWriter, ResultsReader]) -> None:
    writer, reader = results
    writer.rescore(1, [FrameResult(0, 3, True, 0.1, "second"), FrameResult(1, 3, True, 0.79, "second")])
    listing, only = reader.listing(), parse_filter("run:r0001")
    assert listing.ids(order="score", only=only) == [2, 3, 1]
    assert listing.ids(order="newest", only=only) == [3, 2, 1]
    assert listing.ids(order="uncertain", near=0.72, only=only) == [3, 2, 1]
    assert listing.ids(order="disagree", only=only) == [1, 2]
    assert listing.ids(order="disagree", only=parse_filter("run:r0002")) == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("score:high", "expected a number"),
        ("score:0.9..0.1", "ends before"),
        ("size:big", "nm"),
        ("state:maybe", "states are hit, miss"),
        ("colour:red", "no field 'colour'"),
        ("class:", "nothing stands behind"),
        ('"r0142', "quotation mark"),
    ],
)
def test_what_is_not_understood_is_told_with_what_is_allowed(text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told) as refused:
        parse_filter(text)
    assert "score:0.5..0.9" in refused.value.hint


def test_labels_are_asked_for_by_state_and_class() -> None:
    found = parse_filter("state:undecided,Flagged class:Water,ice")
    assert found.decided == {"undecided", "flagged"} and found.classes == {"water", "ice"}


@pytest.mark.parametrize(
    ("text", "value"),
    [("1..2", Range(1, 2)), ("..2", Range(high=2)), (">=1e3", Range(low=1000)), ("-1..", Range(low=-1)), (
        "<=.5", Range(high=0.5))],
)  # fmt: skip
def test_ranges(text: str, value: Range) -> None:
    assert parse_filter(f"photons:{text}").measures == (("photons", value),)


@given(st.text(max_size=30))
def test_any_text_is_a_filter_or_refused(text: str) -> None:
    try:
        conditions, arguments = parse_filter(text).conditions("r.score")
    except UsageError:
        return
    assert "".join(conditions).count("?") == len(arguments)


def test_models_that_never_met_disagree_on_nothing(results: tuple[ResultsWriter, ResultsReader]) -> None:
    _, reader = results
    assert not reader.listing().has_second_scores()
    assert reader.listing().ids(order="disagree") == []


def test_the_score_of_the_former_model_stays_when_it_comes_back(results: tuple[ResultsWriter, ResultsReader]) -> None:
    writer, reader = results
    writer.rescore(1, [FrameResult(0, 3, True, 0.1, "second")])
    writer.rescore(1, [FrameResult(0, 3, True, 0.85, "first")])
    assert reader._db.execute("SELECT frame_id, score FROM scores").fetchall() == [(1, 0.1)]
    writer.rescore(1, [FrameResult(0, 3, True, 0.86, "first")])
    assert reader._db.execute("SELECT count(*) FROM scores").fetchone() == (1,)


def test_a_replaced_file_leaves_no_former_scores(results: tuple[ResultsWriter, ResultsReader]) -> None:
    writer, reader = results
    writer.rescore(1, [FrameResult(0, 3, True, 0.1, "second")])
    writer.forget_frames(1)
    assert not reader.listing().has_second_scores()


def test_candidates_disagree_by_what_the_former_model_found_near_them(
    results: tuple[ResultsWriter, ResultsReader],
) -> None:
    writer, reader = results
    file_id = writer.put_file(file_row("/data/c.tif", 1))
    before = (Candidate(10, 10, 0.9), Candidate(50, 50, 0.8))
    after = (Candidate(12, 10, 0.85), Candidate(50, 51, 0.2), Candidate(90, 90, 0.7))
    writer.put_frames(file_id, [FrameResult(0, 2, True, 0.9, "first", candidates=before)], time.time())
    writer.rescore(file_id, [FrameResult(0, 2, True, 0.85, "second", candidates=after)])
    listing = reader.listing("candidates")
    ids = listing.ids(order="disagree", radius=5)
    assert [listing.rows([id_])[id_].score for id_ in ids] == [0.7, 0.2, 0.85]


def test_a_population_holds_every_frame_also_those_that_were_refused(
    results: tuple[ResultsWriter, ResultsReader],
) -> None:
    _, reader = results
    everything = reader.frames().columns()
    assert [everything.key(place).file for place in range(6)] == ["/data/a.h5"] * 3 + ["/data/B.h5"] * 3
    assert everything.passed.tolist() == [3, 3, 3, 3, 3, 0]
    assert np.isnan(everything.score).tolist() == [False] * 5 + [True]
    assert everything.points is None


def test_an_empty_population(tmp_path: Path) -> None:
    writer = ResultsWriter(tmp_path / "empty.db")
    for unit in ("frames", "candidates"):
        assert len(ResultsReader(tmp_path / "empty.db").frames(unit).columns().score) == 0
    writer.close()
