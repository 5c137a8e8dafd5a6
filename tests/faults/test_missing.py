"""What a file names and is not there is missing: waited for, told, asked after again, and never scored."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile

from photon_triage.core.common.errors import MissingError, SourceError
from photon_triage.core.engine.recovery import recover
from photon_triage.core.session.decisions.commands import ask_to_retry
from photon_triage.core.sources import FrameReader, Survey
from photon_triage.core.sources.process.reader import Source
from tests.builders.detector_files import frames_of, make_old, write_cxi, write_eiger_legacy, write_segment
from tests.waiting import wait_until

from .engines import Collected, counts, engine, files, follow, intake, make_session, recorded, scan

Say = Callable[[str], None]


def all_over(count: int) -> Callable[[Collected], bool]:
    return lambda told: sum(news.status.is_final for news in told.news.values()) == count


def write_holes(path: Path) -> Path:
    """Frames 2 and 3 of six were never written."""
    with h5py.File(path, "w") as file:
        images = file.create_dataset("images", (6, 48, 64), "i2", chunks=(1, 48, 64))
        images[:2] = frames_of(2)
        images[4:] = frames_of(2, first=4)
    return path


def write_virtual_run(folder: Path, parts: int, written: int) -> Path:
    """A virtual data set over files of four frames, of which so many are there."""
    path = folder / "virtual_master.h5"
    layout = h5py.VirtualLayout((4 * parts, 48, 64), "i2")
    for number in range(parts):
        name = f"virtual_data_{number + 1:06}.h5"
        layout[4 * number : 4 * number + 4] = h5py.VirtualSource(name, "entry/data/data", (4, 48, 64))
        if number < written:
            write_segment(folder / name, frames_of(4, first=4 * number))
    with h5py.File(path, "w", libver="latest") as file:
        file.create_group("entry").attrs["NX_class"] = "NXentry"
        file.create_virtual_dataset("entry/data/data", layout)
    return path


def test_a_missing_link_source_chunk_or_page_is_told_and_not_scored(tmp_path: Path, figure: Say) -> None:
    write_holes(tmp_path / "holes.h5")
    write_eiger_legacy(tmp_path, frames_of(12), per_file=4, written=2)
    write_virtual_run(tmp_path, 3, 2)
    tifffile.imwrite(tmp_path / "cut.tif", frames_of(5), photometric="minisblack")
    whole = (tmp_path / "cut.tif").read_bytes()
    (tmp_path / "cut.tif").write_bytes(whole[: len(whole) // 2])
    for path in tmp_path.iterdir():
        make_old(path, 100)
    with intake([tmp_path], patience=0.5) as running:
        told = follow(running, all_over(4))
    statuses = {name: news.status for name, news in told.news.items()}
    read = {name: sorted(frames) for name, frames in told.frames.items()}
    blank = [name for name, frames in told.frames.items() for frame in frames.values() if not frame.any()]
    figure(f"missing link, virtual source, chunk, page: {statuses}; {len(blank)} unwritten frames scored")
    assert set(statuses.values()) == {"missing"} and not blank
    assert read["holes.h5"] == [0, 1, 4, 5], "frames beyond the hole are read"
    assert read["lyso_1_master.h5"] == list(range(8)) == read["virtual_master.h5"]
    assert "frames are not there: 2-3" in told.news["holes.h5"].reason
    assert "lyso_1_data_000003.h5" in told.news["lyso_1_master.h5"].reason
    assert "virtual_data_000003.h5" in told.news["virtual_master.h5"].reason
    assert "truncated" in told.news["cut.tif"].reason


def test_what_was_missing_is_read_once_it_comes_and_retry_is_asked_for(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    write_eiger_legacy(data, frames_of(12), per_file=4, written=2)
    session = make_session(tmp_path / "session")
    with engine(session, [data], patience=0.5):
        wait_until(lambda: counts(session).missing == 1)
        write_segment(data / "lyso_1_data_000003.h5", frames_of(4, first=8))
        ask_to_retry(session.journal())
        wait_until(lambda: counts(session).frames == 12)
        wait_until(lambda: files(session)["lyso_1_master.h5"].status == "complete")
    assert sorted(recorded(session)["lyso_1_master.h5"]) == list(range(12))


def test_a_retry_is_kept_for_the_next_engine_and_followed_once(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "x.h5").write_bytes(b"nothing" * 200)
    make_old(data / "x.h5", 100)
    session = make_session(tmp_path / "session")
    told = []
    for asked in (False, False, True, False):
        if asked:
            ask_to_retry(session.journal(), [str(data / "x.h5")])
        scan(session, [data])
        told.append(files(session)["x.h5"].updated)
    assert told[0] == told[1] < told[2] == told[3]
    assert files(session)["x.h5"].status == "unreadable"


DYING = """
import os, signal, sys
import h5py
sys.path.insert(0, sys.argv[2])
from tests.builders.detector_files import frames_of
file = h5py.File(sys.argv[1], "w", libver="latest")
data = file.create_dataset("images", (0, 48, 64), "i2", maxshape=(None, 48, 64), chunks=(1, 48, 64))
if sys.argv[3] == "swmr":
    file.swmr_mode = True
data.resize(5, 0)
data[:] = frames_of(5)
file.flush()
os.kill(os.getpid(), signal.SIGKILL)
"""


def leave_by_a_dead_writer(path: Path, mode: str) -> Path:
    root = str(Path(__file__).parents[2])
    done = subprocess.run([sys.executable, "-c", DYING, str(path), root, mode], check=False)
    assert done.returncode == -signal.SIGKILL
    return make_old(path, 100)


def test_frames_of_a_dead_swmr_writer_are_read(tmp_path: Path) -> None:
    leave_by_a_dead_writer(tmp_path / "dead.h5", "swmr")
    with intake([tmp_path], patience=0.5) as running:
        told = follow(running, all_over(1))
    assert sorted(told.frames["dead.h5"]) == list(range(5))


def test_frames_of_another_dead_writer_are_read_from_a_copy_when_asked(tmp_path: Path, figure: Say) -> None:
    data = tmp_path / "data"
    data.mkdir()
    path = leave_by_a_dead_writer(data / "dead.h5", "plain")
    original = path.read_bytes()
    session = make_session(tmp_path / "session")
    scan(session, [data])
    (row,) = files(session).values()
    assert row.status == "unreadable" and "--recover" in row.reason
    copy = recover(path, session.recovered_path)
    ask_to_retry(session.journal())
    scan(session, [data])
    assert sorted(recorded(session)[copy.name]) == list(range(5))
    assert path.read_bytes() == original, "the file itself is not touched"
    assert files(session)["dead.h5"].status == "complete" and str(copy) in files(session)["dead.h5"].reason
    figure("frames of a writer that died without SWMR: 5 of 5 from a copy, the file untouched")


@pytest.mark.parametrize("content", ["whole", "nothing" * 100, ""])
def test_what_no_writer_has_marked_is_not_recovered(tmp_path: Path, content: str) -> None:
    path = write_cxi(tmp_path / "a.h5", frames_of(1))
    if content != "whole":
        path.write_text(content)
    with pytest.raises(SourceError, match="no writer has left it marked"):
        recover(make_old(path, 100), tmp_path / "recovered")
    assert not (tmp_path / "recovered").exists()


def test_a_file_whose_writer_may_be_alive_is_not_recovered(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="it changed"):
        recover(write_cxi(tmp_path / "a.h5", frames_of(1)), tmp_path / "recovered")


def test_a_finished_file_tells_which_of_its_frames_are_there(tmp_path: Path) -> None:
    path = make_old(write_holes(tmp_path / "holes.h5"))
    with FrameReader() as reader:
        present = {index for low, high in reader.present(path, "/images", 0, 6) for index in range(low, high)}
    assert present == {0, 1, 4, 5}


class Promising(FrameReader):
    """Reads a file that says of frame 3 that it is there."""

    def survey(self, *arguments: Any, **options: Any) -> list[Survey]:
        return super().survey(*arguments, **options | {"read_bytes": 0})

    def read(self, source: Source, dataset: str, start: int, stop: int, *more: Any) -> np.ndarray:
        if start <= 3 < stop:
            raise MissingError(f"Reading {source}: frame 3 is not written.")
        return super().read(source, dataset, start, stop, *more)


def test_a_frame_that_a_finished_file_promises_in_vain_is_missing(tmp_path: Path) -> None:
    make_old(write_cxi(tmp_path / "whole.cxi", frames_of(6)))
    with intake([tmp_path], patience=0.5, make_reader=Promising) as running:
        told = follow(running, all_over(1))
    news = told.news["whole.cxi"]
    assert news.status == "missing" and "frames are not there: 3." in news.reason
    assert sorted(told.frames["whole.cxi"]) == [0, 1, 2, 4, 5]


def test_one_damaged_frame_does_not_cost_the_others(tmp_path: Path) -> None:
    path = tmp_path / "damaged.h5"
    with h5py.File(path, "w") as file:
        noise = np.random.default_rng(1).integers(0, 999, (40, 48, 64)).astype("i2")
        images = file.create_dataset("images", data=noise, chunks=(1, 48, 64), compression="gzip")
        places = [images.id.get_chunk_info_by_coord((index, 0, 0)).byte_offset for index in (7, 8, 30)]
    with path.open("r+b") as raw:
        for place in places:
            raw.seek(place)
            raw.write(b"\xff" * 64)
    make_old(path)
    with intake([tmp_path]) as running:
        told = follow(running, all_over(1))
    news = told.news["damaged.h5"]
    assert sorted(told.frames["damaged.h5"]) == [index for index in range(40) if index not in (7, 8, 30)]
    assert news.status == "unreadable" and "3 frames cannot be read: 7-8, 30" in news.reason
