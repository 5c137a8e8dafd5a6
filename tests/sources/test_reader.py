from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from photon_triage.core.errors import NotYetError, SourceError
from photon_triage.core.sources import FrameReader
from tests.builders.detector_files import frames_of, make_old, write_cxi, write_plain, write_simulated_tiff

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
        "import sys, time; from photon_triage.core.sources import FrameReader\n"
        "reader = FrameReader(); reader.inspect(sys.argv[1]); print(reader.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        parent.kill()
    end = time.monotonic() + 10
    while not gone(worker) and time.monotonic() < end:
        time.sleep(0.01)

    assert gone(worker)


def test_a_closed_reader_says_so() -> None:
    reader = FrameReader()
    reader.close()

    with pytest.raises(SourceError, match="closed"):
        reader.inspect("a.h5")


def test_neither_a_parent_nor_a_worker_loads_a_network_or_a_screen() -> None:
    code = (
        "import sys, photon_triage.core.sources as s\n"
        "assert not {'h5py', 'tifffile'} & set(sys.modules)\n"
        "import photon_triage.core.sources.worker, photon_triage.core.sources.hdf5, photon_triage.core.sources.tiff\n"
        "assert not {'torch', 'textual', 'rich', 'typer'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
