from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile

from photon_triage.core.common.errors import ErrorKind, MissingError
from photon_triage.core.frames import Window
from photon_triage.core.sources import FrameReader, inspect
from photon_triage.core.sources.process import worker
from photon_triage.core.sources.process.channel import SharedMemory, memory_file
from tests.builders.detector_files import frames_of, make_old, write_cxi, write_eiger_legacy, write_plain, write_segment


@pytest.fixture
def reader() -> Iterator[FrameReader]:
    with FrameReader() as reader:
        yield reader


def write_tiffs(folder: Path, count: int) -> list[str]:
    for index, frame in enumerate(frames_of(count)):
        tifffile.imwrite(folder / f"run_{index:05d}.tif", frame)
    return sorted(map(str, folder.glob("run_*.tif")))


def test_each_file_is_told_as_inspect_tells_it_with_its_frames(tmp_path: Path, reader: FrameReader) -> None:
    paths = [*write_tiffs(tmp_path, 3), str(make_old(write_plain(tmp_path / "a.h5", "images", frames_of(4))))]

    surveys = reader.survey(paths, read_bytes=2**20)

    assert [survey.info for survey in surveys] == [inspect(path) for path in paths]
    for index, survey in enumerate(surveys[:3]):
        np.testing.assert_array_equal(survey.frames, frames_of(1, first=index))
    np.testing.assert_array_equal(surveys[3].frames, frames_of(4))
    assert [survey.valid for survey in surveys] == [None] * 4


def test_the_mask_comes_with_the_frames(tmp_path: Path, reader: FrameReader) -> None:
    (survey,) = reader.survey([str(make_old(write_cxi(tmp_path / "a.cxi", frames_of(2))))], read_bytes=2**20)

    assert survey.frames is not None and survey.valid is not None
    assert np.argwhere(~survey.valid).tolist() == [[3, 5]]


def test_frames_beyond_the_bytes_are_read_later(tmp_path: Path, reader: FrameReader) -> None:
    paths = write_tiffs(tmp_path, 4)

    surveys = reader.survey(paths, read_bytes=2 * frames_of(1).nbytes)

    assert [survey.frames is not None for survey in surveys] == [True, True, False, False]
    assert all(survey.info is not None and survey.info.frames == 1 for survey in surveys)


def test_a_file_that_may_grow_is_told_without_frames(tmp_path: Path, reader: FrameReader) -> None:
    tifffile.imwrite(tmp_path / "a.tif", frames_of(2), photometric="minisblack", metadata=None)

    (survey,) = reader.survey([str(tmp_path / "a.tif")], read_bytes=2**20)

    assert survey.info is not None and not survey.info.complete and survey.frames is None


def test_one_bad_file_costs_the_others_nothing(tmp_path: Path, reader: FrameReader) -> None:
    paths = write_tiffs(tmp_path, 2)
    (tmp_path / "bad.tif").write_bytes(Path(paths[0]).read_bytes()[:300])

    surveys = reader.survey(
        [paths[0], str(tmp_path / "bad.tif"), str(tmp_path / "absent.tif"), paths[1]], read_bytes=2**20
    )

    assert [survey.frames is not None for survey in surveys] == [True, False, False, True]
    bad, absent = surveys[1].error, surveys[2].error
    assert bad is not None and bad.kind is ErrorKind.TRUNCATED
    assert isinstance(absent, MissingError) and absent.kind is ErrorKind.MISSING


def test_a_window_is_that_part_of_the_frames(tmp_path: Path, reader: FrameReader) -> None:
    data = frames_of(2, shape=(128, 160))
    path = make_old(write_plain(tmp_path / "a.h5", "images", data, chunks=None))

    (survey,) = reader.survey([str(path)], window=Window(10, 0, 40, 160), read_bytes=2**20)

    np.testing.assert_array_equal(survey.frames, data[:, 10:50])


def test_a_named_data_set_and_the_file_around_are_told(tmp_path: Path, reader: FrameReader) -> None:
    segment = make_old(write_segment(tmp_path / "a_data_000001.h5", frames_of(2)))

    (survey,) = reader.survey([str(segment)], "/entry/data/data", around=True, read_bytes=2**20)

    assert survey.info == reader.inspect(segment, "/entry/data/data", around=True)
    assert survey.info is not None and survey.info.shows == (str(segment),)


def test_frames_that_another_file_shows_are_not_read(tmp_path: Path, reader: FrameReader) -> None:
    master = write_eiger_legacy(tmp_path, frames_of(4), per_file=2)
    segment = make_old(tmp_path / "lyso_1_data_000001.h5")

    (survey,) = reader.survey([str(segment)], around=True, read_bytes=2**20)

    assert survey.info is not None and survey.info.shown_by == str(master) and survey.frames is None


def test_frames_of_an_earlier_survey_are_not_overwritten(tmp_path: Path, reader: FrameReader) -> None:
    paths = write_tiffs(tmp_path, 6)

    first = reader.survey(paths[:3], read_bytes=2**20)
    second = reader.survey(paths[3:], read_bytes=2**20)

    values = [int(survey.frames[0, 9, 9]) for survey in (*first, *second) if survey.frames is not None]
    assert values == [1, 2, 3, 4, 5, 6]


def test_a_survey_ends_after_its_time_with_at_least_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "SURVEY_S", 0.0)
    memory = SharedMemory(memory_file())
    request = {"do": "survey", "path": "", "paths": write_tiffs(tmp_path, 3), "dataset": None, "around": False}

    answers = list(worker.Worker(memory).survey(request | {"window": None, "read_bytes": 0, "gaps": [(0, 2**62)]}))
    memory.close()

    assert len(answers) == 1


def test_a_lost_worker_is_blamed_on_the_file_that_it_was_at(tmp_path: Path, reader: FrameReader) -> None:
    paths = write_tiffs(tmp_path, 2)
    reader.inspect(paths[0])
    assert reader.pid is not None
    os.kill(reader.pid, signal.SIGKILL)

    (lost,) = reader.survey(paths, read_bytes=2**20)

    assert lost.error is not None and lost.error.kind is ErrorKind.READER_LOST and paths[0] in lost.error.message
    assert len(reader.survey(paths, read_bytes=2**20)) == 2


def test_no_files_cost_no_worker(reader: FrameReader) -> None:
    assert reader.survey([]) == [] and reader.pid is None
