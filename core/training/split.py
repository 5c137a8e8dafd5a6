"""What is learned from, what chooses the checkpoint and what scores it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from photon_triage.core.errors import TrainingError

HELD_BACK_IMAGES, HELD_BACK_LABELS = 1 / 6, 1 / 3
ENOUGH_FOR_A_TEST = 6

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


def split(items: Sequence[Item]) -> Split[Item]:
    """The last sixth for the test, the sixth before it for validation; of fewer than 6, the last one for both.

    Blocks at the end, not a random choice: neighbouring sections of a volume are nearly the same image. Raises
    TrainingError for fewer than 2.
    """
    count = len(items)
    if count < 2:
        raise TrainingError(
            f"Could not hold back images to score the network on: there is {count or 'none'}.",
            "Give at least two images.",
        )
    held = max(1, round(count * HELD_BACK_IMAGES))
    if count < ENOUGH_FOR_A_TEST:
        return Split(tuple(items[:-1]), tuple(items[-1:]), tuple(items[-1:]))
    return Split(tuple(items[: -2 * held]), tuple(items[-2 * held : -held]), tuple(items[-held:]))


def hold_back(positive: NDArray[np.bool_], seed: int) -> NDArray[np.bool_]:
    """Which examples to keep from training, (n,) bool: a third of either class, drawn at random.

    Raises TrainingError when a class has too few to be split.
    """
    rng = np.random.default_rng(seed)
    held = np.zeros(len(positive), bool)
    for members, verdict in ((np.flatnonzero(positive), "accepted"), (np.flatnonzero(~positive), "rejected")):
        if len(members) < 2:
            raise TrainingError(
                f"Could not hold back labels to score the models on: only {len(members)} {verdict} one(s).",
                "Label at least two of either kind.",
            )
        held[rng.permutation(members)[: max(1, round(len(members) * HELD_BACK_LABELS))]] = True
    return held
