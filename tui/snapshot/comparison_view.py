"""A model held against the one in use, and the estimates of the audit, as the screen shows them."""

from __future__ import annotations

import shlex
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from photon_triage.core.audit.agreement import LabellerPair, pairs
from photon_triage.core.audit.estimate import Estimates, Quantity, estimate, labels_needed
from photon_triage.core.common.errors import TriageError
from photon_triage.core.frames import FrameKey
from photon_triage.core.session.decisions.audit_draws import Audit, AuditDraw, audit_of
from photon_triage.core.session.decisions.labels import LabelBook
from photon_triage.core.session.decisions.matching import labels_of
from photon_triage.core.session.models.catalog import models_in_use, scored_as, stage_for
from photon_triage.core.session.models.comparison import judge
from photon_triage.core.session.models.promotion import rollback_target, shadow_of
from photon_triage.core.session.models.promotion_rule import Verdict
from photon_triage.core.session.session import Session
from photon_triage.core.session.store.frames import Known

WANTED_HALF_WIDTH = 0.05
"""Of the intervals, as wide as they should become."""
STEPS = 100
"""The thresholds that can be tried lie this many to 1."""


@dataclass(frozen=True, eq=False)
class AuditView:
    """The audit as the screen shows it.

    ids: drawn frames in the order to label them. waiting: how many of them have no verdict yet. curve: by threshold.
    """

    drawn: int = 0
    waiting: int = 0
    skipped: int = 0
    rescored: bool = False
    ids: Sequence[int] = ()
    keys: frozenset[FrameKey] = frozenset()
    curve: Mapping[float, Estimates] = field(default_factory=dict)
    pairs: Sequence[LabellerPair] = ()
    audit: Audit | None = None

    def at(self, threshold: float) -> Estimates | None:
        """The estimates at a threshold, None while nothing was audited."""
        return self.curve.get(round(threshold, 4))

    def needed(self, threshold: float) -> int | None:
        """How many more labels the wanted width of precision and recall needs; None where nothing tells that."""
        if self.audit is None:
            return None
        wanted: tuple[Quantity, ...] = ("precision", "recall")
        each = [labels_needed(self.audit.sample, threshold, name, WANTED_HALF_WIDTH) for name in wanted]
        return max((count for count in each if count is not None), default=None)


def drawn_keys(draws: Iterable[AuditDraw]) -> set[FrameKey]:
    """All frames that were drawn."""
    return {drawn.key for each in draws for drawn in each.frames}


def view_audit(
    book: LabelBook, known: Mapping[FrameKey, Known], thresholds: Iterable[float], radius: float
) -> AuditView:
    """The audit at the thresholds that can be tried, and at these; radius: see labels_of."""
    people = pairs(book.opinions)
    keys = drawn_keys(book.draws)
    scores = {key: known[key].score for key in keys if key in known}
    audit = audit_of(book.draws, labels_of(keys, book.labels, radius), scores)
    if audit is None:
        return AuditView(pairs=people)
    ids = [known[drawn.key].id for drawn in book.draws[-1].frames if drawn.key in known]
    grid = sorted({step / STEPS for step in range(STEPS + 1)} | {round(value, 4) for value in thresholds})
    curve = dict(zip(grid, estimate(audit.sample, grid), strict=True)) if len(audit.sample) else {}
    return AuditView(
        audit.drawn,
        len(audit.waiting),
        audit.skipped,
        audit.sample.rescored,
        list(dict.fromkeys(id_ for id_ in ids if id_ >= 0)),
        audit.keys,
        curve,
        people,
        audit,
    )


@dataclass(frozen=True)
class ComparisonView:
    """How a model compares: a verdict, or why there is none.

    filter: of a list, lets those frames through that changed sides. note: what can be done next.
    """

    model: str
    verdict: Verdict | None = None
    in_use: bool = False
    shadow: str | None = None
    filter: str = ""
    note: str = ""
    problem: str = ""


def compared(session: Session, model: str) -> ComparisonView:
    """The model against the one in use; where it is in use itself, against the one that it was promoted over."""
    try:
        in_use = models_in_use(session)[stage_for(session, model)]
        shadow = shadow_of(session)
        old = in_use
        if in_use == model:
            last = rollback_target(session)
            if last is None or last.model != model:
                return ComparisonView(model, in_use=True, shadow=shadow, problem="in use")
            old = last.over
        verdict = judge(session, old, model)
        other = scored_as(session, old if in_use == model else model)
        return ComparisonView(
            model,
            verdict,
            in_use == model,
            shadow,
            f"changed:{shlex.quote(f'{verdict.threshold:g},{other}')}",
            _note(verdict, model, in_use, shadow),
        )
    except (TriageError, OSError, sqlite3.Error) as error:
        return ComparisonView(model, problem=str(error))


def _note(verdict: Verdict, model: str, in_use: str, shadow: str | None) -> str:
    if in_use == model:
        return f"in use · u rolls back to {verdict.old}"
    changed = " · v lists what changed sides" if verdict.gained or verdict.lost else ""
    if verdict.better:
        return f"p promotes{changed}"
    if shadow != model and verdict.waiting:
        return f"w has the engine score the labelled frames with it{changed}"
    if verdict.waits:
        return f"the engine scores the rest while nothing else waits{changed}"
    return f"not promoted{changed}"
