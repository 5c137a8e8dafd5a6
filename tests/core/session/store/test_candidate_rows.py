"""Candidates and masks in results.db, and labels of candidates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from photon_triage.core.candidates import Candidate
from photon_triage.core.common.errors import LabelError
from photon_triage.core.session.decisions.label_files import COLUMNS, read_labels, write_labels
from photon_triage.core.session.decisions.labels import Label, LabelWriter
from photon_triage.core.session.decisions.matching import labels_of, points_against, scores_of_points
from photon_triage.core.session.store.reader import ResultsReader
from photon_triage.core.session.store.rows import ClassMap, FrameResult
from photon_triage.core.session.store.writer import ResultsWriter

from ..builders import build_session, file_row, key

A = "/data/a.tif"


def result(index: int, candidates: tuple[Candidate, ...], mask: ClassMap | None = None) -> FrameResult:
    return FrameResult(index, 2, True, 0.9, "m", measures={"foreground": 0.5}, candidates=candidates, mask=mask)


@pytest.fixture
def reader(tmp_path: Path) -> ResultsReader:
    writer = ResultsWriter(tmp_path / "results.db")
    values = np.arange(12, dtype=np.uint8).reshape(3, 4) % 3
    mask = ClassMap(values, ("background", "bone", "metal"), top=5, left=7, background=0)
    file_id = writer.put_file(file_row(A, 2))
    first = result(0, (Candidate(30, 20, 0.9), Candidate(90, 80, 0.3)), mask)
    writer.put_frames(file_id, [first, result(1, (Candidate(40, 41, 0.6),))], now=100.0)
    writer.close()
    return ResultsReader(tmp_path / "results.db")


def test_candidates_are_listed_by_score_with_their_points(reader: ResultsReader) -> None:
    listing = reader.listing("candidates")
    rows = listing.rows(ids := listing.ids())
    assert [rows[id_].key.point for id_ in ids] == [(30, 20), (40, 41), (90, 80)]
    assert [rows[id_].score for id_ in ids] == [0.9, 0.6, 0.3]
    assert rows[ids[1]].key.frame == key(A, 1) and rows[ids[1]].frame_id == 2
    assert rows[ids[0]].measures == {"foreground": 0.5, "x": 30, "y": 20}


def test_the_listing_of_frames_knows_no_candidates(reader: ResultsReader) -> None:
    assert [row.key for row in reader.frames("frames").select()] == [key(A, 0), key(A, 1)]
    assert reader.counts().candidates == 3


def test_selected_candidates_are_counted_by_their_own_score(reader: ResultsReader) -> None:
    assert reader.listing("candidates").selected_count(0.5) == 2
    assert reader.listing("frames").selected_count(0.5) == 2


def test_a_candidate_is_found_by_a_point_near_it(reader: ResultsReader) -> None:
    candidates, near, nowhere = reader.frames("candidates"), key(A, 0).at(33, 24), key(A, 1).at(30, 20)
    found = candidates.nearest([near, nowhere], radius=5.0)
    assert {of: row.key.point for of, row in found.items()} == {near: (30, 20)}
    assert not candidates.nearest([near], radius=4.9)


def test_a_mask_comes_back_as_it_was(reader: ResultsReader) -> None:
    mask = reader.mask(1)
    assert mask is not None and reader.mask(2) is None
    assert mask.values.tolist() == [[0, 1, 2, 0], [1, 2, 0, 1], [2, 0, 1, 2]]
    assert (mask.classes, mask.top, mask.left, mask.background) == (("background", "bone", "metal"), 5, 7, 0)


def test_what_another_model_finds_replaces_what_the_first_found(reader: ResultsReader, tmp_path: Path) -> None:
    before = set(reader.listing("candidates").ids())
    writer = ResultsWriter(tmp_path / "results.db")
    file_id = writer.files()[0].id
    writer.rescore(file_id, [result(0, (Candidate(31, 21, 0.7),))])
    found = reader.candidates(1)
    assert found == [Candidate(31, 21, 0.7)] and reader.mask(1) is None
    assert len(before & set(reader.listing("candidates").ids())) == 1, "ids are never given twice"


def test_a_label_of_a_candidate_names_its_point(tmp_path: Path) -> None:
    session = build_session(tmp_path / "s", {A: [0.9]})
    journal = session.journal("ada")
    writer = LabelWriter(journal)
    writer.decide(key(A, 0).at(3, 4), "accepted")
    writer.decide(key(A, 0), "rejected")
    journal.close()
    labels = session.labels().labels
    assert {each: label.verdict for each, label in labels.items()} == {
        key(A, 0).at(3, 4): "accepted",
        key(A, 0): "rejected",
    }


def test_points_go_through_a_table_and_back(tmp_path: Path) -> None:
    labels = [
        Label(key(A, 0).at(3, 4), "accepted", "ada", 100.0, "particle"),
        Label(key(A, 1), "rejected", "ada", 100.0),
    ]
    write_labels(tmp_path / "labels.csv", labels)
    assert (tmp_path / "labels.csv").read_text().splitlines()[0] == ",".join([*COLUMNS, "x", "y"])
    assert read_labels(tmp_path / "labels.csv") == labels


def test_points_between_pixels_go_to_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("file,index,verdict,x,y\na.tif,0,accepted,3.6,4.2\n")
    assert read_labels(tmp_path / "t.csv")[0].key.point == (4, 4)


@pytest.mark.parametrize("cells", ["3,", ",4", "three,4", "inf,4", "nan,4"])
def test_half_a_point_is_refused_with_its_line(tmp_path: Path, cells: str) -> None:
    (tmp_path / "t.csv").write_text(f"file,index,verdict,x,y\na.tif,0,accepted,{cells}\n")
    with pytest.raises(LabelError, match=r"line 2: got .* for x, y"):
        read_labels(tmp_path / "t.csv")


def test_a_candidate_has_the_label_of_the_point_it_stands_for() -> None:
    label = Label(key(A, 0).at(10, 10), "accepted", "ada", 1.0)
    keys = [key(A, 0).at(12, 10), key(A, 0).at(30, 30), key(A, 1).at(10, 10), key(A, 0)]
    assert labels_of(keys, {label.key: label}, radius=5) == {keys[0]: label}


def test_labelled_points_have_the_score_of_the_nearest_candidate(reader: ResultsReader) -> None:
    points = [key(A, 0).at(31, 20), key(A, 0).at(60, 60), key("/elsewhere.tif", 0).at(1, 1)]
    assert scores_of_points(points, reader, 5) == {points[0]: 0.9, points[1]: None}


def test_a_complete_table_finds_false_candidates_and_missed_objects(reader: ResultsReader) -> None:
    truth = {
        key(A, 0).at(32, 20): True,
        key(A, 1).at(200, 200): True,
        key(A, 1).at(40, 41): False,
        key("/elsewhere.tif", 0).at(1, 1): True,
    }
    comparison = points_against(truth, reader, 0.5, 5)
    confusion = comparison.confusion
    assert (confusion.tp, confusion.fp, confusion.fn, comparison.unmatched) == (1, 1, 1, 1)
