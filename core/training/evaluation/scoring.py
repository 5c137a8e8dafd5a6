"""Scores of networks on held-out images and labels, as JSON values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_triage.core.candidates import Candidate
from photon_triage.core.metrics import Confusion, wilson
from photon_triage.core.session.session import Session
from photon_triage.core.session.store.filters import AUDIT
from photon_triage.core.training.data.objects import Objects
from photon_triage.core.training.data.sources import IMPORTED, LABELS, SIMULATED

NO_ESTIMATE = "not an estimate for the beamtime"
"""What scores on labels are not: who ranks frames and labels the best ones leaves out most of the hard ones."""

KINDS = {LABELS: "ranked", IMPORTED: "imported", SIMULATED: "simulated", AUDIT: "audit"}
"""Kinds of labels by their source. Those decided on the screen are of frames that a queue has ranked."""


def held_out_labels(counts: Mapping[str, int]) -> str:
    """Labels of one session that were held out of training; counts: how many are from each source."""
    told = " and ".join(f"{counts[source]} {kind}" for source, kind in KINDS.items() if counts.get(source))
    return f"{told or 'no'} labels held out of training; {NO_ESTIMATE}"


def labels_of(session: Session, count: int) -> str:
    """All labels of another session."""
    return f"{count} labels of the session {session.path}; {NO_ESTIMATE}"


def held_out_images(count: int, *, chose: bool) -> str:
    """Images with masks or points; chose: whether they chose the checkpoint too."""
    return f"{count} images held out of training" + (", which chose the checkpoint too" if chose else "")


def held_out_masks(count: int, *, chose: bool) -> str:
    """Frames of a session whose masks were accepted."""
    told = ", which chose the checkpoint too" if chose else ""
    return f"{count} frames with accepted masks held out of training{told}; {NO_ESTIMATE}"


def clean_images(count: int) -> str:
    """Images with clean masks, in a training on masks of doubtful quality."""
    return f"{count} images of the clean set"


def confusion_scores(confusion: Confusion) -> dict[str, Any]:
    """Precision, recall and F1 with their intervals, and the counts."""
    found: dict[str, Any] = {"n": confusion.n}
    for name in ("tp", "fp", "fn", "tn"):
        found[name] = getattr(confusion, name)
    for name in ("precision", "recall", "f1"):
        estimate = getattr(confusion, name)
        found[name] = estimate.value
        found[f"{name}_interval"] = [estimate.low, estimate.high]
    return found


def pixel_scores(table: NDArray[np.int64], classes: Sequence[str], background: int) -> dict[str, Any]:
    """Precision, recall, F1 and IoU of every class, and their means over all classes but the background.

    table: (classes, classes), pixels by true class and predicted class. No intervals: neighbouring pixels are no
    independent samples. A class that is neither there nor predicted has no scores and counts in no mean.
    """
    each: dict[str, dict[str, Any]] = {}
    for place, name in enumerate(classes):
        hits, said, true = int(table[place, place]), int(table[:, place].sum()), int(table[place].sum())
        each[name] = {
            "n": true,
            "precision": hits / said if said else None,
            "recall": hits / true if true else None,
            "f1": 2 * hits / (said + true) if said + true else None,
            "iou": hits / (said + true - hits) if said + true else None,
        }
    foreground = [each[name] for place, name in enumerate(classes) if place != background]
    means = {}
    for measure in ("precision", "recall", "f1", "iou"):
        defined = [scores[measure] for scores in foreground if scores[measure] is not None]
        means[measure] = float(np.mean(defined)) if defined else None
    accuracy = float(np.trace(table) / table.sum()) if table.sum() else None
    return {"n": int(table.sum()), **means, "accuracy": accuracy, "classes": each}


@dataclass(frozen=True, slots=True)
class ScoredCandidate:
    """A candidate's score, on which image it is, and the number of the object it found, 0 for none."""

    score: float
    image: int
    number: int


def judged(found: Sequence[Sequence[Candidate]], objects: Sequence[Objects]) -> list[ScoredCandidate]:
    """Every candidate of every image held against the objects there."""
    return [
        ScoredCandidate(candidate.score, image, int(there.numbers[candidate.y, candidate.x]))
        for image, (candidates, there) in enumerate(zip(found, objects, strict=True))
        for candidate in candidates
    ]


def candidate_scores(candidates: Sequence[ScoredCandidate], objects: int, threshold: float) -> dict[str, Any]:
    """Precision over the candidates from the threshold on, recall over the objects, and F1, their harmonic mean.

    Precision is the part of the candidates that lie on an object, recall the part of the objects with a candidate on
    them; an object with two candidates is found once. The intervals are Wilson's.
    """
    chosen = [each for each in candidates if each.score >= threshold]
    right = sum(each.number > 0 for each in chosen)
    found = len({(each.image, each.number) for each in chosen if each.number})
    scores: dict[str, Any] = {
        "n": objects,
        "candidates": len(chosen),
        "tp": right,
        "fp": len(chosen) - right,
        "found": found,
        "missed": objects - found,
        "f1": _f1(right, len(chosen), found, objects),
    }
    for name, part, whole in (("precision", right, len(chosen)), ("recall", found, objects)):
        interval = wilson(part, whole)
        scores[name] = part / whole if whole else None
        scores[f"{name}_interval"] = [interval.low, interval.high]
    return scores


def best_cut(candidates: Sequence[ScoredCandidate], objects: int) -> tuple[float | None, float]:
    """The threshold of the highest F1, halfway to the next lower score, and that F1; None and 0 where none is right."""
    ordered = sorted(candidates, key=lambda each: -each.score)
    best, cut, right = 0.0, None, 0
    found: set[tuple[int, int]] = set()
    for place, each in enumerate(ordered):
        if each.number:
            right += 1
            found.add((each.image, each.number))
        f1 = _f1(right, place + 1, len(found), objects)
        if f1 > best:
            lower = ordered[place + 1].score if place + 1 < len(ordered) else each.score
            best, cut = f1, (each.score + lower) / 2
    return cut, best


def _f1(right: int, candidates: int, found: int, objects: int) -> float:
    if not right:
        return 0.0
    precision, recall = right / candidates, found / objects
    return 2 * precision * recall / (precision + recall)
