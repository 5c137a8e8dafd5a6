"""Time and memory of commands on a large session: metrics, labels in and out, report, audit, exports.

Makes a session of a million frames in 250 files with 100,000 labels, and one of three million frames with ten accepted.
Each command runs in a process of its own on two cores; its peak memory is the largest resident set that the kernel
reports for it. `--keep FOLDER` leaves the sessions there, and takes them from there the next time. `--only
metrics,report` runs those alone.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from screen import FILE_FRAMES, RECIPE, add_file, write_frames

DATASET, RUN_S, LABELLERS = "/entry/data", 0.01, 4
ACCEPTED_OF_LABELLED = 0.69
INSERT = (
    "INSERT INTO frames (id, file_id, idx, seen, passed, hit, score, model_id, digest, measures) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
CORES = 2
LAUNCHER = """
import json, os, sys, time
os.sched_setaffinity(0, json.loads(sys.argv[1]))
begun = time.perf_counter()
process = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ, file_actions=[
    (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)])
_, status, used = os.wait4(process, 0)
print(json.dumps([time.perf_counter() - begun, used.ru_utime + used.ru_stime, used.ru_maxrss,
    os.waitstatus_to_exitcode(status)]))
"""
"""The kernel counts the memory of whoever starts a process to its peak: so a small process does."""


@dataclass(frozen=True, slots=True)
class Goal:
    """Seconds and MiB that a command may take; above what it takes on an empty session where `above_start` is set."""

    seconds: float
    mib: float
    above_start: bool = False


def frame_rows(rng: np.random.Generator, file_id: int, count: int, begun: float) -> Iterator[tuple[Any, ...]]:
    """Rows of the table `frames` of one file: one frame in ten is a hit with a score and a digest."""
    first = (file_id - 1) * FILE_FRAMES
    hit = (rng.random(count) < 0.1).tolist()
    scores, lit = rng.beta(0.6, 0.6, count).round(6).tolist(), rng.integers(50, 900, count).tolist()
    for index in range(count):
        measures = f'{{"lit_pixels": {float(lit[index])}, "photons": {3.0 * lit[index]}}}'
        seen = begun + RUN_S * (first + index)
        if hit[index]:
            yield first + index + 1, file_id, index, seen, 2, 1, scores[index], 1, f"{first + index:032x}", measures
        else:
            yield first + index + 1, file_id, index, seen, 0, 0, None, None, None, measures


def build(folder: Path, frames: int, labels: int, accepted: int) -> Path:
    """The path of a session with these numbers of frames, labels and accepted frames.

    Half of the labelled frames are hits, the others misses that somebody looked at.
    """
    from photon_triage.core.session.session import Session
    from photon_triage.core.session.store.database import connect
    from photon_triage.core.session.store.rows import HISTORY_BIN_S
    from photon_triage.core.session.store.writer import ResultsWriter

    if (folder / "done").exists():
        return folder / "session"
    folder.mkdir(parents=True, exist_ok=True)
    write_frames(folder / "frames.h5")
    session = Session.create(folder / "session", RECIPE, "the benchmark")
    writer = ResultsWriter(session.results_path)
    rng = np.random.default_rng(1)
    begun = float(int(time.time() - RUN_S * frames) // HISTORY_BIN_S * HISTORY_BIN_S)
    paths = []
    with writer.batch():
        for place in range(-(-frames // FILE_FRAMES)):
            count = min(FILE_FRAMES, frames - place * FILE_FRAMES)
            paths.append(add_file(writer, folder, place, count, "complete")[1])
    writer.set_state({"status": "stopped", "model": "hitnet-spi"})
    writer.close()
    db = connect(session.results_path)
    db.execute("INSERT INTO models (id, name) VALUES (1, 'hitnet-spi')")
    for place in range(len(paths)):
        count = min(FILE_FRAMES, frames - place * FILE_FRAMES)
        db.executemany(INSERT, frame_rows(rng, place + 1, count, begun))
    db.execute("UPDATE files SET done = frames, reach = frames")
    db.execute(
        "INSERT INTO history SELECT CAST(seen / ? AS INTEGER), count(*), sum(hit) FROM frames GROUP BY 1",
        (HISTORY_BIN_S,),
    )
    db.commit()
    hits = db.execute("SELECT id, digest FROM frames WHERE hit = 1 AND id % 2 = 0 LIMIT ?", (labels // 2,)).fetchall()
    misses = db.execute("SELECT id, NULL FROM frames WHERE hit = 0 LIMIT ?", (labels - len(hits),)).fetchall()
    db.close()
    write_labels(session, paths, [*hits, *misses], accepted)
    (folder / "done").touch()
    return session.path


def write_labels(session: Any, paths: Sequence[Path], rows: Sequence[tuple[int, str | None]], accepted: int) -> None:
    """Label frames, by their ids, in the journals of several people; the first ones are accepted."""
    for labeller in range(LABELLERS):
        journal = session.journal(f"person {labeller + 1}")
        entries = []
        for number, (frame_id, digest) in enumerate(rows):
            if number % LABELLERS == labeller:
                file, index = divmod(frame_id - 1, FILE_FRAMES)
                fields = {"file": str(paths[file]), "dataset": DATASET, "index": index}
                fields |= {"digest": digest} if digest else {}
                entries.append(("label", fields | {"verdict": "accepted" if number < accepted else "rejected"}))
        journal.append_all(entries)
        journal.close()


def empty(folder: Path) -> Path:
    """The path of a session with one frame: what a command takes there is its start-up."""
    return build(folder, 1, 0, 0)


def write_table(path: Path, session: Path, rows: int) -> None:
    """A table of labels, as `labels import` takes it, of frames that nobody has labelled yet."""
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("file", "dataset", "index", "verdict", "class", "who", "time"))
        for number in range(rows):
            place, index = divmod(number * 7, FILE_FRAMES)
            source = session.parent / f"r{place // 25:04d}-{place % 25:02d}.h5"
            verdict = "accepted" if number % 3 else "rejected"
            table.writerow((source, DATASET, index, verdict, "", "elsewhere", "2026-01-01T00:00:00Z"))


def run(arguments: Sequence[str], cores: Sequence[int]) -> tuple[float, float, float, int]:
    """Seconds, seconds of the processor, MiB at the peak and exit code of a command."""
    command = [sys.executable, "-P", "-m", "photon_triage.tui", *arguments]
    launch = [sys.executable, "-I", "-S", "-c", LAUNCHER, json.dumps(list(cores)), *command]
    done = subprocess.run(launch, stdout=subprocess.PIPE, text=True, check=True)
    spent, processor, kib, code = json.loads(done.stdout)
    return spent, processor, kib / 1024, code


def commands(folder: Path, session: Path, large: Path, out: Path) -> Iterator[tuple[str, Goal, list[str], Path]]:
    """Names, goals, command lines and the session that each is of."""
    usual, whole = Goal(10, 400), Goal(30, 400)
    yield "metrics", usual, ["metrics", "{}", "--json"], session
    yield "labels export", usual, ["labels", "export", "{}", f"{out}/labels.csv"], session
    yield "report", usual, ["report", "{}", "-o", f"{out}/report.html"], session
    crystfel = ["export", "{}", "--format", "crystfel", "-o", f"{out}/frames.lst"]
    yield "crystfel accepted", usual, [*crystfel, "--select", "accepted"], session
    yield "crystfel predicted", usual, [*crystfel, "--select", "predicted", "--threshold", "0.3"], session
    table = ["export", "{}", "--format", "csv", "-o", f"{out}/table.csv"]
    yield "csv all", whole, [*table, "--select", "all"], session
    few = Goal(0.5, 50, above_start=True)
    yield "crystfel 10 of all", few, [*crystfel, "--select", "accepted"], large
    yield "csv 10 of all", few, [*table, "--select", "accepted"], large
    yield "audit --draw 100", usual, ["audit", "{}", "--draw", "100", "--json"], session
    yield "labels import", usual, ["labels", "import", "{}", str(folder / "table.csv")], session


def measure(folder: Path, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One line a command. Journals are put back afterwards: two commands write some."""
    session = build(folder / f"{options.frames}", options.frames, options.labels,
                    round(ACCEPTED_OF_LABELLED * options.labels))  # fmt: skip
    large, start = build(folder / f"{options.large}", options.large, 10, 10), empty(folder / "start")
    write_table(folder / "table.csv", session, options.labels)
    out = folder / "out"
    cores = sorted(os.sched_getaffinity(0))[:CORES]
    only = set(options.only.split(",")) if options.only else set()
    for name, goal, arguments, of in commands(folder, session, large, out):
        if only and name not in only:
            continue
        journal = of / "journal"
        before = set(journal.iterdir())
        times, peaks = [], []
        for path in [start if goal.above_start else of, of]:
            shutil.rmtree(out, ignore_errors=True)
            out.mkdir()
            seconds, processor, mib, code = run([part.format(path) for part in arguments], cores)
            times.append(seconds)
            peaks.append(mib)
            for added in set(journal.iterdir()) - before:
                added.unlink()
        spent, peak = times[1], peaks[1]
        if goal.above_start:
            spent, peak = spent - times[0], peak - peaks[0]
        yield {
            "command": name, "seconds": round(spent, 2), "processor_s": round(processor, 2), "mib": round(peak, 1),
            "goal_s": goal.seconds, "goal_mib": goal.mib, "above_start": goal.above_start, "exit_code": code,
            "met": spent <= goal.seconds and peak <= goal.mib and code == 0,
        }  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--labels", type=int, default=100_000)
    parser.add_argument("--large", type=int, default=3_000_000, help="frames of the session of which ten are accepted")
    parser.add_argument("--only", default="", metavar="NAMES", help="commands by their names, separated by commas")
    parser.add_argument("--keep", type=Path, help="folder in which the sessions stay")
    options = parser.parse_args()
    folder = options.keep or Path(tempfile.mkdtemp())
    sys.stdout.write(json.dumps({"machine": platform.processor() or platform.machine(), "cores": CORES,
                                 "load": os.getloadavg()[0]}) + "\n")  # fmt: skip
    try:
        for line in measure(folder, options):
            sys.stdout.write(json.dumps(line) + "\n")
            sys.stdout.flush()
    finally:
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
