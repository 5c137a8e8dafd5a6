from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from photon_triage.core.candidates import Candidate
from photon_triage.core.common.errors import SourceError
from photon_triage.core.frames import FrameKey
from photon_triage.core.session.store.filters import ListFilter, Range
from photon_triage.core.session.store.frames import read_pixels
from photon_triage.core.session.store.reader import ResultsReader
from photon_triage.core.session.store.rows import FrameResult
from photon_triage.core.session.store.writer import ResultsWriter
from photon_triage.core.sources import FrameReader

from ...export.builders import frame_session, write_frames
from ..builders import file_row, key

A, B = "/data/a.h5", "/data/b.h5"


@pytest.fixture
def reader(tmp_path: Path) -> ResultsReader:
    """Two files, recorded in turns and the second one first: four frames of b, three of a."""
    writer = ResultsWriter(tmp_path / "results.db")
    ids = {path: writer.put_file(file_row(path, 4, run=path[-4:-3])) for path in (B, A)}
    for path, index, score in (
        (B, 1, 0.9),
        (A, 2, None),
        (B, 0, 0.2),
        (A, 0, 0.5),
        (B, 3, None),
        (A, 1, 0.7),
        (B, 2, 0.6),
    ):
        at = [Candidate(9, 9, 0.4), Candidate(3, 8, 0.8)] if (path, index) == (A, 1) else []
        result = FrameResult(index, 2, score is not None, score, "m" if score else None, candidates=tuple(at))
        writer.put_frames(ids[path], [result], now=float(index))
    writer.close()
    return ResultsReader(tmp_path / "results.db")


def places(rows: Sequence[FrameKey]) -> list[tuple[str, int]]:
    return [(each.file[-4], each.index) for each in rows]


def test_rows_are_found_by_their_keys_alone(reader: ResultsReader) -> None:
    wanted = [key(B, 2), key(A, 0), key("/data/other.h5", 0), key(A, 3), FrameKey(A, "/other", 1), key(A, 0).at(1, 1)]
    found = reader.frames().rows(wanted)
    assert {of: (row.key, row.score) for of, row in found.items()} == {
        key(B, 2): (key(B, 2), 0.6), key(A, 0): (key(A, 0), 0.5)
    }  # fmt: skip
    assert reader.frames().scores(wanted[:4]) == {key(B, 2): 0.6, key(A, 0): 0.5}


def test_a_name_that_is_no_text_is_of_no_row(reader: ResultsReader) -> None:
    assert reader.frames().rows([key("/data/\udcff.h5", 0), key("/data/\0", 1)]) == {}


def test_rows_come_file_by_file_in_the_order_of_their_keys(reader: ResultsReader) -> None:
    keys = [row.key for row in reader.frames().select()]
    assert keys == sorted(keys)
    assert places(keys) == [("a", 0), ("a", 1), ("a", 2), ("b", 0), ("b", 1), ("b", 2), ("b", 3)]
    assert places([row.key for row in reader.all_frames()])[:3] == [("b", 1), ("a", 2), ("b", 0)]


def test_a_filter_selects_and_keys_are_added_to_what_it_selects(reader: ResultsReader) -> None:
    frames, best = reader.frames(), ListFilter(score=Range(low=0.6))
    assert places([row.key for row in frames.select(best)]) == [("a", 1), ("b", 1), ("b", 2)]
    assert places([row.key for row in frames.select(best, [key(A, 2), key(B, 1)])]) == [
        ("a", 1), ("a", 2), ("b", 1), ("b", 2)
    ]  # fmt: skip
    assert places([row.key for row in frames.select(best, [key(A, 2)], files=[B])]) == [("b", 1), ("b", 2)]
    assert places([row.key for row in frames.select(None, [key(B, 3)])]) == [("b", 3)]
    assert places([row.key for row in frames.select(ListFilter(words=("b.h5",)), [key(A, 2)])])[:2] == [
        ("a", 2), ("b", 0)
    ]  # fmt: skip


def test_candidates_are_in_the_order_of_their_points_and_found_by_the_nearest(reader: ResultsReader) -> None:
    candidates = reader.frames("candidates")
    assert [row.key.point for row in candidates.select()] == [(3, 8), (9, 9)]
    asked = [key(A, 1).at(4, 8), key(A, 1).at(30, 30), key(B, 1).at(3, 8), key(A, 1)]
    assert {of: row.score for of, row in candidates.nearest(asked, 5.0).items()} == {asked[0]: 0.8}
    assert list(candidates.rows([key(A, 1).at(9, 9), key(A, 1).at(9, 8)])) == [key(A, 1).at(9, 9)]


def test_columns_tell_the_same_as_rows(reader: ResultsReader) -> None:
    columns, rows = reader.frames().columns(), {row.id: row for row in reader.frames().select()}
    assert len(columns.id) == len(rows)
    for place, id_ in enumerate(columns.id.tolist()):
        score = columns.score[place]
        assert columns.key(place) == rows[id_].key and rows[id_].score == (None if np.isnan(score) else score)
    assert reader.frames().columns(ListFilter(score=Range(low=0.6))).score.tolist() == [0.9, 0.7, 0.6]
    assert reader.frames("candidates").columns().points is not None


def test_files_and_frames_are_counted(reader: ResultsReader) -> None:
    assert reader.frames().counts() == {A: 3, B: 4} and reader.frames("candidates").counts() == {A: 2}
    assert reader.frames().files() == {A, B} and reader.frames("candidates").files() == {A}
    assert reader.frames().count() == 7


def test_the_models_are_counted_also_where_one_stands_beside_frames_without_a_score(tmp_path: Path) -> None:
    writer = ResultsWriter(tmp_path / "results.db")
    results = [FrameResult(0, 2, True, 0.5, "first"), FrameResult(1, 1, True, None, "second")]
    writer.put_frames(writer.put_file(file_row(A, 2)), results, now=1.0)
    writer.close()
    assert ResultsReader(tmp_path / "results.db").scoring_models() == {"first": 1}


def test_a_snapshot_does_not_change_while_the_engine_records(tmp_path: Path) -> None:
    writer = ResultsWriter(tmp_path / "results.db")
    file_id = writer.put_file(file_row(A, 4))
    writer.put_frames(file_id, [FrameResult(0, 1, True)], now=1.0)
    reader = ResultsReader(tmp_path / "results.db")
    with reader.snapshot():
        assert reader.frames().count() == 1
        writer.put_frames(file_id, [FrameResult(1, 1, True)], now=1.0)
        assert reader.frames().count() == 1
    assert reader.frames().count() == 2
    writer.close()


def test_pixels_are_read_a_file_at_a_time_in_the_order_of_the_keys(tmp_path: Path) -> None:
    paths = [tmp_path / "a.cxi", tmp_path / "b.cxi"]
    stored = {str(path): write_frames(path) for path in paths}
    frame_session(tmp_path / "s", {path: [0.5] * 6 for path in paths})
    keys = [key(str(paths[1]), 4), key(str(paths[0]), 2), key(str(paths[1]), 1), key(str(paths[1]), 5)]
    with FrameReader() as reader:
        parts = list(read_pixels(reader, keys, at_once=2))
    assert [part.keys for part in parts] == [(keys[0], keys[2]), (keys[3],), (keys[1],)]
    for part in parts:
        for each, pixels in zip(part.keys, part.pixels, strict=True):
            np.testing.assert_array_equal(pixels, stored[each.file][each.index])


def test_frames_that_cannot_be_read_are_told_and_the_others_follow(tmp_path: Path) -> None:
    path = tmp_path / "a.cxi"
    write_frames(path)
    keys, failed = [key(str(tmp_path / "gone.cxi"), 0), key(str(path), 1)], list[FrameKey]()
    with FrameReader() as reader:
        parts = list(read_pixels(reader, keys, failed=lambda some, _: failed.extend(some)))
        assert [part.keys for part in parts] == [(keys[1],)] and failed == [keys[0]]
        with pytest.raises(SourceError):
            list(read_pixels(reader, keys))
