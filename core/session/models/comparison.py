"""Which of two models is better on a session's labels: both on the same frames, of which neither has learned any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from photon_triage.core.audit.estimate import estimate
from photon_triage.core.audit.paired_difference import f1_difference, mcnemar
from photon_triage.core.common.errors import SessionError
from photon_triage.core.frames import FrameKey
from photon_triage.core.metrics import confusion_at
from photon_triage.core.session.decisions.audit_draws import Audit, audit_of
from photon_triage.core.session.decisions.label_records import Label
from photon_triage.core.session.decisions.labels import LabelBook
from photon_triage.core.session.decisions.matching import labels_of
from photon_triage.core.session.models.catalog import scored_as
from photon_triage.core.session.models.lineage import Learned, learned_by, may_not_judge
from photon_triage.core.session.models.promotion_rule import Figures, FlippedFrame, GroupComparison, Verdict, decided
from photon_triage.core.session.session import Session
from photon_triage.core.session.store.reader import ResultsReader

Scores = Mapping[FrameKey, float | None]


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

    When the new model is better stands in `deciding`.

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
        recorded = [reader.scores_by(name, labels, session.recipe().label_radius) for name in names]
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
    sides = [FlippedFrame(moved.key, moved.old, moved.new) for moved in changed]
    gained, lost = _sides(sides, book.labels, own, scores_old, scores_new, threshold)
    verdict = Verdict(
        old, new, threshold, None, audit, everything, left_out, len(labels) - len(ready), compared, gained, lost,
        better=False, reason="", warnings=_warnings(learned, len(book.changed)),
    )  # fmt: skip
    return decided(verdict)


def judging_keys(session: Session, model: str, book: LabelBook | None = None) -> list[FrameKey]:
    """The labelled frames by which `judge` goes that results.db has no score of this model for."""
    book = session.labels() if book is None else book
    reader = session.results()
    try:
        labels, _, _ = _judges(session, book, Learned(frozenset()), reader)
        known = reader.scores_by(scored_as(session, model), labels, session.recipe().label_radius)
    finally:
        reader.close()
    return [key for key in labels if key not in known]


def _judges(
    session: Session, book: LabelBook, learned: Learned, reader: ResultsReader
) -> tuple[dict[FrameKey, Label], dict[FrameKey, Label], int]:
    """The labels that may judge, those of all drawn frames, and how many labels may not judge.

    A drawn candidate has the label of what lies nearest to it.
    """
    radius = session.recipe().label_radius
    drawn = labels_of({frame.key for each in book.draws for frame in each.frames}, book.labels, radius)
    labels = {key: label for key, label in (book.labels | drawn).items() if label.verdict != "skipped"}
    if session.recipe().patches is not None:
        labels = {key: label for key, label in labels.items() if key.point}
    known = reader.frames().known({key.frame for key in labels})
    labels = {key: label for key, label in labels.items() if key.frame in known}
    refused = may_not_judge(list(labels), learned, reader).tolist()
    allowed = {key: label for (key, label), no in zip(labels.items(), refused, strict=True) if not no}
    return allowed, drawn, sum(refused)


def _of_labels(labels: Mapping[FrameKey, Label], old: Scores, new: Scores, threshold: float) -> GroupComparison | None:
    if not labels:
        return None
    truth = {key: label.verdict == "accepted" for key, label in labels.items()}
    figures = []
    for scores in (old, new):
        confusion = confusion_at(scores, truth, threshold).confusion
        figures.append(Figures(confusion.precision, confusion.recall, confusion.f1))
    true = np.array(list(truth.values()), bool)
    first, second = (_selected(scores, list(truth), threshold) for scores in (old, new))
    return GroupComparison(
        "labels", len(true), int(true.sum()), figures[0], figures[1], mcnemar(true, first, second),
        f1_difference(true, first, second),
    )  # fmt: skip


def _of_audit(
    book: LabelBook, labels: Mapping[FrameKey, Label], old: Scores, new: Scores, threshold: float
) -> GroupComparison | None:
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
    return GroupComparison(
        "audit", len(true), int(true.sum()), figures[0], figures[1], mcnemar(true, first, second),
        f1_difference(true, first, second, found[0].sample.stratum, sizes),
    )  # fmt: skip


def _sides(
    changed: Sequence[FlippedFrame],
    labels: Mapping[FrameKey, Label],
    judged: Set[FrameKey] | Mapping[FrameKey, Label],
    old: Scores,
    new: Scores,
    threshold: float,
) -> tuple[tuple[FlippedFrame, ...], tuple[FlippedFrame, ...]]:
    """(Gained, lost): those of results.db, and judged ones that it does not know, each with its label."""
    known = {each.key for each in changed}
    more = [
        FlippedFrame(key, old[key], new[key])
        for key in judged
        if key not in known and _reaches(old[key], threshold) != _reaches(new[key], threshold)
    ]
    told = [replace(each, accepted=_accepted(labels.get(each.key))) for each in (*changed, *more)]
    gained = tuple(each for each in told if _reaches(each.new, threshold))
    return gained, tuple(each for each in told if not _reaches(each.new, threshold))


def _warnings(learned: Learned, changed: int) -> tuple[str, ...]:
    found = []
    if learned.untold:
        found.append(f"What {', '.join(learned.untold)} learned from is not known: labels it has seen may judge it.")
    if changed:
        found.append(f"{changed} labels are of frames that have changed since, and do not evaluate models.")
    return tuple(found)


def _selected(scores: Scores, keys: Sequence[FrameKey], threshold: float) -> NDArray[np.bool_]:
    return np.array([_reaches(scores[key], threshold) for key in keys], bool)


def _reaches(score: float | None, threshold: float) -> bool:
    return score is not None and score >= threshold


def _accepted(label: Label | None) -> bool | None:
    return None if label is None or label.verdict == "skipped" else label.verdict == "accepted"
