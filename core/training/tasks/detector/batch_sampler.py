"""Which examples a batch is made of: so many positives, and some classes more often than others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from photon_triage.core.common.errors import TrainingError
from photon_triage.core.training.data.examples import Examples

POSITIVE_SHARE = 0.3
"""Part of each batch that is single hits, however rare they are among the labels."""

NATURAL, BALANCED = "natural", "balanced"
ACCEPTED, REJECTED = "accepted", "rejected"
"""The classes of examples for which nobody named one."""


@dataclass(frozen=True)
class Balance:
    """What a batch is made of.

    share: part of it that is positive; None as among the labels. weights: how many times more often a class is drawn
    than without, by name; that weighs its part of the loss. balanced: every class among the positives, and every one
    among the negatives, as often as the others.
    """

    share: float | None = POSITIVE_SHARE
    weights: Mapping[str, float] = field(default_factory=dict)
    balanced: bool = False

    def as_json(self) -> dict[str, object]:
        """What the model's record says."""
        return {
            "share": NATURAL if self.share is None else self.share,
            "class_weights": BALANCED if self.balanced else dict(self.weights),
        }


def parse_balance(share: str | None, weights: str | None) -> Balance:
    """The balance that two options ask for: a share or "natural", and "balanced" or CLASS=WEIGHT,....

    Raises TrainingError that says what is allowed.
    """
    part: float | None = POSITIVE_SHARE
    if share == NATURAL:
        part = None
    elif share is not None:
        part = _number(share)
        if part is None or not 0 < part < 1:
            raise TrainingError(
                f"Could not balance batches by {share}.", f"Allowed: a share between 0 and 1, or {NATURAL}."
            )
    if weights in (None, "none", BALANCED):
        return Balance(part, balanced=weights == BALANCED)
    found: dict[str, float] = {}
    for each in str(weights).split(","):
        name, equals, value = (text.strip() for text in each.partition("="))
        weight = _number(value)
        if not name or not equals or weight is None or weight <= 0:
            raise TrainingError(
                f"Could not weigh classes by {each}.",
                f"Allowed: {BALANCED}, none, or CLASS=WEIGHT with weights above 0, as in water=2,multiple=0.5.",
            )
        found[name] = weight
    return Balance(part, found)


class BatchSampler:
    """Draws the examples of batches.

    weights: (n,) further factors of each example's chance, such as those of hard negatives. Raises TrainingError unless
    there are both positive and negative examples, and for weights of classes that there are not.
    """

    def __init__(
        self, examples: Examples, balance: Balance | None = None, weights: NDArray[np.float64] | None = None
    ) -> None:
        self._positives, self._negatives = np.flatnonzero(examples.positive), np.flatnonzero(~examples.positive)
        if not len(self._positives) or not len(self._negatives):
            raise TrainingError(
                f"Could not train on {len(self._positives)} accepted and {len(self._negatives)} rejected frames: "
                "both are needed.",
                "Label some of either kind first.",
            )
        self._balance = balance or Balance()
        chances = _chances(examples, self._balance)
        if weights is not None:
            chances = weights if chances is None else chances * weights
        self._chances = chances

    def __call__(self, rng: np.random.Generator, count: int) -> NDArray[np.intp]:
        """The places of `count` examples, positives first unless the share is natural."""
        share = self._balance.share
        if share is None:
            everything = np.arange(len(self._positives) + len(self._negatives))
            return self._some(rng, everything, count)
        wanted = max(1, round(count * share))
        return np.concatenate(
            [self._some(rng, self._positives, wanted), self._some(rng, self._negatives, count - wanted)]
        )

    def _some(self, rng: np.random.Generator, places: NDArray[np.intp], count: int) -> NDArray[np.intp]:
        if self._chances is None:
            return rng.choice(places, count)
        chances = self._chances[places]
        return rng.choice(places, count, p=chances / chances.sum())


def class_names(examples: Examples) -> NDArray[np.str_]:
    """The class of each example, (n,); "accepted" or "rejected" where none was given."""
    unnamed = np.where(examples.positive, ACCEPTED, REJECTED)
    return np.where(examples.categories == "", unnamed, examples.categories)


def _chances(examples: Examples, balance: Balance) -> NDArray[np.float64] | None:
    """The relative chance of each example, (n,); None where all are alike."""
    if not balance.weights and not balance.balanced:
        return None
    names = class_names(examples).tolist()
    sides = list(zip(examples.positive.tolist(), names, strict=True))
    if balance.balanced:
        counts = Counter(sides)
        return np.array([1 / counts[side] for side in sides])
    _require_known(balance.weights, names)
    return np.array([balance.weights.get(name, 1.0) for name in names])


def _require_known(weights: Mapping[str, float], names: Sequence[str]) -> None:
    known = sorted(set(names))
    if unknown := sorted(set(weights) - set(known)):
        raise TrainingError(
            f"Could not weigh the class {unknown[0]}: no label is of it.", f"The labels are of {', '.join(known)}."
        )


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
