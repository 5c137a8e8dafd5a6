"""Commands and the list on sessions that previous versions of the program have written."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from photon_triage.core.session.session import Session
from photon_triage.tui.snapshot.snapshot import Request
from photon_triage.tui.snapshot.snapshot_builder import SnapshotBuilder

from ...core.session.recorded_sessions import VERSIONS, recorded_session
from .test_cli import run

Capture = pytest.CaptureFixture[str]
VERDICTS = ["accepted", "accepted", "accepted", "rejected"]


@pytest.fixture(params=[(version, name) for version in VERSIONS for name in ("frames", "candidates")], ids=str)
def session(tmp_path: Path, request: pytest.FixtureRequest) -> Session:
    return recorded_session(tmp_path / "s", *request.param)


def listed(session: Session) -> list[str]:
    """The decisions on what is listed: one point, in a file without candidates, is not."""
    return VERDICTS[session.recipe().unit == "candidates" :]


def test_metrics(session: Session, capsys: Capture) -> None:
    code, out, _ = run(capsys, "metrics", str(session.path), "--json")
    assert code == 0
    assert json.loads(out)["n"] == 4


def test_labels_export(session: Session, tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "labels.csv"
    code, _, _ = run(capsys, "labels", "export", str(session.path), str(path))
    assert code == 0
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["verdict"] for row in rows) == VERDICTS


def test_export(session: Session, tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "list.csv"
    code, _, err = run(
        capsys, "export", str(session.path), "--select", "accepted", "--format", "csv", "-o", str(path), "--incomplete"
    )
    assert code == 0, err
    assert len(path.read_text(encoding="utf-8").splitlines()) == 1 + listed(session).count("accepted")


def test_the_list(session: Session) -> None:
    builder = SnapshotBuilder(session)
    snapshot = builder.build(Request(serial=1))
    builder.close()
    assert snapshot.ids is not None and len(snapshot.ids) > 4
    assert sorted(label.verdict for label in snapshot.labels.values()) == listed(session)
    assert len(snapshot.flagged) == (session.recipe().unit == "frames")
    assert snapshot.counts.files == 3


@pytest.mark.parametrize("command", [("engine", "status"), ("training", "list"), ("models", "list"), ("audit",)])
def test_other_commands(session: Session, capsys: Capture, command: tuple[str, ...]) -> None:
    code, out, err = run(capsys, *command, str(session.path))
    assert code in (0, 1) and not err.startswith("Usage"), err  # 1: no engine is at work
    assert out
