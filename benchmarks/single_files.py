"""How fast files of one frame each come in, also where very many of them wait, in the journal mode of network disks."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile

STEADY_S = 20.0
FRAMES_AT_ONCE = 64


def write_files(folder: Path, count: int, shape: tuple[int, int], compression: str | None = None) -> None:
    """TIFF files of one uint16 frame each, as if written an hour ago; their pixels repeat after 64 files."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(2)
    contents = []
    for number in range(FRAMES_AT_ONCE):
        path = folder / "content.tif"
        frame = rng.poisson(2 + (number % 20 == 0), shape).astype("u2")
        tifffile.imwrite(path, frame, photometric="minisblack", compression=compression)
        contents.append(path.read_bytes())
    path.unlink()
    long_ago = time.time() - 3600
    for number in range(count):
        path = folder / f"f_{number:06}.tif"
        path.write_bytes(contents[number % FRAMES_AT_ONCE])
        os.utime(path, (long_ago + number / 1000,) * 2)


def run_engine(session: str, data: str, once: bool, network_disk: bool) -> None:
    """An engine until it ends or is killed; network_disk: with the data base's journal mode for such disks."""
    from photon_triage.core.engine.pipeline import Engine
    from photon_triage.core.engine.recorder import Recorder
    from photon_triage.core.session.session import Session
    from photon_triage.core.session.store import database
    from photon_triage.core.session.store.writer import ResultsWriter

    if network_disk:
        database.on_network_file_system = lambda path: True
    opened = Session.open(session)
    Engine(opened, [Path(data)], Recorder(ResultsWriter(opened.results_path)), once=once, device="cpu").run()


def waiting(folder: Path, counts: tuple[int, ...]) -> dict[str, Any]:
    """Frames a second while so many files wait, and the seconds until a new file is in the ledger."""
    report: dict[str, Any] = {}
    for count in counts:
        write_files(folder / str(count) / "data", count, (64, 64))
        report[f"{count} files"] = _follow(folder / str(count), count, network_disk=False)
    most, least = (report[f"{count} files"]["frames_per_second"] for count in (max(counts), min(counts)))
    return report | {"rate_kept": most / least}


def single(folder: Path, count: int) -> dict[str, Any]:
    """Frames a second of files of one frame: small ones as on a network disk, and a scan of compressed ones."""
    write_files(folder / "small" / "data", count, (64, 64))
    write_files(folder / "deflate" / "data", count, (512, 1024), "deflate")
    return {
        "64x64 uncompressed, journal mode of network disks": _follow(folder / "small", count, network_disk=True),
        "512x1024 deflate, scan with the recipe spi-presort": _scan(folder / "deflate", count),
        "imagecodecs": imagecodecs.__version__,
    }


def _follow(folder: Path, count: int, *, network_disk: bool) -> dict[str, Any]:
    from photon_triage.core.recipe import recipe_text
    from photon_triage.core.session.session import Session

    session = Session.create(folder / "session", recipe_text("sfx"), "sfx")
    engine = _begin(run_engine, str(session.path), str(folder / "data"), False, network_disk)
    try:
        began = _wait_for_frames(session, 1)
        first = time.monotonic()
        while time.monotonic() - first < STEADY_S and _frames(session) < count:
            time.sleep(0.05)
        seconds, done = time.monotonic() - first, _frames(session)
        write_files(folder / "data" / "new", 1, (64, 64))
        (folder / "data" / "new" / "f_000000.tif").rename(folder / "data" / "new.tif")
        asked = time.monotonic()
        while not _knows(session, folder / "data" / "new.tif"):
            time.sleep(0.05)
        return {
            "frames_per_second": (done - began) / seconds,
            "seconds": seconds,
            "new_file_in_ledger_s": time.monotonic() - asked,
        }
    finally:
        engine.kill()
        engine.join()


def _scan(folder: Path, count: int) -> dict[str, Any]:
    from photon_triage.core.recipe import recipe_text
    from photon_triage.core.session.session import Session

    session = Session.create(folder / "session", recipe_text("spi-presort"), "spi-presort")
    engine = _begin(run_engine, str(session.path), str(folder / "data"), True, False)
    began = _wait_for_frames(session, 1)
    first = time.monotonic()
    while (done := _frames(session)) < count and engine.is_alive():
        time.sleep(0.02)
    seconds = time.monotonic() - first
    engine.join()
    return {"frames_per_second": (done - began) / seconds, "seconds": seconds}


def _begin(target: Any, *arguments: Any) -> Any:
    process = multiprocessing.get_context("spawn").Process(target=target, args=arguments)
    process.start()
    return process


def _wait_for_frames(session: Any, count: int) -> int:
    while not session.results_path.exists() or _frames(session) < count:
        time.sleep(0.02)
    return _frames(session)


def _frames(session: Any) -> int:
    """Frames recorded; asked so that it takes no time from the engine."""
    return int(_ask(session, "SELECT coalesce(max(id), 0) FROM frames"))


def _knows(session: Any, path: Path) -> bool:
    return bool(_ask(session, "SELECT count(*) FROM files WHERE path = ?", str(path)))


def _ask(session: Any, query: str, *values: str) -> Any:
    with closing(sqlite3.connect(session.results_path)) as db:
        return db.execute(query, values).fetchone()[0]
