"""No test frame, and none like it, is within a training set."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from photon_triage.core.errors import TrainingError
from photon_triage.core.frames import FrameKey
from photon_triage.core.training.split import NEIGHBOURS, hold_back, near, split

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
    if count >= 12:
        assert groups.validation[0] - groups.training[-1] == 2 and groups.test[0] - groups.validation[-1] == 2


def test_images_of_other_runs_are_no_neighbours() -> None:
    keys = [FrameKey(f"run_{place // 2}.h5", "", place % 2) for place in range(24)]
    groups = split(range(24), keys)
    assert groups.training + groups.validation + groups.test == tuple(range(24))
