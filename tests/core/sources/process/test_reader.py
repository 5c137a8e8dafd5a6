from __future__ import annotations

import mmap
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pytest

from photon_triage.core.common.errors import MissingError, NotYetError, SourceError
from photon_triage.core.frames import Window
from photon_triage.core.sources import FrameReader
from photon_triage.core.sources.process import channel as arena
from tests.builders.detector_files import frames_of, make_old, write_cxi, write_plain, write_simulated_tiff
from tests.waiting import wait_until

DATASET = "/entry_1/data_1/data"


@pytest.fixture
def reader() -> Iterator[FrameReader]:
    with FrameReader() as reader:
        yield reader


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_frames_come_back_as_they_were_written(tmp_path: Path, reader: FrameReader) -> None:
    path = write_cxi(tmp_path / "a.cxi", frames_of(5))

    np.testing.assert_array_equal(reader.read(path, DATASET, 1, 4), frames_of(3, first=1))


def test_indices_come_back_in_their_order(tmp_path: Path, reader: FrameReader) -> None:
    path = write_cxi(tmp_path / "a.cxi", frames_of(5))

    assert reader.read_indices(path, DATASET, [4, 0, 1, 1])[:, 9, 9].tolist() == [5, 1, 2, 2]


def test_an_earlier_answer_is_not_overwritten_by_a_later_one(tmp_path: Path, reader: FrameReader) -> None:
    path = write_cxi(tmp_path / "a.cxi", frames_of(5))

    first = reader.read(path, DATASET, 0, 1)
    reader.read(path, DATASET, 0, 5)

    assert first[0, 9, 9] == 1


def test_the_mask_comes_through(tmp_path: Path, reader: FrameReader) -> None:
    mask = reader.mask(reader.inspect(write_cxi(tmp_path / "a.cxi", frames_of(1))))

    assert mask is not None and mask.dtype == bool and np.argwhere(~mask).tolist() == [[3, 5]]


def test_a_tiff_has_no_mask(tmp_path: Path, reader: FrameReader) -> None:
    assert reader.mask(reader.inspect(write_simulated_tiff(tmp_path / "a.tif", frames_of(1)[0]))) is None


def test_errors_keep_their_kind(tmp_path: Path, reader: FrameReader) -> None:
    with pytest.raises(NotYetError, match="no such file"):
        reader.inspect(tmp_path / "soon.h5")
    with pytest.raises(SourceError, match="range of frames") as told:
        reader.read(write_cxi(tmp_path / "a.cxi", frames_of(1)), DATASET, 1, 1)
    assert not isinstance(told.value, NotYetError)


def test_names_that_are_no_text_are_read(tmp_path: Path, reader: FrameReader) -> None:
    path = write_cxi(tmp_path / "a.cxi", frames_of(1)).rename(tmp_path / os.fsdecode(b"\xff\x1b[red].cxi"))

    assert reader.read(path, DATASET, 0, 1).shape == (1, 48, 64)


def test_a_complete_file_is_kept_open_and_a_changed_one_read_anew(tmp_path: Path, reader: FrameReader) -> None:
    path = make_old(write_plain(tmp_path / "a.h5", "images", frames_of(2)))
    reader.inspect(path)
    reader.read(path, "/images", 0, 1)
    assert path.name in [link.readlink().name for link in Path(f"/proc/{reader.pid}/fd").iterdir()]

    write_plain(tmp_path / "b.h5", "images", frames_of(2, first=10)).rename(path)

    assert reader.read(path, "/images", 0, 1)[0, 9, 9] == 11


def test_a_worker_that_was_killed_is_replaced(tmp_path: Path, reader: FrameReader) -> None:
    path = write_cxi(tmp_path / "a.cxi", frames_of(1))
    reader.inspect(path)
    first = reader.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)

    with pytest.raises(SourceError, match="reader process died"):
        reader.inspect(path)
    assert reader.inspect(path).frames == 1
    assert reader.pid != first


def test_a_worker_that_hangs_is_killed_and_replaced(tmp_path: Path) -> None:
    path = write_cxi(tmp_path / "a.cxi", frames_of(1))
    with FrameReader(deadline=1.0) as reader:
        reader.inspect(path)
        first = reader.pid
        assert first is not None
        os.kill(first, signal.SIGSTOP)

        with pytest.raises(SourceError, match=r"no answer within .* killed"):
            reader.inspect(path)

        assert gone(first)
        assert reader.pid is None


def test_a_worker_cannot_take_more_memory_than_allowed(tmp_path: Path) -> None:
    path = write_plain(tmp_path / "a.h5", "images", np.zeros((1, 8000, 8000), "i2"))
    make_old(path)
    with FrameReader(memory_limit=2**30) as reader:
        with pytest.raises(SourceError):
            reader.read_indices(path, "/images", [0] * 9)

        assert reader.read(path, "/images", 0, 1).shape == (1, 8000, 8000)


def test_many_threads_share_a_reader(tmp_path: Path, reader: FrameReader) -> None:
    path = write_cxi(tmp_path / "a.cxi", frames_of(8))
    wrong: list[int] = []

    def read(index: int) -> None:
        for _ in range(20):
            if reader.read(path, DATASET, index, index + 1)[0, 9, 9] != index + 1:
                wrong.append(index)

    threads = [threading.Thread(target=read, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []


def test_a_worker_ends_with_its_parent(tmp_path: Path) -> None:
    path = write_cxi(tmp_path / "a.cxi", frames_of(1))
    code = (
        "import sys; from photon_triage.core.sources import FrameReader\n"
        "reader = FrameReader(); reader.inspect(sys.argv[1]); print(reader.pid, flush=True); sys.stdin.read()"
    )
    command, pipe = [sys.executable, "-c", code, str(path)], subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        parent.kill()
    wait_until(lambda: gone(worker))


def test_a_closed_reader_says_so() -> None:
    reader = FrameReader()
    reader.close()

    with pytest.raises(SourceError, match="closed"):
        reader.inspect("a.h5")


def test_neither_a_parent_nor_a_worker_loads_a_network_or_a_screen() -> None:
    code = (
        "import sys, photon_triage.core.sources as s\n"
        "assert not {'h5py', 'tifffile'} & set(sys.modules)\n"
        "import photon_triage.core.sources.process.worker\n"
        "import photon_triage.core.sources.hdf5.source, photon_triage.core.sources.tiff.source\n"
        "assert not {'torch', 'textual', 'rich', 'typer'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_frames_that_are_held_are_not_overwritten_and_their_memory_is_used_again(
    tmp_path: Path, reader: FrameReader
) -> None:
    path = write_cxi(tmp_path / "a.cxi", frames_of(8))
    views = [reader.read(path, DATASET, index, index + 1)[0, 5:] for index in range(4)]
    places = {view.ctypes.data for view in views}

    del views[1]
    again = reader.read(path, DATASET, 7, 8)[0, 5:]

    assert again.ctypes.data in places
    assert [view[4, 9] for view in views] == [1, 3, 4] and again[4, 9] == 8


def test_more_frames_than_there_is_memory_to_lend_are_copied(
    tmp_path: Path, reader: FrameReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arena, "ARENA_BYTES", 2 * mmap.PAGESIZE)
    path = write_cxi(tmp_path / "a.cxi", frames_of(4))

    held = [reader.read(path, DATASET, index, index + 1) for index in range(4)]

    assert [frames[0, 9, 9] for frames in held] == [1, 2, 3, 4]


def test_frames_outlive_their_reader(tmp_path: Path) -> None:
    with FrameReader() as reader:
        frames = reader.read(write_cxi(tmp_path / "a.cxi", frames_of(2)), DATASET, 0, 2)

    assert frames[:, 9, 9].tolist() == [1, 2]


def test_memory_is_pinned_once_and_until_nobody_holds_frames(tmp_path: Path) -> None:
    pinned: list[tuple[int, int]] = []

    def pin(address: int, size: int) -> Callable[[], object]:
        pinned.append((address, size))
        return pinned.clear

    with FrameReader(pin=pin) as reader:
        path = write_cxi(tmp_path / "a.cxi", frames_of(2))
        frames = [reader.read(path, DATASET, index, index + 1) for index in range(2)]
        ((address, size),) = pinned
        assert all(address <= each.ctypes.data < address + size for each in frames)
    del reader

    assert pinned
    frames.clear()
    assert not pinned


@pytest.mark.parametrize(
    "options",
    [
        {"chunks": None},
        {"chunks": (1, 256, 320)},
        {"chunks": (1, 128, 160), "compression": "gzip"},
        {"chunks": (1, 256, 320), **hdf5plugin.Bitshuffle()},
        {"chunks": (2, 256, 320), **hdf5plugin.LZ4(nbytes=4096)},
    ],
    ids=["contiguous", "chunks", "tiles", "bitshuffle/LZ4", "LZ4"],
)
@pytest.mark.parametrize("window", [Window(0, 30, 40, 70), Window(190, 0, 66, 320), Window(3, 5, 1, 1)])
def test_a_window_of_frames_is_that_part_of_them(
    tmp_path: Path, reader: FrameReader, options: dict[str, Any], window: Window
) -> None:
    data = np.random.default_rng(1).poisson(3.0, (5, 256, 320)).astype("u2")
    path = make_old(write_plain(tmp_path / "a.h5", "images", data, **options))

    found = reader.read(path, "/images", 1, 5, window)

    np.testing.assert_array_equal(found, data[1:, window.rows, window.columns])


def test_whole_frames_come_where_a_window_saves_nothing(tmp_path: Path, reader: FrameReader) -> None:
    data = frames_of(3, shape=(128, 160))
    gzip = write_plain(tmp_path / "a.h5", "images", data, chunks=(1, 128, 160), compression="gzip")
    plain = write_plain(tmp_path / "b.h5", "images", data, chunks=(1, 128, 160))

    assert reader.read(gzip, "/images", 0, 3, Window(0, 0, 20, 20)).shape == (3, 128, 160)
    for window in (Window(100, 0, 40, 160), Window(0, 0, 128, 160)):
        assert reader.read(plain, "/images", 0, 3, window).shape == (3, 128, 160)


def test_a_window_does_not_hide_that_the_rest_of_a_frame_is_missing(tmp_path: Path, reader: FrameReader) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        images = file.create_dataset("images", (2, 256, 128), "u2", chunks=(1, 128, 128))
        images[0], images[1, :128] = 1, 2

    with pytest.raises(MissingError, match=r"frame 1 .* is not written"):
        reader.read(tmp_path / "a.h5", "/images", 0, 2, Window(0, 0, 64, 64))
