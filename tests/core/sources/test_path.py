"""The modules that a file passes through: opening is short, and the walk of a survey is flat.

Opening is what `registry.open_frames` does for a path, from the look at its first bytes to frames that can be read.
A survey asks more (layout, mask, geometry, availability): its modules together are more than opening's, as none is
longer than 400 lines; so the longest chain of distinct modules on the stack is bounded instead. Before modules that
always worked together were merged, opening passed through 15 to 17 modules, a survey and a read through 25 to 28, with
a chain of 8; now opening passes through 8, a survey and a read through 21 to 24, with a chain of 7.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import h5py
import numpy as np
import pytest

from photon_triage.core.sources.registry import look, open_frames, probe
from tests.builders.detector_files import frames_of, make_old, write_cxi

PREFIX = "photon_triage.core.sources."
MOST_OPENING, MOST_SURVEYING, LONGEST_CHAIN = 8, 24, 7


def traced(action: Callable[[], object]) -> tuple[set[str], list[str]]:
    """The modules of sources that take part, and the longest chain of distinct ones on the stack."""
    modules: set[str] = set()
    longest: list[str] = []

    def note(frame: FrameType, event: str, _: Any) -> None:
        nonlocal longest
        name = str(frame.f_globals.get("__name__"))
        if event != "call" or not name.startswith(PREFIX):
            return
        modules.add(name)
        chain: dict[str, None] = {}
        caller: FrameType | None = frame
        while caller is not None:
            chain[str(caller.f_globals.get("__name__"))] = None
            caller = caller.f_back
        within = [each for each in chain if each.startswith(PREFIX)]
        if len(within) > len(longest):
            longest = within

    action()  # imports are no part of the walk
    previous = sys.getprofile()
    sys.setprofile(note)
    try:
        action()
    finally:
        sys.setprofile(previous)
    return modules, longest


def write_plain(folder: Path) -> Path:
    with h5py.File(folder / "plain.h5", "w") as file:
        file.create_dataset("stack", data=frames_of(3), chunks=(1, 48, 64), compression="gzip")
    return make_old(folder / "plain.h5")


def write_master(folder: Path) -> Path:
    for number in (1, 2):
        with h5py.File(folder / f"run_data_{number:06}.h5", "w") as file:
            file.create_dataset("entry/data/data", data=frames_of(3), chunks=(1, 48, 64))
        make_old(folder / f"run_data_{number:06}.h5")
    with h5py.File(folder / "run_master.h5", "w") as file:
        entry = file.create_group("entry")
        entry.attrs["NX_class"] = "NXentry"
        entry["definition"] = "NXmx"
        entry["instrument/detector/x_pixel_size"] = 75e-6
        entry["instrument/detector/pixel_mask"] = np.zeros((48, 64), np.uint32)
        data = entry.create_group("data")
        data.attrs["NX_class"] = "NXdata"
        for number in (1, 2):
            data[f"data_{number:06}"] = h5py.ExternalLink(f"run_data_{number:06}.h5", "/entry/data/data")
    return make_old(folder / "run_master.h5")


WRITERS: dict[str, Callable[[Path], Path]] = {
    "CXI": lambda folder: make_old(write_cxi(folder / "a.cxi", frames_of(3))),
    "NeXus master": write_master,
    "plain": write_plain,
}


@pytest.mark.parametrize("kind", WRITERS)
def test_opening_passes_through_few_modules(tmp_path: Path, kind: str) -> None:
    path = WRITERS[kind](tmp_path)
    info, frames = probe(look(path))
    assert frames is not None
    frames.close()

    modules, _ = traced(lambda: open_frames(look(path), info.dataset).close())

    assert len(modules) <= MOST_OPENING, sorted(modules)


@pytest.mark.parametrize("kind", WRITERS)
def test_the_walk_of_a_survey_and_a_read_is_flat(tmp_path: Path, kind: str) -> None:
    path = WRITERS[kind](tmp_path)

    def survey() -> None:
        info, frames = probe(look(path))
        assert frames is not None
        frames.read(0, 1, np.empty((1, *info.shape), info.dtype))
        frames.close()

    modules, chain = traced(survey)

    assert len(modules) <= MOST_SURVEYING, sorted(modules)
    assert len(chain) <= LONGEST_CHAIN, chain
