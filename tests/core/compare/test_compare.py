"""Selections from elsewhere: read in every form, matched, compared, and what they have in common written."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from photon_triage.core.common.errors import ExportError
from photon_triage.core.compare import KnownFrames, compare, load_list
from photon_triage.core.export.export import export
from photon_triage.core.export.formats import FORMATS
from photon_triage.core.recipe import recipe_text
from photon_triage.core.session.decisions.labels import LabelWriter
from photon_triage.core.session.session import Session
from photon_triage.core.session.store.rows import FrameResult
from photon_triage.core.session.store.writer import ResultsWriter
from photon_triage.tui import cli

from ..session.builders import build_session, file_row, key

A, B = "/data/a run.cxi", "/data/b.cxi"


@pytest.fixture
def session(tmp_path: Path) -> Session:
    """Scores of a: 0.9 accepted, 0.8 rejected, 0.2 accepted, 0.1; of b: 0.7, 0.4."""
    session = build_session(tmp_path / "s", {A: [0.9, 0.8, 0.2, 0.1], B: [0.7, 0.4]})
    journal = session.journal("ada")
    writer = LabelWriter(journal)
    writer.decide(key(A, 0), "accepted")
    writer.decide(key(A, 1), "rejected")
    writer.decide(key(A, 2), "accepted")
    journal.close()
    return session


def loaded(session: Session, path: Path, text: str | bytes) -> tuple[str, list[tuple[str, int]], int]:
    """Kind, frames and what did not match, of a list with this text."""
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    found = load_list(path, KnownFrames.of(session))
    return found.kind, sorted((each.file, each.index) for each in found.keys), found.unmatched


@pytest.mark.parametrize(
    ("name", "text", "kind", "expected", "unmatched"),
    [
        ("x.lst", f"{A} //0\n{B} //1\n{B} //9\n/no.cxi //0\n", "CrystFEL", [(A, 0), (B, 1)], 2),
        ("om.lst", f"{A} // 00000\n{B} // 00001\n", "CrystFEL", [(A, 0), (B, 1)], 0),
        ("stream.lst", f"{A}\tEvent: //2\n{B} Event: //0\n", "CrystFEL", [(A, 2), (B, 0)], 0),
        ("files.lst", f"{B}\n", "CrystFEL", [(B, 0), (B, 1)], 0),
        ("x.csv", f'sep=;\n"path" ; "index"\n"{A}" ; "2.0"\n', "CSV", [(A, 2)], 0),
        ("b.txt", "# of b\n1\n", "indices", [(B, 1)], 0),
        ("b.txt", "0\n1\n", "vector", [(B, 1)], 0),
        ("a run.txt", "0\r\n3\r\n7\r\n", "indices", [(A, 0), (A, 3)], 1),
        ("a run.txt", "0\n1\n0\n1\n", "vector", [(A, 1), (A, 3)], 0),
        ("x.csv", f"path,index\n{A},2\n{B},0\n", "CSV", [(A, 2), (B, 0)], 0),
        ("x.csv", f"File name;Frame;Label\n{A};2;accepted\n{B};0;rejected\n", "CSV", [(A, 2)], 0),
        ("x.csv", f"path,index,score,verdict\n{A},2,0.2,\n{B},0,0.7,rejected\n", "CSV", [(A, 2), (B, 0)], 0),
        (
            "frames.txt",
            f"# timestamp, event_id, hit, filename, index, num_peaks\n1.0, //0, 1, {A}, 0, 3\n1.0, //1, 0, {A}, 1, 3\n",
            "Cheetah",
            [(A, 0)],
            0,
        ),
        ("x.lst", "", "indices", [], 0),
    ],
)
def test_a_list_is_read_for_what_it_is(
    session: Session, tmp_path: Path, name: str, text: str, kind: str, expected: list[tuple[str, int]], unmatched: int
) -> None:
    assert loaded(session, tmp_path / name, text) == (kind, expected, unmatched)


def test_numbers_of_no_file_are_refused(session: Session, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"has 2 files.*Name it a run\.txt"):
        loaded(session, tmp_path / "x.txt", "0\n1\n")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"{A} //0\n{A}\n", "line 2: got '/data/a run.cxi', expected a path, a blank and an event"),
        ("path,index\n/a,x\n", "line 2: got 'x' for index"),
        ("what,ever\n1,2\n", "no column file and no column index"),
        (b"\x89HDF\r\n\x1a\n\0\0", "line 3: it holds a NUL character"),
        (b"\xff\xfe\x00\x01\x02", "its byte order mark says UTF-16"),
        ("path,index\n/a,1,2\n", "line 2: it has 3 cells where the header has 2"),
    ],
)
def test_what_is_no_list_is_said_with_its_line(
    session: Session, tmp_path: Path, text: str | bytes, reason: str
) -> None:
    with pytest.raises(ExportError, match=reason):
        loaded(session, tmp_path / "x.lst", text)


@pytest.mark.parametrize("list_format", ["crystfel", "csv", "parquet-csv", "dragonfly-vector", "cheetah"])
def test_what_was_exported_is_loaded_as_it_was(session: Session, tmp_path: Path, list_format: str) -> None:
    kind = FORMATS[list_format]
    output = tmp_path / ("out" if kind.each or not kind.suffix else f"out{kind.suffix}")
    export(session, list_format, "both", 0.5, output)
    known = KnownFrames.of(session, 0.5)
    path = output / "cleaned.txt" if list_format == "cheetah" else output
    assert load_list(path, known).keys == known.selected == {key(A, 0), key(A, 2), key(B, 0)}


def digest_session(folder: Path, files: Mapping[str, Sequence[tuple[float, str]]]) -> Session:
    session = Session.create(folder, recipe_text("spi"), "spi")
    writer = ResultsWriter(session.results_path)
    for path, frames in files.items():
        results = [FrameResult(i, 3, True, score, "m", digest) for i, (score, digest) in enumerate(frames)]
        writer.put_frames(writer.put_file(file_row(path, len(frames))), results, now=1.0)
    writer.close()
    return session


def test_frames_of_another_session_are_found_by_path_and_by_their_pixels(tmp_path: Path) -> None:
    here = digest_session(tmp_path / "here", {A: [(0.1, "d0"), (0.1, "d1")], B: [(0.1, "d2"), (0.1, "same")]})
    there = digest_session(
        tmp_path / "there",
        {A: [(0.9, "d0"), (0.9, "replaced")], "/moved.cxi": [(0.9, "d2"), (0.9, "elsewhere"), (0.2, "d1")]},
    )
    found = load_list(there.path, KnownFrames.of(here))
    assert found.keys == {key(A, 0), key(B, 0)}
    assert (found.kind, found.unmatched) == ("session", 2)


def test_lists_are_held_against_labels_and_each_other(session: Session, tmp_path: Path) -> None:
    (tmp_path / "x.lst").write_text(f"{A} //0\n{A} //1\n{B} //0\n")
    (tmp_path / "y.csv").write_text(f"path,index\n{A},0\n{A},2\n{B},0\n")
    known = KnownFrames.of(session, 0.5)
    found = compare(known, [load_list(tmp_path / name, known) for name in ("x.lst", "y.csv")])
    own, x, y, common = found.lists
    assert [each.selected for each in found.lists] == [3, 3, 3, 2]
    assert (x.confusion.tp, x.confusion.fp, x.confusion.fn, x.confusion.tn) == (1, 1, 1, 0)
    assert y.confusion == own.confusion and y.confusion.accuracy.value == 1.0
    assert common.confusion.precision.value == 1.0 and common.confusion.recall.value == 0.5
    pair = next(pair for pair in found.pairs if pair.first.endswith("x.lst"))
    assert (pair.confusion.tp, pair.confusion.n, pair.confusion.iou.value) == (2, 6, 0.5)
    assert found.common == {key(A, 0), key(B, 0)}


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        cli.main([*arguments, "--threshold", "0.5"])
    return int(left.value.code or 0), *capsys.readouterr()


def test_the_command_prints_the_table_and_writes_what_is_common(
    session: Session, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    x, y, out = (str(tmp_path / name) for name in ("x.lst", "y.csv", "common.lst"))
    Path(x).write_text(f"{A} //0\n{A} //1\n{B} //0\n/no.cxi //0\n")
    Path(y).write_text(f"path,index\n{A},0\n{A},2\n{B},0\n")
    code, told, _ = run(capsys, "compare", str(session.path), x, y, "--write", out)
    assert code == 0 and Path(out).read_text() == f"{A} //0\n{B} //0\n"
    assert "common to all lists" in told and "1 of 4 entries of" in told and "Wrote 2 frames" in told
    manifest: dict[str, Any] = json.loads(Path(f"{out}.json").read_text())
    assert manifest["common_to"] == [x, y] and manifest["written"] == 2
    code, told, _ = run(capsys, "compare", str(session.path), x, y, "--json")
    report = json.loads(told)
    assert [each["n"] for each in report["lists"]] == [3] * 4 and report["frames"] == 6
    assert report["lists"][1]["precision"] == 0.5 and report["lists"][1]["unmatched"] == 1
    assert len(report["pairs"]) == 3
