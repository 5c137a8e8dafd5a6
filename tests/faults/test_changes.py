"""Files that are changed in place after they were read: what differs is scored again, and its labels wait."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile

from photon_triage.core.frames import FrameKey
from photon_triage.core.session.decisions.labels import LabelWriter
from photon_triage.core.session.session import Session
from tests.builders.detector_files import frames_of, make_old, write_cxi
from tests.waiting import wait_until

from .engines import counts, digest, engine, files, make_session, recorded, scan

DATASET = "/entry_1/data_1/data"
Change = Callable[[Path], None]


def rewrite_frame(path: Path) -> None:
    """Put other pixels into frame 3; the file keeps its inode, size and number of frames."""
    with h5py.File(path, "r+") as file:
        file[DATASET][3] = frames_of(1, first=50)[0]


def photons(session: Session) -> dict[int, float]:
    with closing(session.results()) as reader:
        return {row.key.index: row.measures["photons"] for row in reader.all_frames()}


def label(session: Session, path: Path, *indices: int) -> None:
    with closing(session.results()) as reader:
        digests = {row.key.index: row.digest for row in reader.all_frames()}
    writer = LabelWriter(session.journal())
    for index in indices:
        writer.decide(FrameKey(str(path), DATASET, index), "accepted", digest=digests[index])


@pytest.mark.parametrize("live", [False, True])
def test_frames_whose_bytes_differ_are_scored_again_and_their_labels_wait(tmp_path: Path, live: bool) -> None:
    (data := tmp_path / "data").mkdir()
    path = make_old(write_cxi(data / "run.cxi", frames_of(6, first=1)), 100)
    session = make_session(tmp_path / "session")
    scan(session, [data])
    label(session, path, 3, 4)
    before, inode = photons(session), path.stat().st_ino
    if live:
        with engine(session, [data]):
            wait_until(lambda: session.engine_state().status == "running")
            rewrite_frame(path)
            wait_until(lambda: photons(session)[3] != before[3])
            wait_until(lambda: files(session)["run.cxi"].status == "complete")
    else:
        rewrite_frame(path)
        scan(session, [data])
    assert path.stat().st_ino == inode and counts(session).frames == 6
    assert {index for index, value in photons(session).items() if value != before[index]} == {3}
    assert recorded(session)["run.cxi"][3] == digest(frames_of(1, first=50)[0])
    book = session.labels()
    assert [key.index for key in book.labels] == [4] and [key.index for key in book.changed] == [3]
    label(session, path, 3)
    assert sorted(key.index for key in session.labels().labels) == [3, 4], "confirmed"


def test_a_file_that_was_only_touched_keeps_results_and_labels(tmp_path: Path) -> None:
    (data := tmp_path / "data").mkdir()
    path = make_old(write_cxi(data / "run.cxi", frames_of(6, first=1)), 100)
    session = make_session(tmp_path / "session")
    scan(session, [data])
    label(session, path, 3)
    before = photons(session)
    make_old(path, 50)
    scan(session, [data])
    assert photons(session) == before and [key.index for key in session.labels().labels] == [3]
    assert files(session)["run.cxi"].status == "complete"


def test_a_file_rewritten_with_other_frames_is_read_from_the_start(tmp_path: Path) -> None:
    (data := tmp_path / "data").mkdir()
    path = data / "image.tif"
    tifffile.imwrite(path, frames_of(5, first=1), photometric="minisblack")
    make_old(path, 100)
    session = make_session(tmp_path / "session")
    scan(session, [data])
    assert sorted(recorded(session)["image.tif"]) == list(range(5))
    inode = path.stat().st_ino
    with path.open("r+b") as file:
        file.truncate(0)
        tifffile.imwrite(file, np.full((2, 40, 50), 9, np.int32), photometric="minisblack")
    os.utime(path, (1.7e9, 1.7e9))
    assert path.stat().st_ino == inode
    scan(session, [data])
    row = files(session)["image.tif"]
    assert (row.height, row.width, row.frames, row.done, row.status) == (40, 50, 2, 2, "complete")
    assert sorted(recorded(session)["image.tif"]) == [0, 1]
