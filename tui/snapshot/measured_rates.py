"""How far scores agree with the labels, at one threshold and at those of a table."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from photon_triage.core.metrics import Confusion
from photon_triage.tui.snapshot.label_index import Truth

TABLE_THRESHOLDS = (0.1, 0.3, 0.5, 0.7, 0.9)


@dataclass(frozen=True, slots=True)
class Measured:
    """Agreement with the labels at one threshold, those apart that the audit counts.

    audit: of files that are labelled completely, while there is no random sample.
    """

    threshold: float
    labelled: Confusion
    audit: Confusion | None


def measure(truth: Truth, census: Collection[tuple[str, str]], threshold: float) -> Measured:
    """The agreement at a threshold; census: path and data set of files that are labelled completely."""
    audited = truth.confusion(threshold, census) if census else None
    audit = audited if audited and audited.n else None
    return Measured(threshold, truth.confusion(threshold), audit)


def measure_table(truth: Truth, census: Collection[tuple[str, str]], threshold: float) -> tuple[Measured, ...]:
    """The agreement at the thresholds of the table and at this one, the lowest first."""
    others = [value for value in TABLE_THRESHOLDS if abs(value - threshold) > 0.005]
    return tuple(measure(truth, census, value) for value in sorted([*others, threshold]))
