from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from photon_triage.core.common.errors import SourceError
from photon_triage.core.sources import FrameReader, SourceInfo, inspect
from photon_triage.core.sources.common.info import StackLayout
from photon_triage.core.sources.hdf5.stack import StaleLayoutError
from photon_triage.core.sources.registry import look, open_frames
from tests.builders.detector_files import (
    frames_of,
    make_old,
    write_cxi,
    write_eiger_legacy,
    write_nxmx,
    write_plain,
    write_segment,
    write_simulated_tiff,
)
from tests.builders.facility_files import (
    write_cheetah_cxi,
    write_data_exchange,
    write_euxfel,
    write_lambda,
    write_numbered_virtual,
    write_nxtomo,
    write_sacla_run,
    write_sacla_tags,
)


@pytest.fixture
def reader() -> Iterator[FrameReader]:
    with FrameReader() as reader:
        yield reader


def master_of(folder: Path, count: int = 6) -> SourceInfo:
    master = write_eiger_legacy(folder, frames_of(count), per_file=2)
    for path in folder.glob("*.h5"):
        make_old(path)
    return inspect(master)


WRITERS: dict[str, Callable[[Path], Path]] = {
    "CXI": lambda folder: write_cxi(folder / "a.cxi", frames_of(6)),
    "Cheetah": lambda folder: write_cheetah_cxi(folder / "a.cxi", frames_of(6)),
    "NXmx": lambda folder: write_nxmx(folder / "a.nxs", frames_of(6)),
    "Eiger": lambda folder: write_eiger_legacy(folder, frames_of(6), per_file=2),
    "virtual": lambda folder: write_numbered_virtual(folder, frames_of(6), per_file=2),
    "projections and flats": lambda folder: write_nxtomo(folder / "a.nxs", frames_of(8), [1, 0, 0, 2, 0, 0, 0, 1]),
    "Data Exchange": lambda folder: write_data_exchange(folder / "a.h5", frames_of(6)),
    "modules": lambda folder: write_lambda(folder / "a.nxs", frames_of(6)),
    "European XFEL": lambda folder: write_euxfel(folder, 1, frames_of(6), raw=True),
    "tags": lambda folder: write_sacla_tags(folder / "a.h5", frames_of(6), range(6)),
    "tags of a run": lambda folder: write_sacla_run(folder / "a.h5", frames_of(6), range(6)),
    "frames last": lambda folder: write_plain(
        folder / "a.h5", "images", np.moveaxis(frames_of(6), 0, 2).copy(), chunks=(48, 64, 1)
    ),
    "five axes": lambda folder: write_plain(folder / "a.h5", "images", frames_of(6).reshape(2, 3, 1, 48, 64)),
    "one frame": lambda folder: write_plain(folder / "a.h5", "images", frames_of(1)[0]),
    "big-endian": lambda folder: write_plain(folder / "a.h5", "images", frames_of(6).astype(">i2")),
    "TIFF": lambda folder: write_simulated_tiff(folder / "a.tif", frames_of(1)[0]),
}


@pytest.mark.parametrize("convention", WRITERS)
def test_frames_found_before_are_those_found_anew(tmp_path: Path, reader: FrameReader, convention: str) -> None:
    info = reader.inspect(WRITERS[convention](tmp_path))
    other = write_simulated_tiff(tmp_path / "other.tif", frames_of(1)[0])
    anew = [reader.read(info.path, info.dataset, index, index + 1) for index in range(info.frames)]
    for index, frame in enumerate(anew):
        reader.inspect(other)  # so that the file does not stay open
        known = reader.read(info, info.dataset, index, index + 1)
        np.testing.assert_array_equal(known, frame)
        assert known.dtype == frame.dtype
    assert reader.present(info, info.dataset, 0, 99) == reader.present(info.path, info.dataset, 0, 99)
    last = info.frames - 1
    np.testing.assert_array_equal(reader.read_indices(info, info.dataset, [last, 0])[0], anew[last][0])


@pytest.mark.parametrize("convention", WRITERS)
def test_a_layout_is_the_same_behind_json(tmp_path: Path, convention: str) -> None:
    info = inspect(WRITERS[convention](tmp_path))

    assert SourceInfo.from_json(json.loads(json.dumps(info.to_json()))) == info


@pytest.mark.parametrize("convention", sorted(set(WRITERS) - {"TIFF", "tags", "tags of a run"}))
def test_stacks_of_all_kinds_have_a_layout(tmp_path: Path, convention: str) -> None:
    assert inspect(WRITERS[convention](tmp_path)).stack is not None


def test_only_the_file_with_the_frame_is_opened(tmp_path: Path, reader: FrameReader) -> None:
    info = master_of(tmp_path)
    for number in (1, 2):
        (tmp_path / f"lyso_1_data_{number:06}.h5").unlink()

    assert reader.read(info, info.dataset, 5, 6)[0, 9, 9] == 6


def test_a_master_that_links_elsewhere_by_now_is_followed(tmp_path: Path, reader: FrameReader) -> None:
    info = master_of(tmp_path)
    make_old(write_segment(tmp_path / "new.h5", frames_of(2, first=50)))
    with h5py.File(info.path, "r+") as file:
        del file["entry/data/data_000001"]
        file["entry/data/data_000001"] = h5py.ExternalLink("new.h5", "/entry/data/data")

    assert reader.read(info, info.dataset, 0, 1)[0, 9, 9] == 51


@pytest.mark.parametrize("dtype", ["i2", ">i2", "f4", "u1"])
def test_a_file_that_was_written_again_with_another_shape_or_dtype_is_read_as_it_is(
    tmp_path: Path, reader: FrameReader, dtype: str
) -> None:
    info = inspect(write_plain(tmp_path / "a.h5", "images", frames_of(3)))
    other = frames_of(3, first=5, shape=(40, 50)).astype(dtype)
    write_plain(tmp_path / "a.h5", "images", other)

    np.testing.assert_array_equal(reader.read(info, info.dataset, 1, 2), other[1:2])


def test_frames_that_came_later_are_read_with_what_was_known_before(tmp_path: Path, reader: FrameReader) -> None:
    with h5py.File(tmp_path / "a.h5", "w", libver="latest") as file:
        images = file.create_dataset("images", data=frames_of(2), maxshape=(None, 48, 64), chunks=(1, 48, 64))
        file.swmr_mode = True
        info = reader.inspect(tmp_path / "a.h5")
        images.resize(4, 0)
        images[2:] = frames_of(2, first=2)
        images.flush()

        assert reader.read(info, info.dataset, 1, 2)[0, 9, 9] == 2
        assert reader.read(info, info.dataset, 3, 4)[0, 9, 9] == 4


def test_a_layout_opens_no_file_outside_the_folder(tmp_path: Path, reader: FrameReader) -> None:
    (tmp_path / "run").mkdir()
    secret = write_plain(tmp_path / "secret.h5", "images", frames_of(3))
    info = inspect(write_plain(tmp_path / "run" / "a.h5", "images", frames_of(3)))
    assert info.stack is not None
    moved = replace(info.stack.members[0], file=str(secret))

    with pytest.raises(SourceError, match="outside its folder"):
        reader.read(replace(info, stack=replace(info.stack, members=(moved,))), info.dataset, 0, 1)


def test_holes_are_told_of_the_file_as_it_is(tmp_path: Path, reader: FrameReader) -> None:
    info = master_of(tmp_path)
    with h5py.File(info.path, "r+") as file:
        del file["entry/data/data_000003"]

    assert reader.present(info, info.dataset, 0, 6) == [(0, 4)]


def test_a_stale_layout_says_so(tmp_path: Path) -> None:
    info = inspect(write_plain(tmp_path / "a.h5", "images", frames_of(3)))
    write_plain(tmp_path / "a.h5", "images", frames_of(3, shape=(40, 50)))
    frames = open_frames(look(tmp_path / "a.h5"), info.dataset, info.stack)

    with pytest.raises(StaleLayoutError):
        frames.read(0, 1, np.empty((1, *frames.shape), frames.dtype))
    frames.close()


def test_a_file_of_many_members_is_looked_into_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("photon_triage.core.sources.hdf5.stack.MOST_MEMBERS", 2)

    assert master_of(tmp_path).stack is None


def test_the_layout_is_plain_json(tmp_path: Path) -> None:
    layout = master_of(tmp_path).stack

    assert layout is not None and StackLayout.from_json(json.loads(json.dumps(layout.to_json()))) == layout
