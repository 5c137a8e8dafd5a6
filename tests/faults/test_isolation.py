"""A file that crashes or hangs its reader costs two readers and nothing else: it is a row, and the run goes on."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from photon_triage.core.sources import FrameReader
from photon_triage.core.sources.process import reader
from tests.builders.detector_files import frames_of, make_old, write_cxi
from tests.shared_data import shared_data
from tests.waiting import wait_until

from .engines import counts, engine, files, make_session, recorded, scan
from .memory import HighWater
from .scale import SOAK

Say = Callable[[str], None]
ROOT = Path(__file__).parents[2]
FAULTS = ("crash", "abort", "leave", "hang", "spin", "greedy")


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Readers that files can harm, each of which waits a second for an answer; the log says which files have."""
    monkeypatch.setattr(reader, "_WORKER", "tests.faults.bad_worker")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))))
    monkeypatch.setenv("FAULTS_LOG", str(tmp_path / "log"))
    be_impatient(monkeypatch, 1.0)
    return tmp_path / "log"


def be_impatient(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let no reader take longer than this for an answer."""
    defaults = FrameReader.__init__.__kwdefaults__
    assert defaults is not None and "deadline" in defaults
    monkeypatch.setitem(defaults, "deadline", seconds)


def tries(log: Path) -> Counter[str]:
    return Counter(line.split()[0] for line in log.read_text().splitlines())


def test_a_file_that_costs_two_readers_is_left_alone_and_the_run_goes_on(
    tmp_path: Path, log: Path, figure: Say
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for place, what in enumerate(FAULTS):
        make_old(write_cxi(data / f"{what}-inspect.cxi", frames_of(3)), 200 - 2 * place)
        make_old(write_cxi(data / f"good_{what}.cxi", frames_of(5)), 199 - 2 * place)
    session = make_session(tmp_path / "session")
    scan(session, [data])
    rows, cost = files(session), tries(log)
    lost = [row for name, row in rows.items() if name.startswith("good") and row.status != "complete"]
    figure(
        f"files that crash, hang or fill their reader: {len(cost)}, {sum(cost.values())} tries; {len(lost)} others lost"
    )
    for what in FAULTS:
        row = rows[f"{what}-inspect.cxi"]
        assert row.status == "unreadable"
        assert rows[f"good_{what}.cxi"].status == "complete"
        if what == "greedy":
            assert "more memory than is allowed" in row.reason and cost[f"{what}-inspect.cxi"] == 1
        else:
            assert "cost 2 reader processes" in row.reason and cost[f"{what}-inspect.cxi"] == 2
    assert counts(session).frames == 5 * len(FAULTS)


def test_what_was_read_before_a_frame_that_crashes_stays(tmp_path: Path, log: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    make_old(write_cxi(data / "crash-read40.cxi", frames_of(60)), 100)
    make_old(write_cxi(data / "good.cxi", frames_of(5)), 100)
    session = make_session(tmp_path / "session")
    scan(session, [data])
    found = recorded(session)
    assert sorted(found["crash-read40.cxi"]) == list(range(40)) and sorted(found["good.cxi"]) == list(range(5))
    row = files(session)["crash-read40.cxi"]
    assert row.status == "unreadable" and "cost 2 reader processes" in row.reason
    assert tries(log) == {"crash-read40.cxi": 2}


def test_a_file_that_hangs_holds_up_nobody_else(tmp_path: Path, log: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    make_old(write_cxi(data / "hang-inspect.cxi", frames_of(3)), 100)
    session = make_session(tmp_path / "session")
    with engine(session, [data]):
        wait_until(log.exists)
        write_cxi(data / "late.cxi", frames_of(5))
        wait_until(lambda: counts(session).frames == 5)
        wait_until(
            lambda: "hang-inspect.cxi" in files(session) and files(session)["hang-inspect.cxi"].status == "unreadable"
        )
    pids = {int(line.split()[1]) for line in log.read_text().splitlines()}
    assert len(pids) == 2 and not any(Path(f"/proc/{pid}").exists() for pid in pids), "the readers are gone"


def test_a_quarantined_file_is_not_tried_by_the_next_engine(tmp_path: Path, log: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    make_old(write_cxi(data / "abort-inspect.cxi", frames_of(3)), 100)
    session = make_session(tmp_path / "session")
    for _ in range(2):
        scan(session, [data])
    assert tries(log) == {"abort-inspect.cxi": 2}


def test_open_handles_are_bounded(tmp_path: Path, figure: Say) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for number in range(60):
        make_old(write_cxi(data / f"f_{number}.cxi", frames_of(1, first=number)), 100)
    session = make_session(tmp_path / "session")
    with HighWater(data) as water:
        scan(session, [data])
    figure(f"files of a run of 60 that a process held open at once: at most {water.open_below}")
    assert water.open_below <= 2 and counts(session).frames == 60


def test_every_hostile_file_is_a_row_and_none_takes_more_memory_than_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, figure: Say
) -> None:
    be_impatient(monkeypatch, 20.0 if SOAK > 1 else 3.0)
    data = tmp_path / "data"
    data.mkdir()
    hostile = sorted(shared_data("hostile").iterdir())
    for place, path in enumerate(hostile):
        (data / path.name).write_bytes(path.read_bytes())
        make_old(data / path.name, 100)
        make_old(write_cxi(data / f"good_{place}.cxi", frames_of(5)), 100)
    session = make_session(tmp_path / "session")
    with HighWater() as water:
        scan(session, [data])
    rows = list(files(session).values())
    good = [row for row in rows if row.path.endswith(".cxi")]
    bad = [row for row in rows if not row.path.endswith(".cxi")]
    lost = sum("reader process" in row.reason for row in bad)
    figure(
        f"hostile files: {len(bad)} of {len(hostile)} a row ({dict(Counter(row.status for row in bad))}), "
        f"{lost} of them cost readers; largest address space of a reader {water.most_virtual / 2**30:.2f} GiB of 6, "
        f"largest memory {water.most_resident / 2**20:.0f} MiB"
    )
    assert len(bad) == len(hostile) and all(row.status in ("complete", "missing", "unreadable") for row in rows)
    assert {row.status for row in good} == {"complete"} and len(good) == len(hostile)
    assert water.most_virtual <= 6 * 2**30
