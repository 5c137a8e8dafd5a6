"""Folders of a hundred thousand files: bounded memory, little of a processor, a new file seen in a moment."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

from photon_triage.core.engine.process import start_engine, stop_engine
from photon_triage.core.frames import Geometry
from photon_triage.core.session.session import Session
from photon_triage.core.session.state import FileStatus
from photon_triage.core.session.store.rows import FileRow
from photon_triage.core.session.store.writer import ResultsWriter
from tests.builders.detector_files import frames_of, write_cxi
from tests.waiting import wait_until

from .engines import counts, make_session
from .memory import children, processor_s, resident
from .scale import SOAK, scaled

Say = Callable[[str], None]
MOST_SHARE = 0.06
MOST_BYTES_A_FILE = 4096
READING_BYTES = 192 * 2**20
"""What readers and buffers take that an engine with a single frame has not needed yet."""


def test_a_large_folder_costs_little_and_hides_no_new_file(tmp_path: Path, figure: Say) -> None:
    count = scaled(3000, 100_000)
    data = tmp_path / "data"
    data.mkdir()
    sessions = [make_session(tmp_path / "small"), make_session(tmp_path / "large")]
    _fill(sessions[1], data, count)
    small = _memory(sessions[0], tmp_path / "nowhere")
    engine = start_engine(sessions[1], [data])
    try:
        wait_until(lambda: sessions[1].engine_state().status == "running")
        wait_until(lambda: _is_scanned(engine.pid))
        _wait_for_heartbeats(sessions[1], 2)
        began = [time.monotonic(), _all_processor_s(engine.pid)]
        _wait_for_heartbeats(sessions[1], 60 if SOAK > 1 else 5)
        idle = (_all_processor_s(engine.pid) - began[1]) / (time.monotonic() - began[0])
        seen = []
        for number in range(scaled(3, 30)):
            begun = time.monotonic()
            write_cxi(data / f"new_{number}.cxi", frames_of(1))
            wait_until(lambda most=count + number: counts(sessions[1]).files > most)  # type: ignore[misc]
            seen.append(time.monotonic() - begun)
        memory = _all_resident(engine.pid)
        wait_until(lambda: counts(sessions[1]).frames == len(seen))
    finally:
        stop_engine(sessions[1])
        engine.wait(20)
    figure(
        f"folder of {count} files: {100 * idle:.1f} % of one core, {(memory - small) / 2**20:.0f} MiB more than for "
        f"one file, {len(seen)} of {len(seen)} new files in the ledger after {statistics.median(seen):.2f} s "
        f"(median), {max(seen):.2f} s at most"
    )
    assert not counts(sessions[1]).unreadable, "what an earlier engine has read is not read again"
    assert memory - small < READING_BYTES + MOST_BYTES_A_FILE * count
    assert counts(sessions[1]).files == count + len(seen)
    if SOAK > 1:
        assert idle <= MOST_SHARE


def _fill(session: Session, folder: Path, count: int) -> None:
    """Files that an earlier engine has read."""
    results = ResultsWriter(session.results_path)
    with results.batch():
        for number in range(count):
            path = folder / f"frame_{number:06}.tif"
            path.write_bytes(b"II")
            told = path.stat()
            results.put_file(
                FileRow(
                    0, str(path), "/", "run", "TIFF", 48, 64, "int16", Geometry(), False, 1, 1, FileStatus.COMPLETE, "",
                    told.st_size, told.st_mtime_ns, 1000.0, told.st_dev, told.st_ino,
                )
            )  # fmt: skip
    results.close()


def _memory(session: Session, folder: Path) -> int:
    """Of an engine and all its processes on an empty folder."""
    folder.mkdir()
    write_cxi(folder / "one.cxi", frames_of(1))
    engine = start_engine(session, [folder])
    try:
        wait_until(lambda: counts(session).frames == 1)
        return _all_resident(engine.pid)
    finally:
        stop_engine(session)
        engine.wait(20)


def _wait_for_heartbeats(session: Session, seconds: float) -> None:
    """Wait until the engine has written its state for so many seconds."""
    first = session.engine_state().heartbeat
    wait_until(lambda: session.engine_state().heartbeat >= first + seconds)


def _is_scanned(engine: int) -> bool:
    return len(children(engine)) > 0


def _all_resident(engine: int) -> int:
    return sum(map(resident, [engine, *children(engine)]))


def _all_processor_s(engine: int) -> float:
    return sum(map(processor_s, [engine, *children(engine)]))
