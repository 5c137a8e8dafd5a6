"""Files beside their writers: no writer is harmed, every frame is seen once, and none that is not written is scored."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from photon_triage.core.common.errors import SourceError
from photon_triage.core.sources import FrameReader
from tests.builders.detector_files import make_old
from tests.waiting import wait_until

from . import writer
from .engines import counts, digest, engine, files, make_session, recorded
from .scale import scaled

Say = Callable[[str], None]

REOPENING = """
import itertools, sys, time
from pathlib import Path
import h5py, numpy as np
folder, times = Path(sys.argv[1]), int(sys.argv[2])
harmed = combinations = 0
modes = [("earliest", False), ("v110", False), ("v110", True), ("latest", False), ("latest", True)]
layouts = {"resized": {"maxshape": (None, 48, 64)}, "gzip": {"maxshape": (None, 48, 64), "compression": 1}, "sized": {}}
for locking, (libver, swmr), (name, options) in itertools.product(
    (None, True, "best-effort", False), modes, layouts.items()
):
    path = folder / f"{locking}-{libver}-{swmr}-{name}.h5"
    combinations += 1
    try:
        for number in range(times):
            with h5py.File(path, "a", libver=libver, locking=locking) as file:
                if not number:
                    length = times if name == "sized" else 0
                    file.create_dataset("d", (length, 48, 64), "i2", chunks=(1, 48, 64), **options)
                if swmr:
                    file.swmr_mode = True
                if name != "sized":
                    file["d"].resize(number + 1, 0)
                file["d"][number] = number + 1
                file["d"].flush()
                time.sleep(0.003)
    except OSError as error:
        print(path, error, file=sys.stderr)
        harmed += 1
print(harmed, combinations)
"""


def test_no_writer_is_harmed_by_being_read(tmp_path: Path, figure: Say) -> None:
    reads = 0
    stop = threading.Event()

    def poll() -> None:
        nonlocal reads
        with FrameReader() as reader:
            while not stop.is_set():
                for path in sorted(tmp_path.iterdir(), key=lambda path: path.stat().st_ctime_ns)[-2:]:
                    with suppress(SourceError):
                        info = reader.inspect(path)
                        reader.read(path, info.dataset, 0, info.available)
                        reads += 1

    threads = [threading.Thread(target=poll) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        command = [sys.executable, "-c", REOPENING, str(tmp_path), str(scaled(6, 100))]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert done.returncode == 0, done.stderr
    harmed, combinations = map(int, done.stdout.split())
    figure(f"writers harmed by our reading: {harmed} of {combinations} combinations ({reads} reads)")
    assert harmed == 0 and reads > 0, done.stderr


def test_every_frame_of_every_kind_of_writer_is_seen_once(tmp_path: Path, figure: Say) -> None:
    count = scaled(36, 900)
    data = tmp_path / "data"
    data.mkdir()
    session = make_session(tmp_path / "session")
    expected = {kind: [digest(writer.frame(kind, index)) for index in range(count)] for kind in writer.KINDS}
    command = [sys.executable, writer.__file__]
    with engine(session, [data], patience=600):
        writers = {
            kind: subprocess.Popen([*command, kind, str(data), str(count)], stderr=subprocess.PIPE, text=True)
            for kind in writer.KINDS
        }
        said = {kind: process.communicate()[1] for kind, process in writers.items()}
        failed = {kind: said[kind] for kind, process in writers.items() if process.returncode}
        assert not failed, "a writer was harmed"
        for path in data.iterdir():
            make_old(path)  # as if nobody had changed them for long: what is at the end of a file is waited for
        wait_until(lambda: counts(session).frames >= count * len(writer.KINDS), 120)
    found = recorded(session)
    told = {
        kind: found.get(f"{kind}.{suffix}", {}) if kind != "single" else _of_single_files(found)
        for kind, (suffix, _, _) in writer.KINDS.items()
    }
    wrong = {kind for kind, frames in told.items() if any(frames[at] != expected[kind][at] for at in frames)}
    lost = {kind: count - len(frames) for kind, frames in told.items() if len(frames) != count}
    total = sum(len(frames) for frames in told.values())
    figure(
        f"frames of {len(told)} kinds of writer: {total} of {count * len(told)} read once, "
        f"{len(wrong)} kinds with a wrong or unwritten frame"
    )
    assert not wrong and not lost, {kind: files(session).get(f"{kind}.h5") for kind in lost}
    assert counts(session).frames == total


def _of_single_files(found: dict[str, dict[int, str | None]]) -> dict[int, str | None]:
    return {int(name[7:12]): frames[0] for name, frames in found.items() if name.startswith("single_")}
