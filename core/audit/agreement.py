"""How far two people who looked at the same frames agree: Cohen's kappa."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from statistics import NormalDist
from typing import TypeVar

from photon_triage.core.metrics import CONFIDENCE

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, slots=True)
class LabellerPair:
    """Frames that two people both decided on: accepted by both, by the first alone, by the second alone, by neither."""

    first: str
    second: str
    both: int
    only_first: int
    only_second: int
    neither: int

    @property
    def n(self) -> int:
        """All frames that both decided on."""
        return self.both + self.only_first + self.only_second + self.neither

    @property
    def disagreements(self) -> int:
        """Frames that one accepted and the other rejected."""
        return self.only_first + self.only_second

    @property
    def expected(self) -> float:
        """The part of agreement that chance alone would give; raises ZeroDivisionError for n = 0."""
        first, second = (self.both + self.only_first) / self.n, (self.both + self.only_second) / self.n
        return first * second + (1 - first) * (1 - second)

    @property
    def kappa(self) -> float | None:
        """Cohen's kappa: 1 for agreement throughout, 0 for as much as by chance; None where everything was one verdict.

        Source: J. Cohen, Educ. Psychol. Meas. 20, 37 (1960).
        """
        if self.n == 0 or self.expected > 1 - 1e-12:
            return None
        return ((self.both + self.neither) / self.n - self.expected) / (1 - self.expected)

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of kappa, -1 to 1 where kappa is not defined.

        By the large-sample variance: J. L. Fleiss, J. Cohen and B. S. Everitt, Psychol. Bull. 72, 323 (1969). With n
        below some dozens it is a rough guide.
        """
        kappa = self.kappa
        if kappa is None:
            return (-1.0, 1.0)
        cells = ((self.both, self.only_first), (self.only_second, self.neither))
        shares = [[count / self.n for count in row] for row in cells]
        rows = [sum(row) for row in shares]
        columns = [shares[0][place] + shares[1][place] for place in (0, 1)]
        spread = 0.0
        for i, row in enumerate(shares):
            for j, share in enumerate(row):
                margins = (columns[i] + rows[j]) * (1 - kappa)
                spread += share * ((1 - margins) ** 2 if i == j else margins**2)
        variance = (spread - (kappa - self.expected * (1 - kappa)) ** 2) / (self.n * (1 - self.expected) ** 2)
        half = NormalDist().inv_cdf((1 + CONFIDENCE) / 2) * math.sqrt(max(variance, 0.0))
        return (max(kappa - half, -1.0), min(kappa + half, 1.0))


def pairs(verdicts: Mapping[Key, Mapping[str, bool]]) -> list[LabellerPair]:
    """The agreement of all pairs of people with frames in common, most frames first.

    verdicts: of each frame, by person, whether it was accepted.
    """
    counts: dict[tuple[str, str], list[int]] = {}
    for told in verdicts.values():
        for first, second in combinations(sorted(told), 2):
            place = 2 * (not told[first]) + (not told[second])
            counts.setdefault((first, second), [0, 0, 0, 0])[place] += 1
    return sorted((LabellerPair(*names, *cells) for names, cells in counts.items()), key=_most_first)


def disagreements(found: Iterable[LabellerPair]) -> int:
    """How often two people differed, over all pairs."""
    return sum(pair.disagreements for pair in found)


def _most_first(pair: LabellerPair) -> tuple[int, str, str]:
    return (-pair.n, pair.first, pair.second)
