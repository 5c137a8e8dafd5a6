"""Virtual data sets of any mapping: a frame is read where every pixel has a source that is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from photon_triage.core.common.errors import MissingError, SourceError
from photon_triage.core.sources import inspect, read_frames
from photon_triage.core.sources.common.info import StackLayout
from photon_triage.core.sources.registry import look, open_frames
from tests.builders.detector_files import frames_of, make_old, write_plain

SHAPE = (48, 64)


def write_layout(path: Path, layout: h5py.VirtualLayout, fill: Any = 0) -> Path:
    with h5py.File(path, "w", libver="latest") as file:
        file.create_virtual_dataset("images", layout, fillvalue=fill)
    return make_old(path)


def write_interleaved(folder: Path, frames: Any) -> Path:
    """Two writers that take turns, a file each."""
    layout = h5py.VirtualLayout(frames.shape, frames.dtype)
    for number in range(2):
        part = frames[number::2]
        make_old(write_plain(folder / f"{number}.h5", "data", part, chunks=(1, *SHAPE)))
        layout[number::2] = h5py.VirtualSource(f"{number}.h5", "data", part.shape)
    return write_layout(folder / "all.h5", layout)


def present(path: Path, count: int) -> list[int]:
    frames = open_frames(look(path), "/images")
    try:
        return [frame for low, high in frames.present(0, count) for frame in range(low, high)]
    finally:
        frames.close()


def read_as_found(path: Path, layout: StackLayout | None) -> list[bytes | type[SourceError]]:
    """Each frame on its own, or why it is not read."""
    info = inspect(path)
    found: list[bytes | type[SourceError]] = []
    for frame in range(info.frames):
        out = np.empty((1, *info.shape), info.dtype)
        frames = open_frames(look(path), "/images", layout)
        try:
            frames.read(frame, frame + 1, out)
            found.append(out.tobytes())
        except SourceError as error:
            found.append(type(error))
        finally:
            frames.close()
    return found


@pytest.mark.parametrize("lacking", [False, True])
@pytest.mark.parametrize("kind", ["in turn", "half mapped", "gaps", "flattened"])
def test_what_was_found_before_is_read_like_what_is_found_anew(tmp_path: Path, kind: str, lacking: bool) -> None:
    frames = frames_of(6, dtype="f4")
    make_old(write_plain(tmp_path / "a.h5", "data", frames.reshape(3, 2, *SHAPE), chunks=(1, 1, *SHAPE)))
    source = h5py.VirtualSource("a.h5", "data", (3, 2, *SHAPE))
    layout = h5py.VirtualLayout((6, *SHAPE), "f4")
    if kind == "in turn":
        path = write_interleaved(tmp_path, frames)
    elif kind == "flattened":
        layout[:] = source
        path = write_layout(tmp_path / "all.h5", layout)
    else:
        layout[:4, :24] = source[:2, :, :24]
        layout[4:5, :12] = source[2, 0, :12]
        path = write_layout(tmp_path / "all.h5", layout, np.nan if kind == "gaps" else 0)
    if lacking:
        (tmp_path / ("1.h5" if kind == "in turn" else "a.h5")).unlink()

    stack = inspect(path).stack

    assert stack is not None
    known, anew = read_as_found(path, stack), read_as_found(path, None)
    assert known == anew and any(isinstance(each, bytes) for each in known) == (not lacking or kind == "in turn")
    opened = open_frames(look(path), "/images", stack)
    assert [frame for low, high in opened.present(0, 6) for frame in range(low, high)] == present(path, 6)
    opened.close()


def test_frames_that_two_writers_wrote_in_turn(tmp_path: Path) -> None:
    frames = frames_of(6)
    path = write_interleaved(tmp_path, frames)

    assert (inspect(path).available, inspect(path).notes) == (6, ())
    np.testing.assert_array_equal(read_frames(path, "/images", 1, 5), frames[1:5])


def test_without_one_of_two_writers_each_second_frame_is_there(tmp_path: Path) -> None:
    frames = frames_of(6)
    path = write_interleaved(tmp_path, frames)
    (tmp_path / "1.h5").unlink()

    info = inspect(path)

    assert (info.frames, info.available, info.missing) == (6, 1, ("1.h5:data",))
    assert present(path, 6) == [0, 2, 4]
    np.testing.assert_array_equal(read_frames(path, "/images", 2, 3), frames[2:3])
    with pytest.raises(MissingError):
        read_frames(path, "/images", 1, 2)


def test_a_writer_that_is_behind_the_other(tmp_path: Path) -> None:
    path = write_interleaved(tmp_path, frames_of(6))
    with h5py.File(tmp_path / "1.h5", "w") as file:
        file.create_dataset("data", data=frames_of(2), chunks=(1, *SHAPE))
    make_old(tmp_path / "1.h5")

    assert inspect(path).available == 5
    assert present(path, 6) == [0, 1, 2, 3, 4]


def test_a_frame_with_half_of_its_pixels_mapped_is_missing(tmp_path: Path) -> None:
    make_old(write_plain(tmp_path / "a.h5", "data", frames_of(4), chunks=(1, *SHAPE)))
    layout = h5py.VirtualLayout((4, *SHAPE), "i2")
    source = h5py.VirtualSource("a.h5", "data", (4, *SHAPE))
    layout[:2], layout[2, :24] = source[:2], source[2, :24]
    path = write_layout(tmp_path / "all.h5", layout)

    info = inspect(path)

    assert (info.frames, info.available, present(path, 4)) == (4, 2, [0, 1])
    assert info.notes == ("2 frames are missing: the virtual data set has no source for all of their pixels",)


def test_frames_whose_gaps_are_nan_are_frames_and_told(tmp_path: Path) -> None:
    make_old(write_plain(tmp_path / "a.h5", "data", frames_of(4, dtype="f4"), chunks=(1, *SHAPE)))
    layout = h5py.VirtualLayout((4, *SHAPE), "f4")
    source = h5py.VirtualSource("a.h5", "data", (4, *SHAPE))
    layout[:2], layout[2, :24] = source[:2], source[2, :24]
    path = write_layout(tmp_path / "all.h5", layout, np.nan)

    assert (inspect(path).available, present(path, 4)) == (3, [0, 1, 2])
    assert inspect(path).notes == (
        "1 frame is missing: the virtual data set has no source for all of their pixels",
        "in 1 frames a part has no source and is NaN",
    )


def test_what_no_frame_has_a_source_for_is_a_gap(tmp_path: Path) -> None:
    make_old(write_plain(tmp_path / "a.h5", "data", frames_of(4), chunks=(1, *SHAPE)))
    layout = h5py.VirtualLayout((4, 2 * SHAPE[0], SHAPE[1]), "i2")
    layout[:, : SHAPE[0]] = h5py.VirtualSource("a.h5", "data", (4, *SHAPE))
    path = write_layout(tmp_path / "all.h5", layout, -1)

    assert inspect(path).available == 4
    assert inspect(path).notes == ("50 % of the pixels have no source in any frame, and are gaps",)


def test_one_image_put_together_of_two_modules_with_a_gap(tmp_path: Path) -> None:
    layout = h5py.VirtualLayout((100, 64), "i2")
    for number, row in enumerate((0, 52)):
        make_old(write_plain(tmp_path / f"{number}.h5", "data", frames_of(1)[0]))
        layout[row : row + 48] = h5py.VirtualSource(f"{number}.h5", "data", SHAPE)
    path = write_layout(tmp_path / "all.h5", layout, -1)

    assert (inspect(path).frames, inspect(path).available) == (1, 1)


def test_blocks_of_trains_that_become_frames(tmp_path: Path) -> None:
    """Memory cells of a train in the source are frames here, as where a virtual data set flattens two axes."""
    frames = frames_of(6)
    make_old(write_plain(tmp_path / "a.h5", "data", frames.reshape(3, 2, *SHAPE)[:2]))
    layout = h5py.VirtualLayout((6, *SHAPE), "i2")
    layout[:] = h5py.VirtualSource("a.h5", "data", (3, 2, *SHAPE))
    path = write_layout(tmp_path / "all.h5", layout)

    assert (inspect(path).available, present(path, 6)) == (4, [0, 1, 2, 3])


def test_a_mapping_without_an_end_follows_its_source(tmp_path: Path) -> None:
    shape, unlimited = SHAPE, h5py.h5s.UNLIMITED
    with h5py.File(tmp_path / "a.h5", "w", libver="latest") as file:
        file.create_dataset("data", data=frames_of(3), chunks=(1, *shape), maxshape=(None, *shape))
    space = h5py.h5s.create_simple((1, *shape), (unlimited, *shape))
    space.select_hyperslab((0, 0, 0), (unlimited, 1, 1), (1, 1, 1), (1, *shape))
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_virtual(space, b"a.h5", b"/data", space)
    with h5py.File(tmp_path / "all.h5", "w", libver="latest") as file:
        place = h5py.h5s.create_simple((0, *shape), (unlimited, *shape))
        h5py.h5d.create(file.id, b"images", h5py.h5t.py_create(np.dtype("i2")), place, properties)
    path = make_old(tmp_path / "all.h5")
    make_old(tmp_path / "a.h5")
    assert (inspect(path).frames, inspect(path).available) == (3, 3)

    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["data"].resize(5, 0)
        file["data"][3] = 9
    make_old(tmp_path / "a.h5")
    assert (inspect(path).frames, inspect(path).available, present(path, 5)) == (5, 4, [0, 1, 2, 3])
