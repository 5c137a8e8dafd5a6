"""A trained model held against the one in use, for the screen: made in a thread, from results.db and the journals."""

from __future__ import annotations

import shlex
import sqlite3
from dataclasses import dataclass

from photon_triage.core.common.errors import TriageError
from photon_triage.core.session.models.catalog import models_in_use, scored_as, stage_for
from photon_triage.core.session.models.comparison import judge
from photon_triage.core.session.models.promotion import rollback_target, shadow_of
from photon_triage.core.session.models.promotion_rule import Verdict
from photon_triage.core.session.session import Session


@dataclass(frozen=True)
class Comparison:
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


def compared(session: Session, model: str) -> Comparison:
    """The model against the one in use; where it is in use itself, against the one that it was promoted over."""
    try:
        in_use = models_in_use(session)[stage_for(session, model)]
        shadow = shadow_of(session)
        old = in_use
        if in_use == model:
            last = rollback_target(session)
            if last is None or last.model != model:
                return Comparison(model, in_use=True, shadow=shadow, problem="in use")
            old = last.over
        verdict = judge(session, old, model)
        other = scored_as(session, old if in_use == model else model)
        return Comparison(
            model,
            verdict,
            in_use == model,
            shadow,
            f"changed:{shlex.quote(f'{verdict.threshold:g},{other}')}",
            _note(verdict, model, in_use, shadow),
        )
    except (TriageError, OSError, sqlite3.Error) as error:
        return Comparison(model, problem=str(error))


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
