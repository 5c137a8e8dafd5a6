from __future__ import annotations

import csv
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from photon_triage.core.common.errors import LabelError
from photon_triage.core.common.text_safety import plain_cell, quoted_cell
from photon_triage.core.frames import FrameKey, Geometry
from photon_triage.core.session.decisions.label_files import (
    COLUMNS,
    checked_frames,
    match_files,
    read_labels,
    read_table,
    write_labels,
)
from photon_triage.core.session.decisions.labels import VERDICTS, Label
from photon_triage.core.session.state import FileStatus
from photon_triage.core.session.store.rows import FileRow

HEADER = ",".join(COLUMNS)

any_text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
risky_text = st.text(st.sampled_from("'=+-@\t\r\n,;\"1.e a"), max_size=8)
texts = any_text | risky_text
labels_strategy = st.lists(
    st.builds(
        Label,
        st.builds(FrameKey, texts.map(lambda s: "/" + s), texts, st.integers(0, 10**9)),
        st.sampled_from(VERDICTS),
        texts,
        st.integers(0, 1_700_000_000_000_000).map(lambda us: us / 1e6),
        texts,
    ),
    max_size=6,
)


def table(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "labels.csv"
    path.write_bytes(text.encode(encoding))
    return path


def row_of(path: str, dataset: str) -> FileRow:
    return FileRow(1, path, dataset, "", "", 1, 1, "", Geometry(), False, 1, 1, FileStatus.COMPLETE, "", 1, 1, 1.0)


@given(labels=labels_strategy)
def test_what_is_written_is_read_back(tmp_path_factory: pytest.TempPathFactory, labels: list[Label]) -> None:
    path = tmp_path_factory.getbasetemp() / "round.csv"
    assert write_labels(path, labels) == len(labels)
    back = read_labels(path)
    assert [(b.key, b.verdict, b.who, b.category) for b in back] == [
        (a.key, a.verdict, a.who, a.category) for a in labels
    ]
    assert [b.time for b in back] == pytest.approx([a.time for a in labels], abs=2e-6)


@given(texts)
def test_a_quoted_cell_gives_back_its_text(text: str) -> None:
    assert plain_cell(quoted_cell(text)) == text


def is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


@given(texts)
def test_no_cell_is_a_formula(text: str) -> None:
    cell = quoted_cell(text)
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r")) or is_number(cell)


@pytest.mark.parametrize("number", ["-1", "+2.5", "-3e-4", "-.5"])
def test_a_number_is_left_alone(number: str) -> None:
    assert quoted_cell(number) == number


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_a_labeller_named_like_a_formula_is_quoted_in_the_file(tmp_path: Path, start: str) -> None:
    path = tmp_path / "labels.csv"
    write_labels(path, [Label(FrameKey("/d/a.h5", "/data", 0), "accepted", f"{start}cmd()", 0.0)])
    with path.open(newline="", encoding="utf-8") as file:
        assert next(csv.DictReader(file))["who"] == f"'{start}cmd()"


def test_the_header_is_the_contract(tmp_path: Path) -> None:
    write_labels(tmp_path / "labels.csv", [])
    assert (tmp_path / "labels.csv").read_text() == "file,dataset,index,verdict,class,who,time\n"


def test_times_are_iso_in_utc(tmp_path: Path) -> None:
    write_labels(tmp_path / "labels.csv", [Label(FrameKey("/a.h5", "/d", 3), "skipped", "ada", 1_700_000_000.25)])
    assert (tmp_path / "labels.csv").read_text().splitlines()[
        1
    ] == "/a.h5,/d,3,skipped,,ada,2023-11-14T22:13:20.250000Z"


def test_a_relative_name_starts_at_the_tables_folder(tmp_path: Path) -> None:
    path = table(tmp_path, f"{HEADER}\nruns/a.h5,/d,1,accepted,,,\n/abs/b.h5,/d,2,rejected,,,\n")
    assert [label.key.file for label in read_labels(path)] == [str(tmp_path / "runs/a.h5"), "/abs/b.h5"]


def test_a_byte_order_mark_and_crlf_are_fine(tmp_path: Path) -> None:
    path = table(tmp_path, f"{HEADER}\r\n/a.h5,/d,1,accepted,single,ada,2026-03-01T12:00:00Z\r\n", "utf-8-sig")
    (label,) = read_labels(path)
    assert label == Label(FrameKey("/a.h5", "/d", 1), "accepted", "ada", 1_772_366_400.0, "single")


@pytest.mark.parametrize("separator", [";", "\t"])
def test_other_separators_are_fine(tmp_path: Path, separator: str) -> None:
    text = f"{HEADER}\n/a.h5,/d,1,accepted,,,\n".replace(",", separator)
    assert read_labels(table(tmp_path, text))[0].verdict == "accepted"


def test_header_aliases_order_and_extra_columns_do_not_matter(tmp_path: Path) -> None:
    path = table(tmp_path, "Index,score,Path,Data Set,Label\n7,0.5,/a.h5,/d,Rejected\n")
    (label,) = read_labels(path)
    assert (label.key, label.verdict) == (FrameKey("/a.h5", "/d", 7), "rejected")


def test_without_a_time_the_tables_own_counts(tmp_path: Path) -> None:
    path = table(tmp_path, "file,index,verdict\n/a.h5,0,accepted\n")
    os.utime(path, (50.0, 50.0))
    assert read_labels(path)[0].time == 50.0


@pytest.mark.parametrize(
    ("category", "verdict"), [("single", "accepted"), ("multiple", "rejected"), ("water", "rejected")]
)
def test_a_class_alone_decides(tmp_path: Path, category: str, verdict: str) -> None:
    path = table(tmp_path, f"file,index,class\n/a.h5,0,{category}\n")
    (label,) = read_labels(path)
    assert (label.verdict, label.category) == (verdict, category)


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("/a.h5,/d,1,maybe,,,", "got 'maybe' for verdict, allowed: accepted, rejected, skipped"),
        ("/a.h5,/d,1,,,,", "got '' for verdict"),
        ("/a.h5,/d,-1,accepted,,,", "got '-1' for index"),
        ("/a.h5,/d,1.5,accepted,,,", "got '1.5' for index"),
        ("/a.h5,/d,1e3,accepted,,,", "got '1e3' for index"),
        ("/a.h5,/d,9223372036854775807,accepted,,,", "got '9223372036854775807' for index"),
        (f"/a.h5,/d,{'9' * 5000},accepted,,,", "for index, allowed: whole numbers 0, 1, ... 1000000000"),
        ("/a.h5,/d,1,accepted,,,2999-01-01", "got '2999-01-01' for time, 97"),
        ("/a.h5,/d,1,accepted,,,1772366400500", "years ahead of this machine's clock"),
        ("/a.h5,/d,1,accepted,,,1969-12-31", "got '1969-12-31' for time, which is before 1970"),
        ("/a.h5,/d,1,accepted,,,0001-01-01T00:00:00+23:59", "for time"),
        ("/a.h5,/d,1,accepted,,,01.03.2026 12:00", "got '01.03.2026 12:00' for time, allowed: ISO 8601"),
        ("/a\0.h5,/d,1,accepted,,,", "it holds a NUL character"),
        (f"/{'a' * 256},/d,1,accepted,,,", "for file, which is longer than a file name can be"),
        ("X:\\data\\a.h5,/d,1,accepted,,,", "a path of Windows"),
        ("/a,b.h5,/d,1,accepted,,,x", "it has 8 cells where the header has 7"),
        (",/d,1,accepted,,,", "the file is empty"),
        ("/a.h5,/d,1,accepted,,,yesterday", "got 'yesterday' for time"),
    ],
)
def test_an_error_names_the_line_and_what_is_allowed(tmp_path: Path, row: str, complaint: str) -> None:
    path = table(tmp_path, f"{HEADER}\n/ok.h5,/d,0,accepted,,,\n{row}\n")
    with pytest.raises(LabelError) as error:
        read_labels(path)
    _, place, said = error.value.message.partition("line 3: ")
    assert place and complaint in said


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("file,index,verdict\n/a.h5,12.0,accepted\n", id="pandas"),
        pytest.param(",file,index,verdict\n0,/a.h5,12,accepted\n", id="pandas with its own index"),
        pytest.param("sep=;\nfile;index;verdict\n/a.h5;12;accepted\n", id="Excel"),
        pytest.param("sep=;\r\nfile;index;verdict\r\n/a.h5;12,0;Accept\r\n", id="Excel, German"),
        pytest.param('"file" , "index" , "verdict"\n"/a.h5" , "12" , "accepted"\n', id="blanks and quotes"),
        pytest.param("file\tindex\tverdict \n/a.h5\t12\taccept\t\n", id="tab, trailing ones"),
    ],
)
def test_tables_of_other_programs_are_read_as_meant(tmp_path: Path, text: str) -> None:
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-32"):
        (label,) = read_labels(table(tmp_path, text, encoding))
        assert (label.key, label.verdict) == (FrameKey("/a.h5", "", 12), "accepted")


def test_unix_times_are_seconds(tmp_path: Path) -> None:
    path = table(tmp_path, "file,index,verdict,time\n/a.h5,0,accepted,1772366400.5\n/a.h5,1,accepted,20260301\n")
    assert [label.time for label in read_labels(path)] == [1_772_366_400.5, 1_772_323_200.0]


def test_latin1_is_read_where_it_is_no_name_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "prüfung.h5").touch()
    path = table(tmp_path, "file,index,verdict,who\nprüfung.h5,0,accepted,Jürgen\n", "latin-1")
    (label,) = read_labels(path)
    assert (label.key.file, label.who) == (str(tmp_path / "prüfung.h5"), "Jürgen")


def test_a_line_that_is_left_out_is_noted(tmp_path: Path) -> None:
    path = table(tmp_path, f"{HEADER}\n/a.h5,/d,1,accepted,,,\n/b.h5,/d,2,acce")
    (note,) = read_table(path).notes
    assert note.startswith("line 3 has no end and cannot be read")


def test_two_verdicts_of_one_time_are_noted(tmp_path: Path) -> None:
    path = table(tmp_path, "file,index,verdict\n/a.h5,0,accepted\n/a.h5,0,rejected\n")
    assert read_table(path).notes == ("1 frames have two verdicts of the same time: the later line counts",)


def test_an_error_names_the_line_that_a_row_begins_on(tmp_path: Path) -> None:
    path = table(tmp_path, 'file,index,verdict\n"/a\nb.h5",0,accepted\n"/a\nb.h5",x,accepted\n')
    with pytest.raises(LabelError, match="line 4: got 'x' for index"):
        read_labels(path)


def test_a_table_may_count_frames_from_one(tmp_path: Path) -> None:
    path = table(tmp_path, "file,index,verdict\n/a.h5,1,accepted\n")
    assert read_table(path, 1).labels[0].key.index == 0
    path = table(tmp_path, "file,index,verdict\n/a.h5,0,accepted\n")
    with pytest.raises(LabelError, match="line 2: got '0' for index, allowed: whole numbers 1, 2"):
        read_table(path, 1)


def checked(tmp_path: Path, rows: str, row: FileRow) -> list[str]:
    found = read_table(table(tmp_path, f"file,dataset,index,verdict,x,y\n{rows}"))
    return checked_frames(found, match_files(found.labels, [row]), [row])


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ("/a.h5,/d,0,accepted,,\n/a.h5,/d,3,accepted,,\n", r"line 3: it is of frame 3, and a\.h5 has 3, 0 to 2\."),
        ("/a.h5,/d,1,accepted,,\n/a.h5,/d,3,accepted,,\n", "line 3.*Does the table count frames from 1"),
        ("/a.h5,/other,0,accepted,,\n", "line 2: it is of the data set '/other', and a.h5 was read from '/d'"),
        ("/a.h5,d,0,accepted,8,4\n", "line 2: it is of pixel 8, 4, and frames of a.h5 have 8 x 6"),
    ],
)
def test_frames_that_a_finished_file_does_not_have_are_refused(tmp_path: Path, rows: str, complaint: str) -> None:
    row = replace(row_of("/a.h5", "/d"), frames=3, width=8, height=6)
    with pytest.raises(LabelError, match=complaint):
        checked(tmp_path, rows, row)


def test_frames_that_are_not_there_yet_are_noted(tmp_path: Path) -> None:
    growing = replace(row_of("/a.h5", "/d"), status=FileStatus("reading"))
    notes = checked(tmp_path, "/a.h5,,0,accepted,,\n/a.h5,,7,accepted,,\n/gone.h5,,0,accepted,,\n", growing)
    assert [note[:10] for note in notes] == ["1 are of f", "1 are of f"]
    assert "do not have yet" in notes[0] and "do not exist" in notes[1]


def test_a_table_without_its_columns_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="line 1: no column file and no column index"):
        read_labels(table(tmp_path, "frame name,verdict\nx,accepted\n"))


def test_an_empty_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="empty"):
        read_labels(table(tmp_path, ""))


def test_a_missing_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="No such file"):
        read_labels(tmp_path / "none.csv")


@pytest.mark.parametrize("cut", range(1, len("/b.h5,/d,2,acce")))
def test_a_line_that_is_still_being_written_is_left_out(tmp_path: Path, cut: int) -> None:
    path = table(tmp_path, f"{HEADER}\n/a.h5,/d,1,accepted,,,\n" + "/b.h5,/d,2,acce"[:cut])
    assert [label.key.file for label in read_labels(path)] == ["/a.h5"]


def test_a_last_line_without_its_end_counts_when_it_is_whole(tmp_path: Path) -> None:
    path = table(tmp_path, f"{HEADER}\n/a.h5,/d,1,accepted,,ada,2026-03-01T12:00:00Z")
    assert len(read_labels(path)) == 1


def test_a_name_that_is_not_utf8_survives(tmp_path: Path) -> None:
    name = os.fsdecode(b"/data/caf\xe9.h5")
    write_labels(tmp_path / "labels.csv", [Label(FrameKey(name, "/d", 0), "accepted", "ada", 0.0)])
    assert b"/data/caf\xe9.h5" in (tmp_path / "labels.csv").read_bytes()
    assert read_labels(tmp_path / "labels.csv")[0].key.file == name


def test_a_failed_write_leaves_the_old_table(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("old")
    with pytest.raises(LabelError, match="cannot be written as text"):
        write_labels(path, [Label(FrameKey("/\ud800.h5", "/d", 0), "accepted", "ada", 0.0)])
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="No such file or directory"):
        write_labels(tmp_path / "none" / "labels.csv", [])


def test_labels_take_the_names_that_the_session_uses(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    wanted = FrameKey(str(tmp_path / "real/a.h5"), "/entry/data", 4)
    label = Label(FrameKey(str(tmp_path / "link/a.h5"), "", 4), "accepted", "ada", 0.0)
    other = Label(FrameKey("/elsewhere.h5", "", 4), "accepted", "ada", 0.0)
    matched = match_files([label, other], [row_of(wanted.file, wanted.dataset)])
    assert [m.key for m in matched] == [wanted, other.key]


def test_labels_of_a_file_that_is_not_known_yet_are_of_one_file_under_all_its_names(
    tmp_path: Path,
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    labels = [label_of(tmp_path / folder / "a.h5") for folder in ("real", "link")]
    assert {matched.key.file for matched in match_files(labels, [])} == {str(tmp_path / "real" / "a.h5")}


def label_of(path: Path, index: int = 0) -> Label:
    return Label(FrameKey(str(path), "", index), "accepted", "ada", 0.0)


def test_a_table_moved_away_from_its_data_finds_the_one_file_of_a_name(tmp_path: Path) -> None:
    files = [row_of(f"/data/{name}", "/d") for name in ("a.h5", "b.h5")]
    matched = match_files([label_of(tmp_path / "gone" / "a.h5")], files)
    assert [each.key for each in matched] == [FrameKey("/data/a.h5", "/d", 0)]


@pytest.mark.parametrize(
    ("labelled", "known"),
    [
        pytest.param([("gone/a.h5", 0), ("gone/a.h5", 1)], ["/data/a.h5"], id="it has no second frame"),
        pytest.param([("other/a.h5", 0)], ["/data/a.h5"], id="that file is there"),
        pytest.param([("gone/a.h5", 0)], ["/data/1/a.h5", "/data/2/a.h5"], id="the session has two of that name"),
        pytest.param([("1/a.h5", 0), ("2/a.h5", 0)], ["/data/a.h5"], id="the table has two of that name"),
        pytest.param([("gone/a.h5", 0), ("/data/a.h5", 0)], ["/data/a.h5"], id="the table has the file itself, too"),
    ],
)
def test_a_file_of_the_same_name_is_not_taken_for_another(
    tmp_path: Path, labelled: list[tuple[str, int]], known: list[str]
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.h5").touch()
    labels = [label_of(tmp_path / path, index) for path, index in labelled]
    matched = match_files(labels, [row_of(path, "") for path in known])
    assert [each.key for each in matched] == [each.key for each in labels]
