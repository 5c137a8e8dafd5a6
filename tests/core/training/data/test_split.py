"""No test frame, and none like it, is within a training set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from photon_triage.core.common.errors import TrainingError
from photon_triage.core.frames import FrameKey
from photon_triage.core.training.data.split import (
    NEIGHBOURS,
    apart,
    as_originals,
    contents_of,
    hold_back,
    near,
    split,
    split_by_run,
)

FILES = st.sampled_from(["run_1.h5", "run_2.h5", "run_3.h5"])
KEYS = st.lists(
    st.builds(FrameKey, FILES, st.just("data"), st.integers(0, 300), st.sampled_from([(), (3, 4), (9, 9)])),
    min_size=4, max_size=120, unique=True,
)  # fmt: skip


def verdicts(count: int, seed: int, share: float = 0.3) -> NDArray[np.bool_]:
    positive = np.random.default_rng(seed).random(count) < share
    positive[:2], positive[2:4] = True, False
    return positive


@given(keys=KEYS, seed=st.integers(0, 1000), copies=st.integers(1, 50))
def test_no_test_frame_nor_a_neighbour_nor_a_copy_is_learned_from(keys: list[FrameKey], seed: int, copies: int) -> None:
    positive = verdicts(len(keys), seed)
    contents = [b"%d" % (place % copies) if copies > 40 else b"%d" % place for place in range(len(keys))]
    try:
        held = hold_back(keys, positive, seed, contents)
    except TrainingError:
        return
    assert not (held.test & held.training).any()
    test = [keys[place] for place in np.flatnonzero(held.test)]
    for place in np.flatnonzero(held.training).tolist():
        key = keys[place]
        for other in test:
            same = (other.file, other.dataset) == (key.file, key.dataset)
            assert not (same and abs(other.index - key.index) <= NEIGHBOURS)
    assert not {contents[place] for place in np.flatnonzero(held.test)} & {
        contents[place] for place in np.flatnonzero(held.training)
    }
    for side in (held.test, held.training):
        assert side[positive].any() and side[~positive].any()


def test_a_third_of_either_kind_is_held_back_where_labels_lie_apart() -> None:
    keys = [FrameKey("run.h5", "", 10 * index) for index in range(90)]
    positive = np.arange(90) < 30
    held = hold_back(keys, positive, 0)
    assert held.test[:30].sum() == 10 and held.test[30:].sum() == 20
    assert np.array_equal(held.training, ~held.test)
    assert not np.array_equal(held.test, hold_back(keys, positive, 1).test)


def test_frames_that_follow_each_other_are_held_back_in_blocks() -> None:
    keys = [FrameKey("run.h5", "", index) for index in range(600)]
    held = hold_back(keys, verdicts(600, 1), 0)
    assert 200 <= held.test.sum() <= 300
    assert (np.diff(held.test.astype(int)) != 0).sum() <= 24, "a dozen blocks have two ends each"
    assert (~held.test & ~held.training).sum() <= 24 * NEIGHBOURS


def test_too_few_labels_are_told() -> None:
    keys = [FrameKey("run.h5", "", 10 * index) for index in range(9)]
    with pytest.raises(TrainingError, match="only 1 accepted"):
        hold_back(keys, np.arange(9) < 1, 0)
    with pytest.raises(TrainingError, match="next to each other"):
        hold_back([FrameKey("run.h5", "", index) for index in range(4)], np.arange(4) < 2, 0)


def test_near_is_within_the_same_file() -> None:
    keys = [FrameKey("a", "", 5), FrameKey("a", "", 7), FrameKey("a", "", 8), FrameKey("b", "", 5)]
    assert near(keys, [FrameKey("a", "", 5, (1, 2))]).tolist() == [True, True, False, False]


@given(st.integers(2, 60), st.sampled_from(["stack", "sections"]))
def test_no_image_is_on_two_sides_and_neighbours_only_where_there_are_few(count: int, kind: str) -> None:
    keys = [
        FrameKey("stack.tif", "", place) if kind == "stack" else FrameKey(f"raw/{place:03}.tif", "", 0)
        for place in range(count)
    ]
    groups = split(range(count), keys)
    if groups.same:
        assert count < 6
        return
    sides = [groups.training, groups.validation, groups.test]
    assert len({image for side in sides for image in side}) == sum(map(len, sides))
    assert groups.validation[0] - groups.training[-1] == 2
    if count >= 12:
        assert groups.test[0] - groups.validation[-1] == 2


def test_images_of_other_runs_are_no_neighbours() -> None:
    keys = [FrameKey(f"run_{place // 2}.h5", "", place % 2) for place in range(24)]
    groups = split(range(24), keys)
    assert groups.training + groups.validation + groups.test == tuple(range(24))


def are_neighbours(one: FrameKey, other: FrameKey) -> bool:
    return (one.file, one.dataset) == (other.file, other.dataset) and abs(one.index - other.index) <= NEIGHBOURS


@st.composite
def beamtimes(draw: st.DrawFn) -> tuple[list[FrameKey], list[str], list[bytes], dict[tuple[str, str], tuple[str, str]]]:
    """Frames of several runs of several files with gaps: keys, runs, contents, and which file is a copy of which."""
    keys, runs = [], []
    for run in range(draw(st.integers(1, 5))):
        for part in range(draw(st.integers(1, 2))):
            taken = draw(st.sets(st.integers(0, 60), min_size=1, max_size=20))
            keys += [FrameKey(f"run_{run}_{part}.h5", "data", index) for index in sorted(taken)]
            runs += [f"r{run:04}"] * len(taken)
    contents = [b"%s %d" % (key.file.encode(), key.index) for key in keys]
    copies = {}
    for place in range(len(keys)):
        if draw(st.integers(0, 9)) == 0:
            contents[place] = contents[draw(st.integers(0, place))]
    if draw(st.booleans()):
        copies[keys[-1].file, "data"] = (keys[0].file, "data")
    return keys, runs, contents, copies


@given(beamtimes(), st.integers(0, 99))
def test_labels_of_any_beamtime_are_held_back_apart(
    beamtime: tuple[list[FrameKey], list[str], list[bytes], dict[tuple[str, str], tuple[str, str]]], seed: int
) -> None:
    keys, runs, contents, copies = beamtime
    originals = as_originals(keys, copies)
    try:
        held = hold_back(originals, verdicts(len(keys), seed), seed, contents, runs)
    except TrainingError:
        return
    require_apart(originals, contents, np.flatnonzero(held.training).tolist(), np.flatnonzero(held.test).tolist())


@given(beamtimes())
def test_frames_of_any_beamtime_are_split_apart(
    beamtime: tuple[list[FrameKey], list[str], list[bytes], dict[tuple[str, str], tuple[str, str]]],
) -> None:
    keys, runs, contents, copies = beamtime
    originals = as_originals(keys, copies)
    try:
        groups = split_by_run(range(len(keys)), originals, runs, contents)
    except TrainingError:
        return
    require_apart(originals, contents, groups.training, groups.test)
    require_apart(originals, contents, groups.training, groups.validation)
    if not groups.same:
        require_apart(originals, contents, groups.validation, groups.test)
    if len(keys) >= 6:
        assert len(groups.training) > 0 and len(groups.test) > 0


def require_apart(
    keys: Sequence[FrameKey], contents: Sequence[bytes], one: Sequence[int], other: Sequence[int]
) -> None:
    assert not set(one) & set(other)
    assert not {contents[place] for place in one} & {contents[place] for place in other}
    assert not any(are_neighbours(keys[a], keys[b]) for a in one for b in other)


@given(beamtimes(), st.data())
def test_what_another_session_judges_is_not_learned_from(
    beamtime: tuple[list[FrameKey], list[str], list[bytes], dict[tuple[str, str], tuple[str, str]]], data: st.DataObject
) -> None:
    keys, _, contents, _ = beamtime
    judges = data.draw(st.lists(st.integers(0, len(keys) - 1), max_size=8, unique=True))
    learned = apart(keys, contents, [keys[place] for place in judges], [contents[place] for place in judges])
    require_apart(keys, contents, np.flatnonzero(learned).tolist(), judges)


@given(st.lists(st.integers(0, 5), min_size=2, max_size=40))
def test_images_with_the_same_pixels_are_never_on_two_sides(kinds: list[int]) -> None:
    contents = [b"%d" % kind for kind in kinds]
    keys = [FrameKey(f"{place}/image.tif", "", 0) for place in range(len(kinds))]
    try:
        groups = split(range(len(kinds)), keys, contents)
    except TrainingError:
        assert set(contents[:-1]) <= set(contents[-max(1, len(kinds) // 2) :])
        return
    require_apart(keys, contents, groups.training, groups.test)
    require_apart(keys, contents, groups.training, groups.validation)
    if not groups.same:
        require_apart(keys, contents, groups.validation, groups.test)


def test_every_run_is_on_both_sides_and_none_alone() -> None:
    sizes = {"r1": 200, "r2": 30, "r3": 12}
    keys = [FrameKey(f"{run}.h5", "", 10 * index) for run, size in sizes.items() for index in range(size)]
    runs = np.array([key.file[:2] for key in keys])
    for seed in range(20):
        held = hold_back(keys, verdicts(len(keys), seed), seed, runs=runs.tolist())
        for run, size in sizes.items():
            assert 0.15 * size <= held.test[runs == run].sum() <= 0.6 * size
    groups = split_by_run(range(len(keys)), keys, runs.tolist())
    for side in (groups.training, groups.validation, groups.test):
        assert {runs[place] for place in side} == {"r1", "r2", "r3"}


def test_frames_are_the_same_whatever_their_type_and_not_when_a_pixel_differs() -> None:
    frame = np.arange(12).reshape(3, 4)
    one, other, flat, changed = contents_of(
        [frame.astype("i2"), frame * 1.0, frame.reshape(4, 3), frame + (frame == 5)]
    )
    assert one == other and len({one, flat, changed}) == 3
