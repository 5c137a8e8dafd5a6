"""Selections of frames and tables, read back by their readers or by the rules of these."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas
import pyarrow as arrow
import pyarrow.csv
import pyarrow.parquet
import pytest

from photon_triage.core.common.errors import ExportError
from photon_triage.core.session.session import Session

from ..session.builders import build_session, key
from .builders import frame_session, label, write_list

A, B = "/data/a.cxi", "/data/b.cxi"


@pytest.fixture
def session(tmp_path: Path) -> Session:
    """Scores by frame of a: 0.9 rejected, 0.8, 0.2 accepted, 0.1, none."""
    session = build_session(tmp_path / "s", {A: [0.9, 0.8, 0.2, 0.1, None]})
    label(session, key(A, 0), "rejected")
    label(session, key(A, 2), "accepted", "=single")
    return session


def as_h5toemc_reads(path: Path, frames: int) -> list[int]:
    """The frames that h5toemc.py takes from a selection for one data set, by the rule of its get_indices."""
    found = np.loadtxt(path, dtype="i4")
    if found.shape[0] == frames and found.max() < 2:
        found = np.where(found == 1)[0]
    return [int(index) for index in found[(found >= 0) & (found < frames)]]


@pytest.mark.parametrize("list_format", ["dragonfly", "dragonfly-vector"])
def test_dragonfly_takes_the_selected_frames(session: Session, tmp_path: Path, list_format: str) -> None:
    done, _ = write_list(session, list_format, tmp_path / "sel.txt")
    assert as_h5toemc_reads(done.path, 5) == [1, 2]


def test_a_vector_has_a_number_for_each_frame(session: Session, tmp_path: Path) -> None:
    done, _ = write_list(session, "dragonfly-vector", tmp_path / "sel.txt")
    assert done.path.read_text() == "0\n1\n1\n0\n0\n"


@pytest.mark.parametrize(
    ("scores", "reason"), [([0.9, 0.1, 0.1], "fails on a list of one index"), ([0.9, 0.8], "for a 0/1 vector")]
)
def test_indices_that_dragonfly_would_misread_are_refused(tmp_path: Path, scores: list[float], reason: str) -> None:
    session = build_session(tmp_path / "s", {A: scores})
    with pytest.raises(ExportError, match=f"{reason}.*dragonfly-vector"):
        write_list(session, "dragonfly", tmp_path / "sel.txt")
    done, _ = write_list(session, "dragonfly-vector", tmp_path / "sel.txt")
    assert as_h5toemc_reads(done.path, len(scores)) == [i for i, score in enumerate(scores) if score > 0.5]


def test_a_file_of_one_frame_is_no_vector(tmp_path: Path) -> None:
    session = build_session(tmp_path / "s", {A: [0.9]})
    with pytest.raises(ExportError, match="holds one frame"):
        write_list(session, "dragonfly-vector", tmp_path / "sel.txt")


def test_a_simulated_selection_says_so_where_it_is_skipped(tmp_path: Path) -> None:
    session = build_session(tmp_path / "s", {A: [0.9, 0.8, 0.1]}, simulated=True)
    done, _ = write_list(session, "dragonfly", tmp_path / "sel.txt")
    assert "# Simulated data" in done.path.read_text()
    assert as_h5toemc_reads(done.path, 3) == [0, 1]


def test_each_file_has_its_selection_in_a_folder(tmp_path: Path) -> None:
    session = build_session(tmp_path / "s", {A: [0.9, 0.8, 0.1], B: [0.1, 0.7, 0.9]})
    done, _ = write_list(session, "dragonfly", tmp_path / "selections")
    assert [as_h5toemc_reads(done.path / name, 3) for name in ("a.txt", "b.txt")] == [[0, 1], [1, 2]]


def cheetah_table(path: Path) -> pandas.DataFrame:
    """A list as its columns say: comma and space between them, # before the header."""
    names = path.read_text().splitlines()[0].lstrip("# ").split(", ")
    return pandas.read_csv(path, comment="#", header=None, names=names, skipinitialspace=True)


def test_frames_txt_has_every_frame_and_cleaned_txt_the_hits(tmp_path: Path) -> None:
    session = frame_session(tmp_path / "s", {Path(A): [0.9, 0.2, 0.7]}, simulated=True)
    done, _ = write_list(session, "cheetah", tmp_path / "lists")
    frames, hits = cheetah_table(done.path / "frames.txt"), cheetah_table(done.path / "cleaned.txt")
    assert list(frames) == ["timestamp", "event_id", "hit", "filename", "index", "num_peaks", "ave_intensity"]
    assert frames["hit"].tolist() == [1, 0, 1] and frames["index"].tolist() == [0, 1, 2]
    assert frames["event_id"].tolist() == ["//0", "//1", "//2"] and set(frames["filename"]) == {A}
    assert frames["timestamp"].tolist() == [100.0] * 3 and frames["num_peaks"].tolist() == [0, 1, 2]
    assert hits["index"].tolist() == [0, 2]
    assert "# Simulated data" in (done.path / "frames.txt").read_text()


def test_peaks_that_nobody_counted_are_not_zero(session: Session, tmp_path: Path) -> None:
    done, _ = write_list(session, "cheetah", tmp_path / "lists")
    assert set(cheetah_table(done.path / "frames.txt")["num_peaks"]) == {-1}


def test_a_name_with_a_comma_is_refused_in_comma_separated_lists(tmp_path: Path) -> None:
    session = build_session(tmp_path / "s", {"/data/a,b.cxi": [0.9]})
    with pytest.raises(ExportError, match="cannot carry a name with ,"):
        write_list(session, "cheetah", tmp_path / "lists")
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


def test_the_typed_table_becomes_parquet_with_the_types_it_says(session: Session, tmp_path: Path) -> None:
    done, manifest = write_list(session, "parquet-csv", tmp_path / "t.csv", "all")
    names = {"timestamp[us, tz=UTC]": arrow.timestamp("us", "UTC"), "bool": arrow.bool_(), "double": arrow.float64()}
    types = {
        column: names.get(kind) or arrow.type_for_alias(kind) for column, kind in manifest["details"]["columns"].items()
    }
    options = pyarrow.csv.ConvertOptions(column_types=types, strings_can_be_null=True, quoted_strings_can_be_null=True)
    table = pyarrow.csv.read_csv(done.path, convert_options=options)
    pyarrow.parquet.write_table(table, tmp_path / "t.parquet")
    back = pyarrow.parquet.read_table(tmp_path / "t.parquet")
    assert {name: back.schema.field(name).type for name in types} == types
    assert back["index"].to_pylist() == [0, 1, 2, 3, 4]
    assert back["score"].to_pylist() == [0.9, 0.8, 0.2, 0.1, None]
    assert back["verdict"].to_pylist() == ["rejected", None, "accepted", None, None]
    assert back["who"].to_pylist() == ["ada", None, "ada", None, None]
    assert back["class"].to_pylist()[2] == "'=single"
    assert back["simulated"].to_pylist() == [False] * 5


def test_the_typed_table_has_the_same_columns_whatever_is_selected(session: Session, tmp_path: Path) -> None:
    done, _ = write_list(session, "parquet-csv", tmp_path / "none.csv", "predicted")
    few = pandas.read_csv(done.path)
    done, _ = write_list(session, "parquet-csv", tmp_path / "all.csv", "all")
    assert list(few) == list(pandas.read_csv(done.path))
