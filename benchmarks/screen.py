"""How fast the screen is on a large session: first paint, key to paint, bytes to the terminal, memory.

Makes a session of a million frames and ten thousand labels, opens the real application on a pseudo-terminal and presses
keys while another process records 1,000 results a second, a transaction a batch. `--minutes 20` watches its memory over
twenty minutes of that stream. `--keep FOLDER` leaves the session there, and takes it from there the next time.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from screen_pty import Screen

FILE_FRAMES = 4000
HEIGHT, WIDTH = 128, 192
RECIPE = """
name = "screen"

[[stages]]
kind = "lit-pixels"
min_photons = 200

[[stages]]
kind = "classify"
model = "hitnet-spi"
threshold = 0.5
"""
GOALS = {"first_paint_s": 1.5, "key_to_paint_ms_p95": 30.0, "kib_per_s_at_rest": 30.0}
FEED_HZ, BATCHES_HZ = 1000, 20


def write_frames(path: Path) -> None:
    """A detector file to look at: rings, a hundred different ones."""
    import h5py
    import hdf5plugin

    rng = np.random.default_rng(7)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    radius = np.hypot(y - HEIGHT / 2, x - WIDTH / 2)
    rings = [30 * np.exp(-radius / 25) * (1 + np.cos(radius / (2 + k % 9))) for k in range(100)]
    frames = rng.poisson(np.stack(rings)).astype(np.uint16)
    with h5py.File(path, "w") as file:
        options = dict(hdf5plugin.Bitshuffle(cname="lz4"))
        file.create_dataset(
            "entry/data", data=np.tile(frames, (FILE_FRAMES // 100, 1, 1)), chunks=(1, HEIGHT, WIDTH), **options
        )


def results(rng: np.random.Generator, start: int, count: int) -> list[Any]:
    """What an engine records of so many frames: one in ten is a hit."""
    from photon_triage.core.session.store.rows import FrameResult

    hit = rng.random(count) < 0.1
    score, lit = rng.beta(0.6, 0.6, count), rng.integers(50, 900, count)
    return [
        FrameResult(
            start + k, 2 if hit[k] else 0, bool(hit[k]), round(float(score[k]), 6) if hit[k] else None,
            "hitnet-spi" if hit[k] else None, f"{start + k:032x}" if hit[k] else None,
            {"lit_pixels": float(lit[k]), "photons": 3.0 * float(lit[k])},
        )
        for k in range(count)
    ]  # fmt: skip


def add_file(writer: Any, folder: Path, place: int, frames: int, status: str) -> tuple[int, Path]:
    """A file of the ledger with a name of its own and shared contents; returns its id and path."""
    from photon_triage.core.frames import Geometry
    from photon_triage.core.session.store.rows import FileRow

    path = folder / f"r{place // 25:04d}-{place % 25:02d}.h5"
    if not path.exists():
        os.link(folder / "frames.h5", path)
    row = FileRow(
        0, str(path), "/entry/data", f"r{place // 25:04d}", "nexus", HEIGHT, WIDTH, "uint16", Geometry(), True,
        frames, 0, status, "", path.stat().st_size, path.stat().st_mtime_ns, time.time(),
    )  # fmt: skip
    return writer.put_file(row), path


def build(folder: Path, frames: int, labels: int) -> Path:
    """The session's path, made by the project's own writer and journals."""
    from photon_triage.core.session.session import Session
    from photon_triage.core.session.store.writer import ResultsWriter

    if (folder / "session" / "results.db").exists():
        return folder / "session"
    folder.mkdir(parents=True, exist_ok=True)
    write_frames(folder / "frames.h5")
    session = Session.create(folder / "session", RECIPE, "the benchmark")
    writer = ResultsWriter(session.results_path)
    rng = np.random.default_rng(1)
    begun = time.time() - 0.01 * frames
    hits = []
    for place in range(-(-frames // FILE_FRAMES)):
        count = min(FILE_FRAMES, frames - place * FILE_FRAMES)
        with writer.batch():
            file_id, path = add_file(writer, folder, place, count, "complete")
            found = results(rng, 0, count)
            for start in range(0, count, 500):
                seen = begun + 0.01 * (place * FILE_FRAMES + start)
                writer.put_frames(file_id, found[start : start + 500], seen)
        hits += [(path, each) for each in found if each.hit]
    writer.close()
    journal = session.journal()
    journal.append_all(
        [
            (
                "label",
                {
                    "file": str(path), "dataset": "/entry/data", "index": each.index, "digest": each.digest,
                    "verdict": "accepted" if each.score > 0.5 else "rejected",
                },
            )
            for path, each in hits[:: max(len(hits) // labels, 1)][:labels]
        ]
    )  # fmt: skip
    journal.close()
    return session.path


def feed(path: Path, rate: int) -> None:
    """Look like an engine: record so many results a second, for ever."""
    from photon_triage.core.session.session import Session
    from photon_triage.core.session.store.writer import ResultsWriter

    session = Session(path)
    writer = ResultsWriter(session.results_path)
    rng = np.random.default_rng(os.getpid())
    known = len(writer.files())
    identity = {"pid": os.getpid(), "host": platform.node(), "started": time.time(), "device": "cpu", "workers": 2}
    done, file_id, next_at, beat = FILE_FRAMES, 0, time.monotonic(), 0.0
    batch = max(rate // BATCHES_HZ, 1)
    while os.getppid() != 1:
        if rate:
            if done + batch > FILE_FRAMES:
                file_id, _ = add_file(writer, path.parent, known, FILE_FRAMES, "reading")
                known, done = known + 1, 0
            writer.put_frames(file_id, results(rng, done, batch), time.time())
            done += batch
        if time.monotonic() - beat > 0.5:
            beat = time.monotonic()
            lag = {"rate_hz": rate + rng.normal(0, 10), "lag_s": rng.uniform(0.1, 0.4), "queue": int(rng.integers(50))}
            writer.set_state(identity | lag | {"status": "running", "heartbeat": time.time(), "model": "hitnet-spi"})
        next_at += 1 / BATCHES_HZ
        time.sleep(max(next_at - time.monotonic(), 0))


class Feeder:
    """A process that records results as an engine does."""

    def __init__(self, session: Path, rate: int) -> None:
        self._process = subprocess.Popen([sys.executable, __file__, "--feed", str(rate), "--keep", str(session)])

    def __enter__(self) -> Feeder:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()


def measure(session: Path, size: tuple[int, int], presses: int, rest_s: float, minutes: float) -> dict[str, Any]:
    """Everything that is measured on one size of terminal."""
    report: dict[str, Any] = {}
    with Feeder(session, FEED_HZ), Screen(session, size) as screen:
        painted = screen.until("photon-triage" if size[0] >= 110 else " hit ")
        listed = screen.until("▶")
        report["first_paint_s"] = max(painted, listed)
        report["first_paint_cpu_s"] = screen.cpu_s()
        screen.rest(3.0)
        begun, before = time.monotonic(), screen.received
        screen.rest(rest_s)
        report["kib_per_s_at_rest"] = (screen.received - before) / 1024 / (time.monotonic() - begun)
        computed = screen.cpu_s()
        waits = screen.key_to_paint(presses)
        report["cpu_ms_a_key"] = 1e3 * (screen.cpu_s() - computed) / presses
        for name, percent in (("p50", 50), ("p95", 95), ("max", 100)):
            report[f"key_to_paint_ms_{name}"] = 1e3 * float(np.percentile(waits, percent))
        report["presses"] = len(waits)
        screen.press("t")
        screen.rest(3.0)
        begun, before = time.monotonic(), screen.received
        screen.rest(rest_s)
        report["kib_per_s_tail"] = (screen.received - before) / 1024 / (time.monotonic() - begun)
        if minutes:
            report["memory"] = memory_over(screen, minutes)
        report["rss_mib"] = screen.rss_mib()
    return report


def memory_over(screen: Screen, minutes: float) -> dict[str, Any]:
    """Resident memory while the stream goes on: every tenth of the time, in MiB."""
    seen = [screen.rss_mib()]
    for _ in range(10):
        screen.rest(6.0 * minutes)
        seen.append(screen.rss_mib())
    third = len(seen) // 3
    return {
        "minutes": minutes,
        "rss_mib": [round(value, 1) for value in seen],
        "last_third_over_middle_third": float(np.mean(seen[-third:]) / np.mean(seen[third : 2 * third])),
    }


def open_list(session: Path) -> dict[str, float]:
    """Seconds until a snapshot has each list, hits and all frames, of a screen that is open and of one that opens."""
    from photon_triage.core.session.session import Session
    from photon_triage.tui.snapshot.snapshot import ListSpec, Request
    from photon_triage.tui.snapshot.snapshot_builder import SnapshotBuilder

    builder = SnapshotBuilder(Session(session))
    spent = {}
    specs = [("first look", "score", "hits"), ("with its labels", "score", "hits")]
    specs += [(f"{shown} by {order}", order, shown) for shown in ("hits", "all") for order in ORDERS]
    for serial, (name, order, shown) in enumerate(specs, 1):
        begun = time.perf_counter()
        snapshot = builder.build(Request(ListSpec(order, shown), serial))
        spent[name] = time.perf_counter() - begun
        assert snapshot.ids is not None, snapshot.problem
    builder.close()
    return spent


ORDERS = ("score", "newest", "uncertain")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--labels", type=int, default=10_000)
    parser.add_argument("--presses", type=int, default=200)
    parser.add_argument("--rest", type=float, default=10.0, help="seconds over which bytes at rest are counted")
    parser.add_argument("--minutes", type=float, default=0.0, help="watch memory for so long")
    parser.add_argument("--sizes", default="120x40", help="terminal sizes, such as 80x24,120x40,200x60")
    parser.add_argument("--keep", type=Path, help="folder in which the session stays")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--feed", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.feed is not None:
        feed(options.keep, options.feed)
        return
    folder = options.keep or Path(tempfile.mkdtemp())
    try:
        begun = time.perf_counter()
        session = build(folder, options.frames, options.labels)
        report: dict[str, Any] = {
            "machine": f"{platform.processor() or platform.machine()}, {len(os.sched_getaffinity(0))} cores",
            "load": os.getloadavg()[0],
            "frames": options.frames,
            "labels": options.labels,
            "build_s": time.perf_counter() - begun,
            "list_s": open_list(session),
            "goals": GOALS,
        }
        for size in options.sizes.split(","):
            width, height = map(int, size.split("x"))
            report[size] = measure(session, (width, height), options.presses, options.rest, options.minutes)
    finally:
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)
    if options.json:
        sys.stdout.write(json.dumps(report, indent=2) + "\n")
        return
    for name, value in report.items():
        sys.stdout.write(f"{name}: {json.dumps(value)}\n")


if __name__ == "__main__":
    main()
