from __future__ import annotations

import csv
import hashlib
import json
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from photon_triage.core.common.errors import ExportError, SessionError
from photon_triage.core.export.export import Exported, export
from photon_triage.core.export.frame_lists import event_lines
from photon_triage.core.export.list_content import Select
from photon_triage.core.frames import FrameKey
from photon_triage.core.recipe import recipe_text
from photon_triage.core.session.decisions.labels import LabelWriter, Verdict
from photon_triage.core.session.session import Session
from photon_triage.core.session.store.writer import ResultsWriter

from ..session.builders import DATASET, build_session, file_row, frame_results, key

A, B = "/data/a.cxi", "/data/b with space.cxi"


@pytest.fixture
def session(tmp_path: Path) -> Session:
    """Scores by frame of a: 0.9 rejected, 0.8 accepted, 0.2 accepted, none; of b: 0.5, 0.4."""
    session = build_session(tmp_path / "s", {A: [0.9, 0.8, 0.2, None], B: [0.5, 0.4]})
    label(session, key(A, 0), "rejected")
    label(session, key(A, 1), "accepted")
    label(session, key(A, 2), "accepted", "single")
    return session


def label(session: Session, frame: FrameKey, verdict: Verdict, category: str = "") -> None:
    journal = session.journal("ada")
    LabelWriter(journal).decide(frame, verdict, category=category)
    journal.close()


def add_file(session: Session, path: str, frames: int, **changes: object) -> None:
    writer = ResultsWriter(session.results_path)
    writer.put_file(file_row(path, frames, **changes))
    writer.close()


def listed(session: Session, select: Select, threshold: float = 0.5) -> list[str]:
    output = session.exports_path / "list.lst"
    export(session, "crystfel", select, threshold, output)
    return output.read_text().splitlines()


def table_of(session: Session, select: Select = "all") -> list[dict[str, str]]:
    output = session.exports_path / "table.csv"
    export(session, "csv", select, 0.5, output)
    with output.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def manifest_of(exported: Exported) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads(exported.manifest_path.read_text())
    return manifest


@pytest.mark.parametrize(
    ("select", "expected"),
    [
        ("accepted", [f"{A} //1", f"{A} //2"]),
        ("predicted", [f"{A} //0", f"{A} //1", f"{B} //0"]),
        ("both", [f"{A} //1", f"{A} //2", f"{B} //0"]),
        ("all", [*(f"{A} //{index}" for index in range(4)), f"{B} //0", f"{B} //1"]),
    ],
)
def test_a_crystfel_list_holds_the_selected_frames(session: Session, select: Select, expected: list[str]) -> None:
    assert listed(session, select) == expected


def test_the_threshold_moves_the_prediction(session: Session) -> None:
    assert listed(session, "predicted", 0.85) == [f"{A} //0"]


def test_every_line_splits_at_its_last_space(session: Session) -> None:
    for line in listed(session, "both"):
        path, _, event = line.rpartition(" ")
        assert path in (A, B)
        assert event.startswith("//") and event[2:].isdecimal()


def test_tiff_pages_are_listed_like_frames() -> None:
    assert list(event_lines([FrameKey("/d/x.tif", "", 0), FrameKey("/d/x.tif", "", 7)])) == [
        b"/d/x.tif //0\n",
        b"/d/x.tif //7\n",
    ]


def test_a_name_that_is_not_utf8_is_listed_as_it_is_on_disk() -> None:
    assert list(event_lines([FrameKey(os.fsdecode(b"/d/\xe9.h5"), "/x", 0)])) == [b"/d/\xe9.h5 //0\n"]


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/d/a\nb.h5", "line break"),
        ("/d/a\rb.h5", "line break"),
        ("/d/a\x1b[2Jb.h5", "control character"),
        ("/d/a\x85b.h5", "control character"),
        ("relative.h5", "not absolute"),
        ("/" + "é" * 510, "1026 bytes, and must take less than 1023"),
        ("/d/\ud800.h5", "cannot be written"),
    ],
)
def test_a_name_that_no_line_can_carry_is_refused(path: str, reason: str) -> None:
    with pytest.raises(ExportError, match=reason):
        list(event_lines([FrameKey(path, "/x", 0)]))


def test_a_line_just_under_the_limit_is_written() -> None:
    path = "/" + "a" * (1022 - len("/ //0\n"))
    (line,) = event_lines([FrameKey(path, "/x", 0)])
    assert len(line) == 1022
    with pytest.raises(ExportError, match="1023 bytes"):
        list(event_lines([FrameKey(path + "a", "/x", 0)]))


def test_a_refused_name_leaves_no_file_behind(tmp_path: Path) -> None:
    session = build_session(tmp_path / "s", {"/d/a\nb.cxi": [0.9]})
    with pytest.raises(ExportError, match="line break"):
        export(session, "crystfel", "predicted", 0.5, tmp_path / "out.lst")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s"]


@pytest.mark.parametrize(
    ("select", "expected"),
    [
        ("accepted", [(A, "1"), (A, "2")]),
        ("both", [(A, "1"), (A, "2"), (B, "0")]),
        ("all", [(A, "0"), (A, "1"), (A, "2"), (A, "3"), (B, "0"), (B, "1")]),
    ],
)
def test_a_table_holds_the_selected_frames(session: Session, select: Select, expected: list[tuple[str, str]]) -> None:
    assert [(row["path"], row["index"]) for row in table_of(session, select)] == expected


def test_hits_by_spots_are_predicted_too(tmp_path: Path) -> None:
    session = build_session(tmp_path / "s", {A: [0.9, 0.2]}, recipe="sfx")
    assert listed(session, "predicted") == [f"{A} //0"]


def test_the_table_holds_score_label_measures_and_origin(session: Session) -> None:
    row = table_of(session)[2]
    assert list(row) == [
        *("path", "dataset", "index", "run", "score", "verdict", "class", "who", "time"),
        *("photons", "simulated"),
    ]
    assert [row[name] for name in ("dataset", "run", "score", "verdict", "class", "who", "photons", "simulated")] == [
        *(DATASET, "r0001", "0.2", "accepted", "single", "ada", "20.0", "0")
    ]
    assert row["time"].endswith("Z")


def test_a_frame_without_score_or_label_has_empty_cells(session: Session) -> None:
    row = table_of(session)[3]
    assert (row["score"], row["verdict"], row["who"], row["time"]) == ("", "", "", "")


def test_a_formula_in_a_table_is_quoted(tmp_path: Path) -> None:
    session = build_session(tmp_path / "s", {A: [0.9]}, run="=HYPERLINK(1)")
    assert table_of(session)[0]["run"] == "'=HYPERLINK(1)"


def test_the_manifest_says_where_the_list_comes_from(session: Session) -> None:
    exported = export(session, "crystfel", "both", 0.5, session.exports_path / "list.lst")
    manifest = manifest_of(exported)
    assert exported.manifest_path == session.exports_path / "list.lst.json"
    assert exported.written == manifest["written"] == 3
    expected = {
        "format": "crystfel",
        "select": "both",
        "threshold": 0.5,
        "version": version("photon-triage"),
        "recipe": {"name": "spi", "sha256": hashlib.sha256(recipe_text("spi").encode()).hexdigest()},
        "models": [{"name": "hitnet-test", "frames": 5}],
        "labels": {
            "accepted": 2,
            "rejected": 1,
            "skipped": 0,
            "conflicts": 0,
            "of_frames_not_read": 0,
            "of_changed_frames": 0,
        },
        "complete": True,
        "simulated": False,
    }
    assert {name: manifest[name] for name in expected} == expected
    assert "note" not in manifest


def test_the_manifest_counts_what_is_not_in_the_list(session: Session) -> None:
    add_file(session, "/data/broken.cxi", 7, status="unreadable", reason="truncated file")
    add_file(session, "/data/late.cxi", 5, status="reading")
    exported = export(session, "csv", "both", 0.5, session.exports_path / "t.csv", incomplete=True)
    manifest = manifest_of(exported)
    assert manifest["frames"] == {"seen": 18, "processed": 6, "pending": 5, "dropped": 7, "hits": 5}
    assert manifest["files"] == {
        "seen": 4,
        "waiting": 0,
        "still_growing": 1,
        "unreadable": 1,
        "missing": 0,
        "noted": 0,
    }
    assert manifest["unreadable"] == [{"path": "/data/broken.cxi", "reason": "truncated file", "frames_lost": 7}]
    assert manifest["complete"] is False


def test_a_label_of_a_frame_that_was_never_read_is_counted_not_listed(session: Session) -> None:
    label(session, key("/data/other.cxi", 0), "accepted")
    exported = export(session, "crystfel", "accepted", 0.5, session.exports_path / "list.lst")
    assert exported.written == 2
    assert manifest_of(exported)["labels"]["of_frames_not_read"] == 1


def test_simulated_data_are_said_to_be_so(tmp_path: Path) -> None:
    session = build_session(tmp_path / "s", {A: [0.9]}, simulated=True)
    manifest = manifest_of(export(session, "crystfel", "predicted", 0.5, tmp_path / "list.lst"))
    assert manifest["simulated"] is True and "simulation" in manifest["note"]
    assert (tmp_path / "list.lst").read_text() == f"{A} //0\n"
    assert table_of(session)[0]["simulated"] == "1"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"status": "reading"}, "3 frames are still unread"),
        ({"status": "waiting", "done": 3}, "1 files are waited for"),
    ],
)
@pytest.mark.parametrize("list_format", ["crystfel", "csv"])
def test_a_session_with_unread_frames_is_refused(
    session: Session, list_format: str, changes: dict[str, object], reason: str
) -> None:
    add_file(session, "/data/late.cxi", 3, **changes)
    output = session.exports_path / "list"
    with pytest.raises(ExportError, match=reason):
        export(session, list_format, "both", 0.5, output)
    assert not output.exists()
    assert export(session, list_format, "both", 0.5, output, incomplete=True).path.exists()


def test_a_session_of_which_nothing_is_known_is_refused(tmp_path: Path) -> None:
    session = build_session(tmp_path / "s", {})
    with pytest.raises(ExportError, match="no frame of it has been read"):
        export(session, "csv", "both", 0.5, tmp_path / "t.csv", incomplete=True)


def test_a_recipe_that_scores_nothing_predicts_nothing(tmp_path: Path) -> None:
    session = build_session(tmp_path / "s", {A: [None, None]}, recipe="spi-presort")
    label(session, key(A, 1), "accepted")
    with pytest.raises(ExportError, match="recipe spi-presort has no stage that gives a score"):
        export(session, "crystfel", "predicted", 0.5, tmp_path / "list.lst")
    assert listed(session, "both") == [f"{A} //1"]


def test_a_session_without_an_engine_is_refused(tmp_path: Path) -> None:
    session = Session.create(tmp_path / "s", recipe_text("spi"), "spi")
    with pytest.raises(SessionError, match="no engine has run there"):
        export(session, "csv", "both", 0.5, tmp_path / "t.csv")


def test_an_old_list_is_replaced_whole(session: Session) -> None:
    output = session.exports_path / "list.lst"
    output.write_text("old\n" * 100)
    export(session, "crystfel", "accepted", 0.5, output)
    assert output.read_text() == f"{A} //1\n{A} //2\n"
    assert sorted(path.name for path in session.exports_path.iterdir()) == ["list.lst", "list.lst.json"]


def test_an_old_list_stays_when_the_disk_is_full(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    output = session.exports_path / "list.lst"
    output.write_text("old\n")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ExportError, match="No space left"):
        export(session, "crystfel", "accepted", 0.5, output)
    assert [path.name for path in session.exports_path.iterdir()] == ["list.lst"]
    assert output.read_text() == "old\n"


def test_a_folder_that_is_not_there_is_said(session: Session, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="No such file or directory"):
        export(session, "csv", "both", 0.5, tmp_path / "none" / "t.csv")


def test_frames_read_later_stand_in_their_place(tmp_path: Path) -> None:
    session = build_session(tmp_path / "s", {B: [0.9]})
    writer = ResultsWriter(session.results_path)
    writer.put_frames(writer.put_file(file_row(A, 1)), frame_results([0.9]), now=200.0)
    writer.close()
    assert listed(session, "predicted") == [f"{A} //0", f"{B} //0"]
