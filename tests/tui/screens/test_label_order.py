"""Every command and the screen take the same order of decisions, whatever the clocks of the processes say."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from photon_triage.core.frames import FrameKey
from photon_triage.core.session.decisions.labels import LabelBook, LabelWriter
from photon_triage.core.session.session import Session
from photon_triage.core.session.store.frames import Known
from photon_triage.core.session.trainings.label_summary import learnable
from photon_triage.core.training.data.sources import choose
from photon_triage.tui.snapshot.measured_rates import labels_by_id
from photon_triage.tui.snapshot.snapshot import ListSpec, Request
from photon_triage.tui.snapshot.snapshot_builder import SnapshotBuilder

from ...core.session.builders import DATASET, build_session, key
from ..commands.test_cli import run
from ..commands.test_session_commands import report

FILE = "/data/a.cxi"
HEAD = "file,dataset,index,verdict,who,time\n"
NOON, ELEVEN = "2026-03-01T12:00:00Z", "2026-03-01T11:00:00Z"

PERSON = """
import sys, time
real, wrong = time.time, float(sys.argv[2])
time.time = lambda: real() + wrong
from photon_triage.core.session.decisions.labels import LabelWriter
from photon_triage.core.session.session import Session
from photon_triage.core.frames import FrameKey
session = Session.open(sys.argv[1])
writer = LabelWriter(session.journal())
print("ready", flush=True)
for line in sys.stdin:
    index, verdict = line.split()
    writer.decide(FrameKey(sys.argv[3], sys.argv[4], int(index)), verdict)
    print("saved", flush=True)
"""


class Person:
    """A process that decides, with a clock that is wrong by some seconds."""

    def __init__(self, session: Session, wrong: float) -> None:
        command = [sys.executable, "-P", "-c", PERSON, str(session.path), str(wrong), FILE, DATASET]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._hear("ready")

    def decide(self, index: int, verdict: str) -> None:
        """Decide, and return once the process has said that it is saved."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{index} {verdict}\n")
        self._process.stdin.flush()
        self._hear("saved")

    def _hear(self, word: str) -> None:
        assert self._process.stdout is not None
        assert self._process.stdout.readline().strip() == word

    def end(self) -> None:
        self._process.communicate()


@contextmanager
def person(session: Session, wrong: float) -> Iterator[Person]:
    found = Person(session, wrong)
    try:
        yield found
    finally:
        found.end()


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return build_session(tmp_path / "s", {FILE: [0.9, 0.8, 0.7, 0.1]})


def exported(session: Session, capsys: pytest.CaptureFixture[str], table: Path) -> dict[int, str]:
    report(capsys, "labels", "export", str(session.path), str(table))
    with table.open() as file:
        return {int(row["index"]): row["verdict"] for row in csv.DictReader(file)}


def on_screen(session: Session, state: str) -> set[int]:
    """The indices that the screen lists of a state."""
    builder = SnapshotBuilder(session)
    try:
        found = builder.build(Request(ListSpec(shown="all", text=f"state:{state}")))
        assert found.ids is not None
        return {int(id_) - 1 for id_ in found.ids}
    finally:
        builder.close()


@pytest.mark.parametrize("clocks", [(0.0, -40.0), (40.0, 0.0), (3600.0, 0.0), (0.0, -3600.0)])
def test_the_last_acknowledged_decision_counts_in_every_command(
    session: Session, capsys: pytest.CaptureFixture[str], tmp_path: Path, clocks: tuple[float, float]
) -> None:
    with person(session, clocks[0]) as first, person(session, clocks[1]) as second:
        # Both have written before the other's decision, and a third one begins when there are decisions.
        for each in (first, second):
            each.decide(3, "skipped")
        for index, (earlier, later) in enumerate(((first, second), (second, first))):
            earlier.decide(index, "accepted")
            later.decide(index, "rejected")
    with person(session, clocks[1]) as third:
        third.decide(2, "rejected")
        third.decide(2, "accepted")
        third.decide(3, "rejected")
    told = {0: "rejected", 1: "rejected", 2: "accepted", 3: "rejected"}
    assert exported(session, capsys, tmp_path / "labels.csv") == told
    assert (on_screen(session, "accepted"), on_screen(session, "rejected")) == ({2}, {0, 1, 3})
    assert on_screen(session, "disputed") == set()
    found = report(capsys, "metrics", str(session.path), "--threshold", "0.5")
    assert (found["tp"], found["fp"], found["tn"]) == (1, 2, 1)
    chosen = choose(session.labels().labels.values(), ["labels"])
    assert {label.key.index: label.verdict for label in chosen.labels} == told
    assert (learnable(session).total.accepted, learnable(session).total.rejected) == (1, 3)


def test_own_decisions_are_listed_by_their_order_not_by_their_clock(session: Session) -> None:
    wrong = iter([3600.0, 0.0, 40.0, -40.0])
    for index in range(4):
        with person(session, next(wrong)) as one:
            one.decide(index, "accepted")
    builder = SnapshotBuilder(session)
    found = builder.build(Request(ListSpec(order="mine", shown="all"), saves=0))
    builder.close()
    assert found.ids is not None
    assert [int(id_) - 1 for id_ in found.ids] == [3, 2, 1, 0]


def import_all(session: Session, capsys: pytest.CaptureFixture[str], *tables: Path, more: tuple[str, ...] = ()) -> Any:
    return [report(capsys, "labels", "import", str(session.path), str(table), *more) for table in tables]


@pytest.fixture
def tables(tmp_path: Path) -> dict[str, Path]:
    """A table of noon, one of eleven, and one with both, the newer row first."""
    rows = {
        "new": [f"{FILE},{DATASET},0,rejected,one,{NOON}", f"{FILE},{DATASET},1,rejected,one,{NOON}"],
        "old": [f"{FILE},{DATASET},0,accepted,one,{ELEVEN}", f"{FILE},{DATASET},1,accepted,two,{ELEVEN}"],
        "both": [f"{FILE},{DATASET},2,rejected,one,{NOON}", f"{FILE},{DATASET},2,accepted,one,{ELEVEN}"],
    }
    paths = {name: tmp_path / f"{name}.csv" for name in rows}
    for name, path in paths.items():
        path.write_text(HEAD + "".join(f"{row}\n" for row in rows[name]))
    return paths


@pytest.mark.parametrize("order", [("new", "old", "both"), ("old", "new", "both")])
def test_of_imported_labels_the_one_of_the_latest_time_counts(
    session: Session,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    tables: dict[str, Path],
    order: tuple[str, ...],
) -> None:
    found = import_all(session, capsys, *(tables[name] for name in order))
    assert sum(each["older"] for each in found) == (3 if order[0] == "new" else 1)
    assert exported(session, capsys, tmp_path / "out.csv") == {0: "rejected", 1: "rejected", 2: "rejected"}
    with (tmp_path / "out.csv").open() as file:
        assert {row["time"] for row in csv.DictReader(file)} == {NOON}
    # The two who differ are still known to differ.
    assert session.labels().conflicts == {key(FILE, 1)}


def test_an_older_table_counts_where_it_is_to_override(
    session: Session, capsys: pytest.CaptureFixture[str], tmp_path: Path, tables: dict[str, Path]
) -> None:
    import_all(session, capsys, tables["new"], tables["old"])
    (found,) = import_all(session, capsys, tables["old"], more=("--override",))
    assert (found["imported"], found["older"]) == (2, 0)
    assert exported(session, capsys, tmp_path / "out.csv") == {0: "accepted", 1: "accepted"}
    import_all(session, capsys, tables["both"], more=("--override",))
    assert exported(session, capsys, tmp_path / "out.csv")[2] == "rejected"


def test_a_decision_made_here_is_not_overridden_by_an_older_table_and_is_by_a_newer_one(
    session: Session, capsys: pytest.CaptureFixture[str], tmp_path: Path, tables: dict[str, Path]
) -> None:
    with person(session, 0.0) as one:
        one.decide(0, "skipped")
    import_all(session, capsys, tables["new"])
    assert exported(session, capsys, tmp_path / "out.csv")[0] == "skipped"
    newer = tmp_path / "newer.csv"
    # A time to come, as of a clock that is ahead: the table then counts as of when it was imported.
    soon = datetime.now(UTC) + timedelta(minutes=30)
    newer.write_text(HEAD + f"{FILE},{DATASET},0,accepted,one,{soon.isoformat()}\n")
    import_all(session, capsys, newer)
    assert exported(session, capsys, tmp_path / "out.csv")[0] == "accepted"
    with person(session, -40.0) as one:
        one.decide(0, "rejected")
    assert exported(session, capsys, tmp_path / "out.csv")[0] == "rejected"


def test_a_table_imported_twice_adds_nothing(
    session: Session, capsys: pytest.CaptureFixture[str], tables: dict[str, Path]
) -> None:
    found = import_all(session, capsys, tables["new"], tables["old"], tables["old"], tables["new"])
    assert [each["imported"] for each in found] == [2, 2, 0, 0]


def test_of_a_table_to_compare_with_the_latest_row_of_a_frame_counts(
    session: Session, capsys: pytest.CaptureFixture[str], tables: dict[str, Path]
) -> None:
    found = report(capsys, "metrics", str(session.path), "--against", str(tables["both"]), "--threshold", "0.5")
    assert (found["tp"], found["fp"]) == (0, 1)


def test_older_labels_are_said_to_be_older(
    session: Session, capsys: pytest.CaptureFixture[str], tables: dict[str, Path]
) -> None:
    import_all(session, capsys, tables["new"])
    code, out, err = run(capsys, "labels", "import", str(session.path), str(tables["old"]))
    assert (code, err) == (0, "")
    assert "2 are older than another label of the same frame and do not count; --override makes them count." in out


def test_of_two_labels_of_one_candidate_the_last_is_shown(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    near = [FrameKey(FILE, DATASET, 0, (x, 5)) for x in (6, 5, 7)]
    writer = LabelWriter(Session(tmp_path).journal())
    for place, verdict in zip(near, ("accepted", "rejected", "accepted"), strict=True):
        writer.decide(place, verdict)  # type: ignore[arg-type]
    book = LabelBook(folder)
    book.refresh()
    writer.decide(near[1], "skipped")
    book.refresh()
    by_id, _ = labels_by_id(book, {key: Known(1, 0.5, True, "r0001") for key in near})
    assert by_id.labels[1].verdict == "skipped"
