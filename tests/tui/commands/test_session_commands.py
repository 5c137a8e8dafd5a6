from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from photon_triage.core.session.decisions.labels import LabelWriter, Verdict
from photon_triage.core.session.session import Session
from photon_triage.tui.commands.metrics import BIASED, SIMULATED

from ...core.session.builders import DATASET, build_session, key
from .test_cli import run

A = "/data/a.cxi"


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return build_session(tmp_path / "s", {A: [0.9, 0.8, 0.7, 0.1, None]})


def decide(session: Session, *verdicts: Verdict) -> None:
    """Label the first frames of A."""
    journal = session.journal("ada")
    writer = LabelWriter(journal)
    for index, verdict in enumerate(verdicts):
        writer.decide(key(A, index), verdict, category="single" if verdict == "accepted" else "")
    journal.close()


def set_threshold(session: Session, value: float) -> None:
    journal = session.journal("ada")
    LabelWriter(journal).set_threshold(value)
    journal.close()


def report(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    code, out, err = run(capsys, *arguments, "--json")
    assert (code, err) == (0, "")
    answer: dict[str, Any] = json.loads(out)
    return answer


def truth_table(folder: Path, rows: list[str]) -> Path:
    path = folder / "truth.csv"
    path.write_text("file,dataset,index,verdict,class,who,time\n" + "".join(f"{row}\n" for row in rows))
    return path


def test_metrics_counts_and_intervals(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    decide(session, "accepted", "accepted", "rejected", "accepted", "rejected")
    found = report(capsys, "metrics", str(session.path), "--beta", "1", "--threshold", "0.5")
    counts = {name: found[name] for name in ("n", "tp", "fp", "fn", "tn", "unmatched", "threshold")}
    assert counts == {"n": 5, "tp": 2, "fp": 1, "fn": 1, "tn": 1, "unmatched": 0, "threshold": 0.5}
    values = {name: found[name] for name in ("accuracy", "precision", "recall", "f1", "f_beta", "iou", "beta")}
    assert values == pytest.approx(
        {"accuracy": 3 / 5, "precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3, "f_beta": 2 / 3, "iou": 1 / 2, "beta": 1}
    )
    # Wilson's interval of 2 in 3.
    assert found["precision_interval"] == pytest.approx([0.2077, 0.9385], abs=1e-4)
    assert found["classes"] == {"single": 3, "rejected": 2}


def test_metrics_keys_are_the_contract(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    decide(session, "accepted")
    assert {
        *("n", "threshold", "tp", "fp", "fn", "tn", "accuracy", "accuracy_interval", "precision", "precision_interval"),
        *("recall", "recall_interval", "f1", "f1_interval", "f_beta", "f_beta_interval", "beta", "iou", "iou_interval"),
        *(
            "unmatched",
            "of_changed_frames",
            "skipped",
            "classes",
            "recall_may_be_biased",
            "simulated",
            "audit",
            "ranked",
            "people",
        ),
    } == set(report(capsys, "metrics", str(session.path)))


def test_the_operators_threshold_is_the_default(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    decide(session, "accepted", "accepted")
    set_threshold(session, 0.85)
    assert report(capsys, "metrics", str(session.path))["threshold"] == 0.85
    assert report(capsys, "metrics", str(session.path), "--threshold", "0.2")["threshold"] == 0.2


def test_a_table_can_be_the_truth(session: Session, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    table = truth_table(
        tmp_path,
        [f"{A},{DATASET},0,accepted,,,", f"{A},,3,,single,,", f"{A},,4,skipped,,,", "/other.cxi,,0,accepted,,,"],
    )
    found = report(capsys, "metrics", str(session.path), "--against", str(table))
    assert (found["tp"], found["fn"], found["unmatched"], found["skipped"]) == (1, 1, 1, 1)


@pytest.mark.parametrize(
    ("verdicts", "biased"), [(("accepted", "rejected"), True), (("accepted", *["rejected"] * 4), False)]
)
def test_recall_from_candidates_alone_is_said_to_be_biased(
    session: Session, capsys: pytest.CaptureFixture[str], verdicts: tuple[Verdict, ...], biased: bool
) -> None:
    decide(session, *verdicts)
    assert report(capsys, "metrics", str(session.path))["recall_may_be_biased"] is biased
    assert (BIASED in run(capsys, "metrics", str(session.path))[1]) is biased


def test_simulated_data_are_said_to_be_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    session = build_session(tmp_path / "s", {A: [0.9]}, simulated=True)
    decide(session, "accepted")
    assert SIMULATED in run(capsys, "metrics", str(session.path))[1]
    assert report(capsys, "metrics", str(session.path))["simulated"] is True


def test_metrics_for_people_names_n_and_the_intervals(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    decide(session, "accepted", "accepted", "rejected")
    code, out, _ = run(capsys, "metrics", str(session.path), "--threshold", "0.5")
    assert code == 0
    assert "n = 3 labelled frames, threshold 0.5" in out
    assert "precision  0.667  95 % 0.208 to 0.939" in out


def test_metrics_without_labels_is_refused(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "metrics", str(session.path))
    assert code == 1
    assert "--against" in err


def test_labels_come_back_from_a_table(session: Session, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    decide(session, "accepted", "rejected")
    table = tmp_path / "labels.csv"
    assert report(capsys, "labels", "export", str(session.path), str(table))["written"] == 2
    other = build_session(tmp_path / "other", {A: [0.9, 0.8]})
    assert report(capsys, "labels", "import", str(other.path), str(table))["imported"] == 2
    assert other.labels().labels.keys() == session.labels().labels.keys()
    assert {label.who for label in other.labels().labels.values()} == {"ada"}


def test_labels_that_stand_already_are_passed_over(
    session: Session, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    decide(session, "accepted", "rejected")
    table = tmp_path / "labels.csv"
    run(capsys, "labels", "export", str(session.path), str(table))
    found = report(capsys, "labels", "import", str(session.path), str(table))
    assert (found["imported"], found["already_there"]) == (0, 2)


def test_labels_without_a_name_get_the_one_given(
    session: Session, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    table = truth_table(tmp_path, [f"{A},,0,accepted,,,", f"{A},,1,rejected,,grace,", "/other.cxi,,0,accepted,,,"])
    found = report(capsys, "labels", "import", str(session.path), str(table), "--who", "bob")
    assert found["of_unknown_files"] == 1
    labels = session.labels().labels
    assert (labels[key(A, 0)].who, labels[key(A, 1)].who) == ("bob", "grace")


def test_a_wrong_table_names_its_line(session: Session, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    table = truth_table(tmp_path, [f"{A},,0,perhaps,,,"])
    code, _, err = run(capsys, "labels", "import", str(session.path), str(table))
    assert code == 1
    assert "line 2" in err and "accepted, rejected" in err
    assert session.labels().labels == {}


def test_a_table_that_counts_from_one_is_refused_and_read_when_told_so(
    session: Session, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    table = truth_table(tmp_path, [f"{A},,{index},accepted,,," for index in range(1, 6)])
    code, _, err = run(capsys, "labels", "import", str(session.path), str(table))
    assert code == 1 and "line 6: it is of frame 5, and a.cxi has 5, 0 to 4" in err
    assert "--first-index 1" in err and session.labels().labels == {}
    assert report(capsys, "labels", "import", str(session.path), str(table), "--first-index", "1")["imported"] == 5
    assert sorted(each.index for each in session.labels().labels) == [0, 1, 2, 3, 4]


def test_of_a_frame_that_stands_twice_in_a_table_the_later_word_counts(
    session: Session, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    rows = [f"{A},,0,rejected,,,2026-03-01T12:00:00Z", f"{A},,0,accepted,,,2026-03-01T11:00:00Z"]
    report(capsys, "labels", "import", str(session.path), str(truth_table(tmp_path, rows)))
    assert session.labels().labels[key(A, 0)].verdict == "rejected"


def test_what_an_import_leaves_out_is_told(
    session: Session, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    table = truth_table(tmp_path, [f"{A},,0,accepted,,,", f"{A},,1,rej"])
    table.write_text(table.read_text().rstrip("\n"))
    _, out, _ = run(capsys, "labels", "import", str(session.path), str(table))
    assert "Imported 1 labels" in out and "line 3 has no end and cannot be read" in out


def test_a_list_is_exported(session: Session, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    decide(session, "accepted", "rejected", "rejected", "accepted")
    output = tmp_path / "list.lst"
    arguments = ("export", str(session.path), "--format", "crystfel", "--select", "both", "-o", str(output))
    found = report(capsys, *arguments)
    assert found == {"path": str(output), "manifest": f"{output}.json", "written": 2}
    assert output.read_text() == f"{A} //0\n{A} //3\n"


def test_export_takes_the_operators_threshold(
    session: Session, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    set_threshold(session, 0.85)
    output = tmp_path / "table.csv"
    run(capsys, "export", str(session.path), "--format", "csv", "--select", "predicted", "-o", str(output))
    with output.open(newline="") as file:
        assert [row["index"] for row in csv.DictReader(file)] == ["0"]


def test_a_session_that_is_not_there_is_said(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, _, err = run(capsys, "metrics", str(tmp_path))
    assert code == 1
    assert "Session not usable" in err


def test_a_hostile_file_name_cannot_steer_the_terminal(
    session: Session, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    decide(session, "accepted")
    code, out, _ = run(capsys, "labels", "export", str(session.path), str(tmp_path / "a\x1b[2J\u202e.csv"))
    assert code == 0
    assert "\x1b" not in out and "\u202e" not in out
