"""What is learned from, what chooses the checkpoint and what scores it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from photon_triage.core.errors import TrainingError
from photon_triage.core.frames import FrameKey

HELD_BACK_IMAGES, HELD_BACK_LABELS = 1 / 6, 1 / 3
ENOUGH_FOR_A_TEST = 6
ENOUGH_FOR_A_GAP = 12

NEIGHBOURS = 2
"""Frames of one file that are so near in time share their background, and may share more."""

LEAST_BLOCK, MOST_BLOCKS, DRAWS = 10, 12, 20

Item = TypeVar("Item")


@dataclass(frozen=True)
class Split(Generic[Item]):
    """Three groups; where there are too few for a test of its own, the validation group is the test group too."""

    training: tuple[Item, ...]
    validation: tuple[Item, ...]
    test: tuple[Item, ...]

    @property
    def same(self) -> bool:
        """Whether what chose the checkpoint scores it, so that the scores are optimistic."""
        return self.validation == self.test


def split(items: Sequence[Item], keys: Sequence[FrameKey]) -> Split[Item]:
    """The last sixth for the test, the sixth before it for validation; of fewer than 6, the last one for both.

    Blocks at the end, not a random choice: neighbouring sections of a volume are nearly the same image. Of 12 and more
    one is left out between blocks of the same volume. Raises TrainingError for fewer than 2.
    """
    count = len(items)
    if count < 2:
        raise TrainingError(
            f"Could not hold back images to score the network on: there is {count or 'none'}.",
            "Give at least two images.",
        )
    if count < ENOUGH_FOR_A_TEST:
        return Split(tuple(items[:-1]), tuple(items[-1:]), tuple(items[-1:]))
    held = max(1, round(count * HELD_BACK_IMAGES))
    sizes = Counter((key.file, key.dataset) for key in keys)

    def end_before(start: int) -> int:
        """Where the block before the one that begins at `start` ends."""
        one, next_one = keys[start - 1], keys[start]
        alone = sizes[one.file, one.dataset] == sizes[next_one.file, next_one.dataset] == 1
        together = alone and Path(one.file).parent == Path(next_one.file).parent
        same = (one.file, one.dataset) == (next_one.file, next_one.dataset)
        return start - 1 if count >= ENOUGH_FOR_A_GAP and (same or together) else start

    test = count - held
    validation = end_before(test) - held
    return Split(
        tuple(items[: end_before(validation)]), tuple(items[validation : end_before(test)]), tuple(items[test:])
    )


@dataclass(frozen=True, eq=False)
class HeldBack:
    """Which labels score the models and which may be learned from, (n,) bool each; some near the former are neither."""

    test: NDArray[np.bool_]
    training: NDArray[np.bool_]


def hold_back(
    keys: Sequence[FrameKey], positive: NDArray[np.bool_], seed: int, contents: Sequence[bytes] | None = None
) -> HeldBack:
    """Keep about a third of either class from training, drawn in blocks, so that no frame is on both sides.

    keys: (n,), of frames or of candidates on them. positive: (n,) bool. contents: the same for frames with the same
    pixels. What is at most NEIGHBOURS frames from a test frame in the same file, or has the same pixels, is not learned
    from. Raises TrainingError where a class cannot be on both sides.
    """
    for members, verdict in ((positive, "accepted"), (~positive, "rejected")):
        if members.sum() < 2:
            raise TrainingError(
                f"Could not hold back labels to score the models on: only {int(members.sum())} {verdict} one(s).",
                "Label at least two of either kind.",
            )
    blocks = _blocks(keys)
    wanted = [max(1, round(int(members.sum()) * HELD_BACK_LABELS)) for members in (positive, ~positive)]
    rng = np.random.default_rng(seed)
    for _ in range(DRAWS):
        test = _drawn(blocks, positive, wanted, rng)
        held = (key for key, is_test in zip(keys, test.tolist(), strict=True) if is_test)
        training = ~test & ~near(keys, held) & ~_same(contents, test)
        if all(side[members].any() for side in (test, training) for members in (positive, ~positive)):
            return HeldBack(test, training)
    raise TrainingError(
        "Could not hold back labels to score the models on: those of one kind lie next to each other.",
        "Label frames further apart, or of another file.",
    )


def _blocks(keys: Sequence[FrameKey]) -> NDArray[np.intp]:
    """The number of the block that each frame is in, (n,): neighbours of one file, but not too many."""
    order = sorted(range(len(keys)), key=lambda place: keys[place])
    longest = max(LEAST_BLOCK, len(keys) // MOST_BLOCKS)
    blocks, number, begun = np.zeros(len(keys), np.intp), 0, 0
    before = keys[order[0]].frame
    for place in order:
        key = keys[place].frame
        follows = (key.file, key.dataset) == (before.file, before.dataset) and key.index - before.index <= NEIGHBOURS
        if not follows or (begun >= longest and key != before):
            number, begun = number + 1, 0
        blocks[place], begun, before = number, begun + 1, key
    return blocks


def _drawn(
    blocks: NDArray[np.intp], positive: NDArray[np.bool_], wanted: Sequence[int], rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Blocks at random until there are enough of either class; a block that adds to none is left."""
    counts = np.stack([np.bincount(blocks, members) for members in (positive, ~positive)], 1)
    chosen, held = np.zeros(len(counts), bool), np.zeros(2)
    for block in rng.permutation(len(counts)):
        missing = held < wanted
        if not missing.any():
            break
        if (counts[block] * missing).any():
            chosen[block] = True
            held += counts[block]
    return chosen[blocks]


def near(keys: Sequence[FrameKey], others: Iterable[FrameKey]) -> NDArray[np.bool_]:
    """Which frames are at most NEIGHBOURS from one of the others in the same file, (n,) bool."""
    taken: dict[tuple[str, str], set[int]] = defaultdict(set)
    for key in others:
        taken[key.file, key.dataset].update(range(key.index - NEIGHBOURS, key.index + NEIGHBOURS + 1))
    return np.array([key.index in taken.get((key.file, key.dataset), ()) for key in keys], bool)


def _same(contents: Sequence[bytes] | None, test: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which frames have the content of a test frame, (n,) bool."""
    if contents is None:
        return np.zeros(len(test), bool)
    held = {content for content, is_test in zip(contents, test.tolist(), strict=True) if is_test}
    return np.array([content in held for content in contents])
