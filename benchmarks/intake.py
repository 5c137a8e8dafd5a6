"""How fast frames come in: reading beside plain h5py and tifffile, the rest of a scan, and a live stream's lag.

Reading: frames of 512x1024 uint16 through the engine's reader process, whole and only the region of the recipe `spi`,
against `read_direct` of h5py in this process, one run of each a round, on files that the system has in memory.

Files: many TIFF files of one frame each, surveyed by the engine's reader process, and read by tifffile in this process;
and one frame of an Eiger master with links to many files, found anew and with the layout of an earlier look.

Scan: the recipe `spi-seeds` with a YOLOv2 network of 416x416 (random weights) on simulated frames of the published
make-up.

Stream: a process writes frames at a rate into an HDF5 file (SWMR), an engine follows it with hit finding; the lag of a
frame is from when it was flushed to when its result was recorded.

Single, waiting: files of one frame each through a whole engine with the recipe `sfx`, in the journal mode of network
disks, compressed, and where very many of them wait.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
from measure import machine
from single_files import single, waiting

HEIGHT, WIDTH, KINDS_OF_FRAMES, AT_ONCE = 512, 1024, 64, 20
FORMATS: dict[str, dict[str, Any]] = {
    "uncompressed": {"chunks": None},
    "uncompressed, in chunks": {},
    "bitshuffle/LZ4": dict(hdf5plugin.Bitshuffle()),
    "LZ4": dict(hdf5plugin.LZ4()),
    "gzip": {"compression": "gzip", "compression_opts": 4},
    "shuffle and gzip": {"shuffle": True, "compression": "gzip", "compression_opts": 4},
    "Zstandard": dict(hdf5plugin.Zstd()),
}
STREAMED = {"uncompressed": {}, "bitshuffle/LZ4": FORMATS["bitshuffle/LZ4"]}
HITS = """name = "hits"
[source]
order = "latest"
[geometry]
beam_center_x = 512.0
beam_center_y = -4.0
[prepare]
roi = { top = 0, left = 392, height = 123, width = 240 }
[[stages]]
kind = "lit-pixels"
signal_radius = 60
min_excess_photons = 200
"""


def patterns(count: int) -> Any:
    """Frames of a weak background, each twentieth with scattering about the beam, (count, 512, 1024) uint16."""
    rng = np.random.default_rng(1)
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    fall = 30 * np.exp(-np.hypot(rows + 4, columns - 512) / 25)
    return np.stack([rng.poisson(0.02 + fall * (place % 20 == 0)) for place in range(count)]).astype("u2")


def reading(folder: Path, frames: int, rounds: int) -> dict[str, Any]:
    """Frames and GB a second of each format: best of some rounds, all ways one after the other in each."""
    from photon_triage.core.recipe import load_recipe
    from photon_triage.core.sources import FrameReader

    data, report = patterns(frames), {}
    window = load_recipe("spi").window
    kept = np.empty((AT_ONCE, HEIGHT, WIDTH), "u2")
    for name, options in FORMATS.items():
        path = folder / f"{len(report)}.h5"
        with h5py.File(path, "w") as file:
            file.create_dataset("images", data=data, **{"chunks": (1, HEIGHT, WIDTH), **options})
        long_ago = time.time() - 3600
        os.utime(path, (long_ago, long_ago))
        with FrameReader() as reader, h5py.File(path) as file:
            dataset = reader.inspect(path).dataset
            pieces = range(0, frames, AT_ONCE)

            def plainly(source: Any = file["images"], pieces: range = pieces) -> None:
                for start in pieces:
                    source.read_direct(kept[: min(AT_ONCE, frames - start)], np.s_[start : start + AT_ONCE])

            def here(path: Path = path, dataset: str = dataset, pieces: range = pieces, part: Any = None) -> None:
                for start in pieces:
                    reader.read(path, dataset, start, min(frames, start + AT_ONCE), part)

            ways: dict[str, Callable[[], None]] = {
                "h5py": plainly,
                "reader": here,
                "reader, region": lambda here=here: here(part=window),  # type: ignore[misc]
            }
            found = reader.read(path, dataset, 0, AT_ONCE)
            assert (found == data[:AT_ONCE]).all()
            times: dict[str, list[float]] = {way: [] for way in ways}
            for _ in range(rounds):
                for way, run in ways.items():
                    began = time.perf_counter()
                    run()
                    times[way].append(time.perf_counter() - began)
        best = {way: min(seconds) for way, seconds in times.items()}
        report[name] = {
            way: {
                "frames_per_second": frames / best[way],
                "gb_per_second": data.nbytes / best[way] / 1e9,
                "times_h5py": best["h5py"] / best[way],
            }
            for way in ways
        }
        path.unlink()
    return report


FILES: dict[str, tuple[tuple[int, int], dict[str, Any]]] = {
    "64x64 uncompressed": ((64, 64), {}),
    "512x1024 deflate": ((HEIGHT, WIDTH), {"compression": "zlib"}),
}
SURVEYED, LINKED_FILES = 100, 20


def single_frames(folder: Path, files: int, rounds: int) -> dict[str, Any]:
    """TIFF files of one frame a second, wall time: best of some rounds, the reader and tifffile one after the other."""
    import tifffile

    from photon_triage.core.sources import FrameReader

    report: dict[str, Any] = {}
    for name, ((height, width), options) in FILES.items():
        place = folder / f"tiff{len(report)}"
        place.mkdir()
        count = files if not options else files // 5
        for number, frame in enumerate(itertools.islice(itertools.cycle(patterns(20)), count)):
            tifffile.imwrite(place / f"run_{number:05d}.tif", frame[:height, -width:], **options)
        paths = sorted(map(str, place.iterdir()))
        with FrameReader() as reader:

            def surveyed(reader: Any = reader, paths: list[str] = paths) -> None:
                done = 0
                while done < len(paths):
                    done += len(reader.survey(paths[done : done + SURVEYED], around=True, read_bytes=2**28))

            def one_by_one(reader: Any = reader, paths: list[str] = paths) -> None:
                for path in paths:
                    info = reader.inspect(path, around=True)
                    reader.read(info, info.dataset, 0, 1)

            def plainly(paths: list[str] = paths) -> None:
                for path in paths:
                    tifffile.imread(path)

            best = best_times({"tifffile": plainly, "survey": surveyed, "inspect and read": one_by_one}, rounds)
        report[name] = {
            way: {"files_per_second": count / seconds, "times_tifffile": best["tifffile"] / seconds}
            for way, seconds in best.items()
        }
    return report


def linked_frame(folder: Path, rounds: int) -> dict[str, Any]:
    """Milliseconds to open a master that links to many files and to read one frame: with and without its layout."""
    from photon_triage.core.sources import inspect
    from photon_triage.core.sources.registry import look, open_frames

    data = patterns(2)
    master = folder / "a_master.h5"
    with h5py.File(master, "w") as file:
        group = file.create_group("entry/data")
        for number in range(1, LINKED_FILES + 1):
            group[f"data_{number:06d}"] = h5py.ExternalLink(f"a_data_{number:06d}.h5", "/entry/data/data")
            with h5py.File(folder / f"a_data_{number:06d}.h5", "w") as part:
                part.create_dataset("entry/data/data", data=data, chunks=(1, HEIGHT, WIDTH), **hdf5plugin.Bitshuffle())
    long_ago = time.time() - 3600
    for path in folder.glob("a_*.h5"):
        os.utime(path, (long_ago, long_ago))
    info = inspect(master)
    out = np.empty((1, HEIGHT, WIDTH), "u2")

    def read(layout: Any) -> None:
        frames = open_frames(look(master), info.dataset, layout)
        frames.read(LINKED_FILES, LINKED_FILES + 1, out)
        frames.close()

    best = best_times({"found anew": lambda: read(None), "with its layout": lambda: read(info.stack)}, rounds)
    return {f"{way}_ms": 1e3 * seconds for way, seconds in best.items()}


def best_times(ways: dict[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    """The least seconds of each way, all ways one after the other in each round, once before they count."""
    times: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(rounds + 1):
        for way, run in ways.items():
            began = time.perf_counter()
            run()
            if number:
                times[way].append(time.perf_counter() - began)
    return {way: min(seconds) for way, seconds in times.items()}


def share_of_scan(folder: Path, frames: int) -> dict[str, Any]:
    """What of a scan's time is not the network: from its first frames to its end."""
    import torch

    from photon_triage.core.engine.pipeline import Engine
    from photon_triage.core.engine.recorder import Recorder
    from photon_triage.core.recipe import recipe_text
    from photon_triage.core.session.session import Session
    from photon_triage.core.session.store.writer import ResultsWriter
    from photon_triage.models.common.checkpoint import save
    from photon_triage.models.darknet.darknet import Darknet

    command = [sys.executable, "-P", "-m", "photon_triage.tui", "simulate", "spi", folder / "data", "--quiet"]
    options = ["--frames", frames, "--runs", 1, "--rate", 0, "--seed", 9, "--blanks", 0.25]
    subprocess.run([*map(str, command + options)], check=True)
    stage = '[[stages]]\nkind = "classify"\nmodel = "random"\nthreshold = 0.5\n'
    session = Session.create(folder / "session", f"{recipe_text('spi-seeds')}\n{stage}", "spi-seeds")
    cfg = Path(__file__).parent.parent / "models/cfgs/yolov2-seeds.cfg"
    torch.manual_seed(1)
    save(session.models_path / "random.safetensors", Darknet.from_cfg(cfg.read_text()), {"name": "random"})
    results = Recorder(ResultsWriter(session.results_path))
    engine = Engine(session, [folder / "data"], results, once=True, patience=1)
    network, seen, first = [0.0], [0], [0.0]
    classify, score = engine._running.stages[-1], engine._score._scorer.score
    forward = classify._run  # type: ignore[attr-defined]

    def timed(images: torch.Tensor) -> Any:
        began = time.perf_counter()
        outputs = forward(images)
        network[0] += time.perf_counter() - began
        seen[0] += len(images)
        return outputs

    def scored(*arguments: Any) -> Any:
        first[0] = first[0] or time.perf_counter()
        return score(*arguments)

    classify._run, engine._score._scorer.score = timed, scored  # type: ignore[attr-defined, method-assign]
    began = time.perf_counter()
    engine.run()
    ended = time.perf_counter()
    results.close()
    return {
        "frames": frames,
        "frames_to_the_network": seen[0],
        "seconds_before_the_first_frame": first[0] - began,
        "seconds_of_scan": ended - first[0],
        "seconds_of_network": network[0],
        "share_that_is_not_the_network": 1 - network[0] / (ended - first[0]),
    }


def write_stream(path: str, options: dict[str, Any], rate: float, seconds: float, connection: Any) -> None:
    """Write frames at a rate, compressed beforehand; sends (frames, when) of every flush, and the CPU time it took."""
    data = patterns(KINDS_OF_FRAMES)
    with h5py.File(f"{path}.made", "w") as file:
        made = file.create_dataset("x", data=data, chunks=(1, HEIGHT, WIDTH), **options)
        chunks = [made.id.read_direct_chunk((place, 0, 0))[1] for place in range(KINDS_OF_FRAMES)]
    Path(f"{path}.made").unlink()
    flushes: list[tuple[int, float]] = []
    with h5py.File(path, "w", libver="latest") as file:
        entry = file.create_group("entry_1")
        entry["instrument_1/detector_1/distance"] = 0.13
        shape = (HEIGHT, WIDTH)
        images = entry.create_dataset(
            "data_1/data", (0, *shape), "u2", maxshape=(None, *shape), chunks=(1, *shape), **options
        )
        end = entry.create_dataset("end_time", data=np.zeros((), "S32"))
        file.swmr_mode = True
        connection.send("open")
        connection.recv()
        began, done, total = time.time(), 0, int(rate * seconds)
        before = time.process_time()
        while done < total:
            due = min(total, int((time.time() - began) * rate))
            if due - done < rate / 50:
                time.sleep(0.005)
            if due > done:
                images.resize(due, 0)
                for place in range(done, due):
                    images.id.write_direct_chunk((place, 0, 0), chunks[place % KINDS_OF_FRAMES])
                images.flush()
                flushes.append((due, time.time()))
                done = due
        took = time.time() - began
        end[()] = b"2026-01-01T00:00:00"
        end.flush()
        connection.send((flushes, time.process_time() - before, took))
        connection.recv()


def stream(folder: Path, options: dict[str, Any], rate: float, seconds: float) -> dict[str, Any]:
    """The lag of a stream's frames at a rate."""
    from photon_triage.core.engine.process import start_engine, stop_engine
    from photon_triage.core.session.session import Session

    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    (folder / "data").mkdir(parents=True)
    path = folder / "data" / "stream.cxi"
    writer = context.Process(target=write_stream, args=(str(path), options, rate, seconds, theirs))
    writer.start()
    ours.recv()
    session = Session.create(folder / "session", HITS, "hits")
    engine = start_engine(session, [folder / "data"])
    reader = None
    try:
        while not session.results_path.exists():
            time.sleep(0.05)
        reader = session.results()
        while not reader.state().heartbeat or reader.state().status != "running":
            time.sleep(0.05)
        time.sleep(3.0)  # the watcher has seen the empty file, and the reader's process is there
        before = _processor_time(engine.pid)
        ours.send("go")
        flushes, writer_s, took = ours.recv()
        total, deadline = flushes[-1][0], time.time() + 60
        while reader.counts().frames < total and time.time() < deadline:
            time.sleep(0.1)
        engine_s = _processor_time(engine.pid) - before
        flushed = np.empty(total)
        done = 0
        for count, when in flushes:
            flushed[done:count], done = when, count
        seen = np.full(total, np.inf)
        for row in reader.all_frames():
            seen[row.key.index] = row.seen
    finally:
        with suppress(OSError):
            ours.send("end")
        stop_engine(session)
        if reader is not None:
            reader.close()
        writer.join()
    lag = seen - flushed
    return {
        "asked_hz": rate,
        "written_hz": total / took,
        "frames": total,
        "recorded": int(np.isfinite(lag).sum()),
        "median_lag_s": float(np.median(lag)),
        "p99_lag_s": float(np.percentile(lag, 99)),
        "largest_lag_s": float(lag.max()),
        "writer_cores": writer_s / took,
        "engine_cores": engine_s / (seen.max() - flushed[0]) if np.isfinite(seen).all() else None,
    }


def _processor_time(pid: int) -> float:
    """Seconds of processor time of a process and its children, so far."""
    total = 0.0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if pid in (int(stat.parent.name), int(fields[1])):
                total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=100, help="of a file that is read")
    parser.add_argument("--files", type=int, default=1000, help="of one small frame; of large ones a fifth")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--scan-frames", type=int, default=150)
    parser.add_argument("--rates", type=float, nargs="*", default=[2000, 1500, 1000, 500], help="of the stream, in Hz")
    parser.add_argument("--seconds", type=float, default=8.0, help="of the stream; a quarter of them uncompressed")
    parser.add_argument("--only", choices=["reading", "files", "scan", "stream", "single", "waiting"])
    parser.add_argument("--waiting", type=int, nargs="*", default=[2000, 100_000], help="files that wait")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--folder", type=Path, help="where the files are written; left open, a temporary one")
    arguments = parser.parse_args()
    report: dict[str, Any] = {"machine": machine()}
    with tempfile.TemporaryDirectory(dir=arguments.folder) as place:
        if arguments.only in (None, "reading"):
            report["reading"] = reading(Path(place), arguments.frames, arguments.rounds)
        if arguments.only in (None, "files"):
            with tempfile.TemporaryDirectory(dir=place) as folder:
                report["files"] = single_frames(Path(folder), arguments.files, arguments.rounds)
                report["files"]["a frame of a master"] = linked_frame(Path(folder), arguments.rounds)
        if arguments.only in (None, "scan"):
            report["scan"] = share_of_scan(Path(place) / "scan", arguments.scan_frames)
        if arguments.only in (None, "stream"):
            report["stream"] = {}
            for name, options in STREAMED.items():
                seconds = arguments.seconds / 4 if name == "uncompressed" else arguments.seconds
                for rate in arguments.rates:
                    with tempfile.TemporaryDirectory(dir=place) as folder:
                        found = stream(Path(folder), options, rate, seconds)
                    report["stream"][f"{name}, {rate:g} Hz"] = found
                    if found["largest_lag_s"] < 1:
                        break
        if arguments.only in (None, "single"):
            with tempfile.TemporaryDirectory(dir=place) as folder:
                report["single"] = single(Path(folder), 8 * arguments.files)
        if arguments.only in (None, "waiting"):
            with tempfile.TemporaryDirectory(dir=place) as folder:
                report["waiting"] = waiting(Path(folder), tuple(arguments.waiting))
    if arguments.json:
        sys.stdout.write(json.dumps(report, indent=2) + "\n")
        return
    for name, value in report.items():
        parts = value if name in ("reading", "files", "stream", "single", "waiting") else {name: value}
        for title, found in parts.items():
            sys.stdout.write(
                f"{name}, {title}: {json.dumps(found)}\n" if parts is value else f"{name}: {json.dumps(found)}\n"
            )


if __name__ == "__main__":
    main()
