"""Files that show the frames of others: a run's frames are counted once, whatever stands around its data files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from photon_triage.core.engine.events import Frames, load_of
from photon_triage.core.engine.intake import Intake
from photon_triage.core.sources import FrameReader
from tests.builders.detector_files import frames_of, make_old, write_plain, write_segment, write_virtual

FRAMES = frames_of(5)


def write_diamond(folder: Path, name: str = "run_1") -> list[Path]:
    """Two data files, a virtual data set, a master with links and a NeXus file, as at Diamond's MX beamlines."""
    data = [
        write_segment(folder / f"{name}_00000{number}.h5", part)
        for number, part in enumerate((FRAMES[:3], FRAMES[3:]), start=1)
    ]
    vds, master, nexus = (folder / f"{name}{ending}" for ending in ("_vds.h5", "_master.h5", ".nxs"))
    with h5py.File(vds, "w") as file:
        layout = h5py.VirtualLayout(FRAMES.shape, "i2")
        layout[:3] = h5py.VirtualSource(data[0].name, "/entry/data/data", (3, *FRAMES.shape[1:]))
        layout[3:] = h5py.VirtualSource(data[1].name, "/entry/data/data", (2, *FRAMES.shape[1:]))
        file.create_virtual_dataset("entry/data/data", layout)
    with h5py.File(master, "w") as file:
        for number, path in enumerate(data, start=1):
            file[f"entry/data/data_{number:06}"] = h5py.ExternalLink(path.name, "/entry/data/data")
    with h5py.File(nexus, "w") as file:
        file["entry/definition"] = "NXmx"
        file["entry/data/data"] = h5py.ExternalLink(vds.name, "/entry/data/data")
    return [make_old(path) for path in (*data, vds, master, nexus)]


def test_the_file_that_shows_the_frames_of_others_is_told(tmp_path: Path) -> None:
    *others, nexus = write_diamond(tmp_path)

    with FrameReader() as reader:
        told = {path.name: reader.inspect(path, around=True).shown_by for path in others}
        assert set(told.values()) == {str(nexus)}
        assert reader.inspect(nexus, around=True).shown_by == ""
        assert reader.inspect(others[0]).shown_by == ""

        nexus.unlink()
        told = {path.name: reader.inspect(path, around=True).shown_by for path in others}
    assert told.pop("run_1_master.h5") == ""
    assert set(told.values()) == {str(tmp_path / "run_1_master.h5")}


def test_a_file_that_shows_other_frames_stands_for_nothing(tmp_path: Path) -> None:
    path = write_segment(tmp_path / "run_1_000001.h5", frames_of(3))
    write_plain(tmp_path / "run_1.nxs", "entry/data/data", frames_of(3))

    with FrameReader() as reader:
        assert reader.inspect(path, around=True).shown_by == ""


def test_a_file_that_puts_modules_together_shows_them_in_parts(tmp_path: Path) -> None:
    modules = [make_old(write_segment(tmp_path / f"run_1_{number}.h5", frames_of(3))) for number in range(2)]
    whole = make_old(write_virtual(tmp_path / "run_1.h5", modules, frames_of(3)))

    with FrameReader() as reader:
        assert reader.inspect(modules[0], around=True).shows_whole
        told = reader.inspect(whole, around=True)
        assert (told.shows, told.shows_whole) == (tuple(map(str, modules)), False)
        told = reader.inspect(modules[0], around=True)
        assert (told.shown_by, told.shown_with) == (str(whole), ())


def take_in(intake: Intake) -> NDArray[np.int64]:
    """The sums of the frames that an intake tells of until it has finished."""
    found = [np.zeros(0, np.int64)]
    while not intake.finished:
        events = intake.events.take(0.1)
        found += [event.frames.sum((1, 2)) for event in events if isinstance(event, Frames)]
        intake.events.done(len(events), sum(map(load_of, events)))
    return np.concatenate(found)


@pytest.fixture
def intake_of() -> Iterator[Callable[[Sequence[Path]], Intake]]:
    begun: list[Intake] = []

    def begin(paths: Sequence[Path]) -> Intake:
        begun.append(Intake(paths, [], None, patience=0.5, readers=1))
        begun[-1].start()
        return begun[-1]

    yield begin
    for intake in begun:
        intake.close()


@pytest.mark.parametrize("watched", ["*", "*_00000?.h5"])
def test_frames_are_counted_once(tmp_path: Path, intake_of: Callable[[Sequence[Path]], Intake], watched: str) -> None:
    write_diamond(tmp_path)
    sums = take_in(intake_of([tmp_path] if watched == "*" else sorted(tmp_path.glob(watched))))
    assert np.array_equal(np.sort(sums), np.sort(FRAMES.sum((1, 2))))


def test_frames_that_were_read_before_there_was_a_file_that_shows_them_are_counted_once(
    tmp_path: Path, intake_of: Callable[[Sequence[Path]], Intake]
) -> None:
    (aside := tmp_path / "aside").mkdir()
    others = write_diamond(tmp_path)[1:]
    for path in others:
        path.rename(aside / path.name)
    intake = intake_of([tmp_path])
    sums = take_in(intake)
    assert np.array_equal(sums, FRAMES[:3].sum((1, 2)))
    for number, path in enumerate(reversed(others), start=2):  # the second data file comes last, to the masters
        (aside / path.name).rename(path)
        scans = intake.watcher.scans
        while intake.watcher.scans < scans + 2 or len(intake._tracker.ledger) < number:
            sums = np.append(sums, take_in(intake))
        sums = np.append(sums, take_in(intake))
    assert np.array_equal(np.sort(sums), np.sort(FRAMES.sum((1, 2))))
