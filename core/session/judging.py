"""Which of two models is better on a session's labels: both on the same frames, of which neither has learned any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from photon_triage.core.audit.estimate import estimate
from photon_triage.core.audit.paired import Difference, McNemar, f1_difference, frames_needed, mcnemar
from photon_triage.core.errors import SessionError
from photon_triage.core.frames import FrameKey
from photon_triage.core.metrics import Estimate, confusion_at
from photon_triage.core.session.audits import Audit, audit_of
from photon_triage.core.session.in_use import scored_as
from photon_triage.core.session.label_records import Label
from photon_triage.core.session.labels import LabelBook
from photon_triage.core.session.learned import Learned, learned_by, may_not_judge
from photon_triage.core.session.matching import labels_of
from photon_triage.core.session.results import ResultsReader
from photon_triage.core.session.session import Session

Scores = Mapping[FrameKey, float | None]

LEAST_OF_A_KIND, LEAST_JUDGED = 5, 20
"""Accepted and rejected frames, and all, that must be judged before a model is promoted."""
AUDIT_ACCEPTED, AUDIT_JUDGED = 10, 50
"""From so many on the audit decides, of whose frames none was chosen by a ranking."""
CHANCE = 0.1
"""A gain that chance brings about more often than this is none."""
CONTRADICTED = 0.05
MAY_WAIT = 0.1
"""Part of the labelled frames that may still wait for the score of a model."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Precision, recall and F1 of a model with their 95 % intervals."""

    precision: Estimate
    recall: Estimate
    f1: Estimate

    def as_json(self) -> dict[str, Any]:
        """Values, and intervals under NAME_interval."""
        found: dict[str, Any] = {}
        for name in ("precision", "recall", "f1"):
            told: Estimate = getattr(self, name)
            found |= {name: told.value, f"{name}_interval": [told.low, told.high]}
        return found


@dataclass(frozen=True, slots=True)
class Judged:
    """Both models on one group of labelled frames.

    kind: "audit", drawn at random: the figures are of all frames; "labels", all labelled frames, chosen by rankings
    too: the figures are of those alone. n, accepted: frames, and true ones among them. difference: None where F1 of
    either is not defined.
    """

    kind: Literal["audit", "labels"]
    n: int
    accepted: int
    old: Figures
    new: Figures
    mcnemar: McNemar
    difference: Difference | None

    @property
    def enough(self) -> bool:
        """Whether so many were judged that a verdict can be spoken."""
        return self.n >= LEAST_JUDGED and min(self.accepted, self.n - self.accepted) >= LEAST_OF_A_KIND

    def as_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {
            "n": self.n,
            "accepted": self.accepted,
            "old": self.old.as_json(),
            "new": self.new.as_json(),
            "mcnemar": {"b": self.mcnemar.only_old, "c": self.mcnemar.only_new, "p": self.mcnemar.p},
            "f1_difference": None if self.difference is None else asdict(self.difference),
        }


@dataclass(frozen=True, slots=True)
class Changed:
    """A frame, or a labelled candidate, that one of the models selects and the other does not.

    accepted: what its label says, None where it has none.
    """

    key: FrameKey
    old: float | None
    new: float | None
    accepted: bool | None = None

    def as_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        point = {"point": list(self.key.point)} if self.key.point else {}
        place = {"file": self.key.file, "dataset": self.key.dataset, "index": self.key.index}
        return place | point | {"old": self.old, "new": self.new, "accepted": self.accepted}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What two models are worth beside each other, and whether the new one is better.

    judge: the group that decides, None where nothing was judged. left_out: labelled frames that one of them has learned
    from, or that lie beside such. waiting: labelled frames that one of them has not scored yet. compared: frames that
    both have scored, of which `gained` are selected by the new model alone and `lost` by the old one alone. needed:
    about how many more labels would tell; 0 where enough is known.
    """

    old: str
    new: str
    threshold: float
    judge: Judged | None
    audit: Judged | None
    labels: Judged | None
    left_out: int
    waiting: int
    compared: int
    gained: tuple[Changed, ...]
    lost: tuple[Changed, ...]
    better: bool
    reason: str
    needed: int = 0
    warnings: tuple[str, ...] = field(default=())

    def as_json(self, keys: int = 1000) -> dict[str, Any]:
        """The same as JSON values; at most so many frames that changed sides are listed in either direction."""
        groups = {"audit": self.audit, "labels": self.labels}
        decisive = self.judge.as_json() if self.judge else {"n": 0, "accepted": 0}
        return {
            "old_model": self.old,
            "new_model": self.new,
            "threshold": self.threshold,
            "better": self.better,
            "reason": self.reason,
            "warnings": list(self.warnings),
            "judged_by": self.judge.kind if self.judge else None,
            **decisive,
            **{name: group and group.as_json() for name, group in groups.items()},
            "left_out": self.left_out,
            "waiting": self.waiting,
            "needed": self.needed,
            "compared": self.compared,
            "changed": {name: _side(side, keys) for name, side in (("gained", self.gained), ("lost", self.lost))},
        }

    def summary(self) -> dict[str, Any]:
        """What is written down with a promotion."""
        said: dict[str, Any] = {"better": self.better, "reason": self.reason, "threshold": self.threshold}
        if self.judge is not None:
            said |= {"judged_by": self.judge.kind, "n": self.judge.n, "p": self.judge.mcnemar.p}
            said |= {"old_f1": self.judge.old.f1.value, "new_f1": self.judge.new.f1.value}
        return said


def judge(
    session: Session,
    old: str,
    new: str,
    *,
    book: LabelBook | None = None,
    threshold: float | None = None,
    scored: Mapping[str, Scores] | None = None,
) -> Verdict:
    """Hold a new model against an old one on the labelled frames that neither has learned from.

    book: the session's labels, if they were read. threshold: the session's, if not given. scored: by a model's name,
    scores that results.db does not have, of labelled frames.

    The new model is better where its F1 is higher on the group that decides, and where at most CHANCE of the samples
    that might as well have been drawn show no gain. The audit decides where it is large enough, else all labels.

    Raises SessionError where there is no such model, and where the recipe's networks select no frames.
    """
    recipe = session.recipe()
    if recipe.classify is None and recipe.patches is None:
        raise SessionError(
            f"Could not compare models in {session.path}: no network of its recipe {recipe.name} selects frames.",
            "Segmenters are compared on masks: `photon-triage train` scores old and new on held-back ones.",
        )
    book = session.labels() if book is None else book
    threshold = session.threshold(book) if threshold is None else threshold
    names = (scored_as(session, old), scored_as(session, new))
    learned = learned_by(session, old) | learned_by(session, new)
    reader = session.results()
    try:
        labels, drawn, left_out = _judges(session, book, learned, reader)
        recorded = [reader.scores_by(name, labels, _radius(session)) for name in names]
        both = [known | dict((scored or {}).get(model, {})) for model, known in zip((old, new), recorded, strict=True)]
        ready = {key: label for key, label in labels.items() if all(key in scores for scores in both)}
        scores_old, scores_new = ({key: scores[key] for key in ready} for scores in both)
        changed = reader.changed_sides(*names, threshold) if recipe.patches is None else []
        compared = sum(not all(key in known for known in recorded) for key in ready)
        compared = compared + reader.scored_by_both(*names) if recipe.patches is None else len(ready)
    finally:
        reader.close()
    own = {key: label for key, label in ready.items() if key in book.labels}
    everything = _of_labels(own, scores_old, scores_new, threshold)
    audit = _of_audit(book, drawn, scores_old, scores_new, threshold)
    sides = [Changed(moved.key, moved.old, moved.new) for moved in changed]
    gained, lost = _sides(sides, book.labels, own, scores_old, scores_new, threshold)
    verdict = Verdict(
        old, new, threshold, None, audit, everything, left_out, len(labels) - len(ready), compared, gained, lost,
        better=False, reason="", warnings=_warnings(learned),
    )  # fmt: skip
    return _decided(verdict)


def judging_keys(session: Session, model: str, book: LabelBook | None = None) -> list[FrameKey]:
    """The labelled frames by which `judge` goes that results.db has no score of this model for."""
    book = session.labels() if book is None else book
    reader = session.results()
    try:
        labels, _, _ = _judges(session, book, Learned(frozenset()), reader)
        known = reader.scores_by(scored_as(session, model), labels, _radius(session))
    finally:
        reader.close()
    return [key for key in labels if key not in known]


def _judges(
    session: Session, book: LabelBook, learned: Learned, reader: ResultsReader
) -> tuple[dict[FrameKey, Label], dict[FrameKey, Label], int]:
    """The labels that may judge, those of all drawn frames, and how many labels may not judge.

    A drawn candidate has the label of what lies nearest to it.
    """
    radius = _radius(session)
    drawn = labels_of({frame.key for each in book.draws for frame in each.frames}, book.labels, radius)
    labels = {key: label for key, label in (book.labels | drawn).items() if label.verdict != "skipped"}
    if session.recipe().patches is not None:
        labels = {key: label for key, label in labels.items() if key.point}
    known = reader.look_up({key.frame for key in labels})
    labels = {key: label for key, label in labels.items() if key.frame in known}
    refused = may_not_judge(list(labels), learned, reader).tolist()
    allowed = {key: label for (key, label), no in zip(labels.items(), refused, strict=True) if not no}
    return allowed, drawn, sum(refused)


def _of_labels(labels: Mapping[FrameKey, Label], old: Scores, new: Scores, threshold: float) -> Judged | None:
    if not labels:
        return None
    truth = {key: label.verdict == "accepted" for key, label in labels.items()}
    figures = []
    for scores in (old, new):
        confusion = confusion_at(scores, truth, threshold).confusion
        figures.append(Figures(confusion.precision, confusion.recall, confusion.f1))
    true = np.array(list(truth.values()), bool)
    first, second = (_selected(scores, list(truth), threshold) for scores in (old, new))
    return Judged(
        "labels", len(true), int(true.sum()), figures[0], figures[1], mcnemar(true, first, second),
        f1_difference(true, first, second),
    )  # fmt: skip


def _of_audit(
    book: LabelBook, labels: Mapping[FrameKey, Label], old: Scores, new: Scores, threshold: float
) -> Judged | None:
    """Both models on the audit's sample, less the frames that may not judge: the others of a stratum stand for it."""
    found: list[Audit] = [audit for scores in (old, new) if (audit := audit_of(book.draws, labels, scores)) is not None]
    if not found or not len(found[0].sample):
        return None
    figures = []
    for audit in found:
        # Both by what was judged alone, though of the model that the draw was made by more is known: alike for both.
        (at,) = estimate(replace(audit.sample, rescored=True), [threshold])
        figures.append(Figures(at.precision, at.recall, at.f1))
    true = found[0].sample.hit
    first, second = (audit.sample.score >= threshold for audit in found)
    sizes = np.array([stratum.frames for stratum in found[0].sample.strata], dtype=np.float64)
    return Judged(
        "audit", len(true), int(true.sum()), figures[0], figures[1], mcnemar(true, first, second),
        f1_difference(true, first, second, found[0].sample.stratum, sizes),
    )  # fmt: skip


def _sides(
    changed: Sequence[Changed],
    labels: Mapping[FrameKey, Label],
    judged: Set[FrameKey] | Mapping[FrameKey, Label],
    old: Scores,
    new: Scores,
    threshold: float,
) -> tuple[tuple[Changed, ...], tuple[Changed, ...]]:
    """(Gained, lost): those of results.db, and judged ones that it does not know, each with its label."""
    known = {each.key for each in changed}
    more = [
        Changed(key, old[key], new[key])
        for key in judged
        if key not in known and _reaches(old[key], threshold) != _reaches(new[key], threshold)
    ]
    told = [replace(each, accepted=_accepted(labels.get(each.key))) for each in (*changed, *more)]
    gained = tuple(each for each in told if _reaches(each.new, threshold))
    return gained, tuple(each for each in told if not _reaches(each.new, threshold))


def _decided(verdict: Verdict) -> Verdict:
    """The verdict with the group that decides, whether the new model is better, and why."""
    audit, labels = verdict.audit, verdict.labels
    by_audit = audit is not None and audit.n >= AUDIT_JUDGED and audit.accepted >= AUDIT_ACCEPTED and audit.enough
    judged = audit if by_audit else labels
    warnings = list(verdict.warnings)
    if verdict.waiting:
        warnings.append(f"{verdict.waiting} labelled frames wait for the score of one of the models.")
    if judged is not None and not by_audit:
        warnings.append(
            "The labels were chosen by rankings, not at random, and may favour either model: "
            f"an audit of {AUDIT_JUDGED} frames with {AUDIT_ACCEPTED} accepted ones would decide instead."
        )
    n = judged.n if judged else 0
    if verdict.waiting > MAY_WAIT * (verdict.waiting + n):
        why = (
            f"{verdict.waiting} of {verdict.waiting + n} labelled frames are not scored by both yet; "
            "the engine scores them while nothing else waits"
        )
        return replace(verdict, judge=judged, reason=why, warnings=tuple(warnings))
    if judged is None or not judged.enough:
        accepted = judged.accepted if judged else 0
        of_kinds = max(LEAST_OF_A_KIND - accepted, 0) + max(LEAST_OF_A_KIND - (n - accepted), 0)
        needed = max(LEAST_JUDGED - n, of_kinds)
        why = (
            f"only {n} labelled frames may judge, {accepted} of them accepted; {LEAST_JUDGED} are needed, "
            f"with {LEAST_OF_A_KIND} accepted and {LEAST_OF_A_KIND} rejected: label about {needed} more"
        )
        return replace(verdict, judge=judged, reason=why, needed=needed, warnings=tuple(warnings))
    if judged.mcnemar.only_old > judged.mcnemar.only_new and judged.mcnemar.p < CONTRADICTED:
        warnings.append(
            f"{verdict.new} is right less often: on {judged.mcnemar.only_old} frames only {verdict.old} is, "
            f"on {judged.mcnemar.only_new} only {verdict.new} (p = {judged.mcnemar.p:.2g})."
        )
    better, needed, why = _compare(judged)
    return replace(verdict, judge=judged, better=better, reason=why, needed=needed, warnings=tuple(warnings))


def _compare(judged: Judged) -> tuple[bool, int, str]:
    """Whether the new model is better, how many more frames would tell, and why."""
    change = f"F1 {_shown(judged.old.f1)} to {_shown(judged.new.f1)} on {judged.n} frames"
    difference = judged.difference
    if difference is None:
        return False, 0, f"{change}: it is not defined"
    if difference.value <= 1e-12:
        return False, 0, f"{change}: it is not higher"
    if difference.chance > CHANCE:
        needed = frames_needed(difference, judged.n, CHANCE) or 0
        differ = judged.mcnemar.only_old + judged.mcnemar.only_new
        return (
            False,
            needed,
            (
                f"{change}: may be chance, in {100 * difference.chance:.0f} % of such samples there is no gain; "
                f"they differ on {differ} frames. Label about {needed} more"
            ),
        )
    return True, 0, f"{change}: higher, and not by chance ({100 * difference.chance:.2g} %)"


def _warnings(learned: Learned) -> tuple[str, ...]:
    if not learned.untold:
        return ()
    return (f"What {', '.join(learned.untold)} learned from is not known: labels it has seen may judge it.",)


def _selected(scores: Scores, keys: Sequence[FrameKey], threshold: float) -> NDArray[np.bool_]:
    return np.array([_reaches(scores[key], threshold) for key in keys], bool)


def _reaches(score: float | None, threshold: float) -> bool:
    return score is not None and score >= threshold


def _accepted(label: Label | None) -> bool | None:
    return None if label is None or label.verdict == "skipped" else label.verdict == "accepted"


def _shown(told: Estimate) -> str:
    return "undefined" if told.value is None else f"{told.value:.3f}"


def _side(side: Sequence[Changed], keys: int) -> dict[str, Any]:
    return {
        "n": len(side),
        "accepted": sum(each.accepted is True for each in side),
        "rejected": sum(each.accepted is False for each in side),
        "frames": [each.as_json() for each in side[:keys]],
    }


def _radius(session: Session) -> float:
    patches = session.recipe().patches
    return patches.min_distance if patches else 0.0
