from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import h5py
import numpy as np
import pytest

from photon_triage.core.common.errors import NotYetError
from photon_triage.core.sources import FrameReader, inspect, read_frames
from photon_triage.core.sources.hdf5.availability import Settling
from tests.builders.detector_files import GrowingCxi, frames_of, make_old, write_cxi, write_plain
from tests.waiting import wait_until

DATASET = "/entry_1/data_1/data"


@pytest.fixture(scope="module")
def reader() -> Iterator[FrameReader]:
    with FrameReader() as reader:
        yield reader


def test_frames_are_followed_as_they_are_flushed(tmp_path: Path, reader: FrameReader) -> None:
    path = tmp_path / "run.cxi"
    with GrowingCxi(path) as writer:
        for count in (1, 4, 9):
            writer.append(frames_of(count - len(writer.data), first=len(writer.data)))
            info = reader.inspect(path)
            assert (info.available, info.complete) == (count, False)
            np.testing.assert_array_equal(reader.read(path, DATASET, 0, count), frames_of(count))
        writer.finish()
        assert reader.inspect(path).complete


def test_a_file_without_a_frame_has_none(tmp_path: Path, reader: FrameReader) -> None:
    path = tmp_path / "run.cxi"
    with GrowingCxi(path):
        info = reader.inspect(path)

    assert (info.frames, info.available, info.complete) == (0, 0, False)


def test_frames_resized_but_unwritten_are_not_available(tmp_path: Path, reader: FrameReader) -> None:
    path = tmp_path / "run.cxi"
    with GrowingCxi(path) as writer:
        writer.append(frames_of(2))
        writer.data.resize(5, 0)
        writer.data.flush()

        info = reader.inspect(path)

        assert (info.frames, info.available) == (5, 2)
        with pytest.raises(NotYetError, match=r"frame 2 .* is not written"):
            reader.read(path, DATASET, 1, 3)


def test_a_run_that_goes_on_at_full_speed_loses_nothing(tmp_path: Path, reader: FrameReader) -> None:
    path = tmp_path / "run.cxi"
    seen: list[int] = []
    with GrowingCxi(path) as writer:

        def write() -> None:
            for number in range(200):
                writer.append(frames_of(1, first=number))
            writer.finish()

        thread = threading.Thread(target=write)
        thread.start()
        complete, end = False, time.monotonic() + 20
        while not complete and time.monotonic() < end:
            info = reader.inspect(path)
            complete = info.complete
            if info.available > len(seen):
                new = reader.read(path, DATASET, len(seen), info.available)
                seen.extend(new[:, 9, 9].tolist())
        thread.join()

    assert seen == list(range(1, 201))


def test_a_plain_writer_is_never_kept_from_its_file(tmp_path: Path, reader: FrameReader) -> None:
    path = write_plain(tmp_path / "x.h5", "images", frames_of(1), maxshape=(None, 48, 64), chunks=(1, 48, 64))
    stop, polled = threading.Event(), threading.Event()

    def poll() -> None:
        while not stop.is_set():
            with suppress(NotYetError):
                reader.read(path, "/images", 0, reader.inspect(path).available)
            polled.set()

    thread = threading.Thread(target=poll)
    thread.start()
    try:
        for number in range(1, 40):
            with h5py.File(path, "a", locking=True) as file:
                file["images"].resize(number + 1, 0)
                file["images"][number] = frames_of(1, first=number)[0]
            polled.clear()
            assert polled.wait(60)
    finally:
        stop.set()
        thread.join()

    assert inspect(path).frames == 40


def test_blank_frames_at_the_end_of_a_contiguous_data_set_are_provisional(tmp_path: Path) -> None:
    frames = frames_of(8)
    frames[5:] = 0
    path = write_plain(tmp_path / "x.h5", "images", frames)
    assert (inspect(path).available, inspect(path).complete) == (5, False)

    make_old(path)
    assert (inspect(path).available, inspect(path).complete) == (8, True)


def test_a_blank_frame_between_others_is_measured(tmp_path: Path) -> None:
    frames = frames_of(8)
    frames[3] = 0

    assert inspect(write_plain(tmp_path / "x.h5", "images", frames)).available == 8


def test_the_last_chunk_of_several_frames_is_provisional(tmp_path: Path) -> None:
    path = write_plain(tmp_path / "x.h5", "images", frames_of(10), chunks=(4, 48, 64), maxshape=(None, 48, 64))
    assert inspect(path).available == 8

    make_old(path)
    assert inspect(path).available == 10


def test_holes_of_a_finished_file_are_told_not_read_as_zeros(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        images = file.create_dataset("images", (6, 48, 64), "i2", chunks=(1, 48, 64))
        images[:2] = frames_of(2)
        images[4:] = frames_of(2, first=4)
    make_old(path)

    info = inspect(path)

    assert (info.frames, info.available, info.complete) == (6, 2, True)
    assert read_frames(path, "/images", 4, 5)[0, 9, 9] == 5
    with pytest.raises(NotYetError):
        read_frames(path, "/images", 2, 3)


def test_a_growing_file_without_an_end_is_complete_once_it_rests(tmp_path: Path) -> None:
    path = write_plain(tmp_path / "x.h5", "images", frames_of(3), chunks=(1, 48, 64), maxshape=(None, 48, 64))
    assert not inspect(path).complete

    make_old(path, 15)
    assert inspect(path).complete


def test_a_file_that_is_still_copied_is_waited_for(tmp_path: Path) -> None:
    whole = write_cxi(tmp_path / "whole.cxi", frames_of(20)).read_bytes()
    part = tmp_path / "part.cxi"
    for size in (0, 4, 100, 2000, len(whole) // 2, len(whole) - 10):
        part.write_bytes(whole[:size])
        with pytest.raises(NotYetError):
            inspect(part)


def test_a_missing_file_is_waited_for(tmp_path: Path) -> None:
    with pytest.raises(NotYetError, match="no such file"):
        inspect(tmp_path / "soon.h5")


def is_open(path: Path, reader: FrameReader) -> bool:
    return path.name in [link.readlink().name for link in Path(f"/proc/{reader.pid}/fd").iterdir()]


def test_the_handle_of_a_growing_file_is_kept_for_a_moment_only(tmp_path: Path, reader: FrameReader) -> None:
    path = tmp_path / "run.cxi"
    with GrowingCxi(path) as writer:
        writer.append(frames_of(1))
        reader.inspect(path)
        reader.read(path, DATASET, 0, 1)
        wait_until(lambda: not is_open(path, reader))


def test_a_handle_that_is_kept_does_not_hide_what_came_since(tmp_path: Path, reader: FrameReader) -> None:
    path = tmp_path / "run.cxi"
    with GrowingCxi(path) as writer:
        for count in range(1, 9):
            writer.append(frames_of(1, first=count - 1))
            found = reader.read(path, DATASET, 0, count)

            np.testing.assert_array_equal(found, frames_of(count))


def test_a_growing_file_that_is_replaced_is_read_anew(tmp_path: Path, reader: FrameReader) -> None:
    path = tmp_path / "run.cxi"
    with GrowingCxi(path) as writer:
        writer.append(frames_of(2))
        reader.read(path, DATASET, 0, 2)
        with GrowingCxi(tmp_path / "other.cxi") as other:
            other.append(frames_of(2, first=10))
            (tmp_path / "other.cxi").rename(path)

            assert reader.read(path, DATASET, 0, 2)[:, 9, 9].tolist() == [11, 12]


def test_a_chunk_of_a_plain_writer_settles_before_it_counts() -> None:
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    settling = Settling(lambda: now, sleep)
    key = (1, 2, "/data")

    assert settling.confirm(key, 3) == 3  # a file that is new here is waited for
    now = 1.0
    assert settling.confirm(key, 5) == 3
    now = 1.05
    assert settling.confirm(key, 6) == 3
    now = 1.12
    assert settling.confirm(key, 7) == 5
    assert settling.confirm(key, 2) == 0  # written anew
