"""Promotion: a model takes the place of another when it is better on the labels, and gives it back on wish."""

from __future__ import annotations

from dataclasses import dataclass

from photon_triage.core.common.errors import SessionError
from photon_triage.core.session.decisions.commands import SHADOW, USE_MODEL, CommandFollower
from photon_triage.core.session.decisions.journal import JournalFollower, JournalWriter, Record
from photon_triage.core.session.models.catalog import find_model, models_in_use, stage_for
from photon_triage.core.session.models.promotion_rule import Verdict
from photon_triage.core.session.session import Session

PROMOTED, TAKEN_BACK = "promotion", "rolls_back"
"""Fields of the commands that tell the engine which model to use: what the operators' wish was about."""


@dataclass(frozen=True, slots=True)
class Promotion:
    """A model that took the place of another: who wished it and when (Unix time), and whether the verdict was for it.

    name: of the record that says so, unique and the same for everybody.
    """

    name: str
    model: str
    over: str
    who: str
    time: float
    anyway: bool
    reason: str


def promote(
    session: Session, verdict: Verdict, *, anyway: bool = False, journal: JournalWriter | None = None
) -> Record:
    """Have the engine use the new model of a verdict in place of the old one; the record is on disk on return.

    anyway: also where the verdict is against it; that is recorded. journal: to write to, one of its own if not given.

    Raises SessionError, with the reason, where the new model is not better, and where the old one is not in use.
    """
    find_model(verdict.new, session.models_path)
    in_use = models_in_use(session)[stage_for(session, verdict.new)]
    if in_use != verdict.old:
        raise SessionError(
            f"Could not promote {verdict.new} over {verdict.old} in {session.path}: {in_use} is in use there.",
            "Compare it with that one.",
            title="Not promoted",
        )
    if verdict.new == verdict.old:
        raise SessionError(f"Could not promote {verdict.new}: it is in use.", "Name another model.", title="In use")
    if not (verdict.better or anyway):
        raise SessionError(
            f"{verdict.new} is not promoted over {verdict.old}: {verdict.reason}.",
            "With --anyway it is, against this advice.",
            title="Not promoted",
        )
    told = {"over": verdict.old, "anyway": anyway and not verdict.better, **verdict.summary()}
    return _append(session, journal, command=USE_MODEL, model=verdict.new, **{PROMOTED: told})


def rollback(session: Session, *, journal: JournalWriter | None = None) -> Promotion:
    """Go back to the model that was in use before the last promotion; returns the promotion that is taken back.

    Raises SessionError where there is none, or the former model is gone.
    """
    last = rollback_target(session)
    if last is None:
        raise SessionError(
            f"Could not roll back in {session.path}: no model was promoted there, or all were taken back.",
            "`photon-triage models use SESSION NAME` takes any model.",
            title="Nothing to take back",
        )
    find_model(last.over, session.models_path)
    _append(session, journal, command=USE_MODEL, model=last.over, **{TAKEN_BACK: last.name})
    return last


def rollback_target(session: Session) -> Promotion | None:
    """The promotion that a rollback would take back, None where there is none."""
    standing = promotions(session)
    return standing[-1] if standing else None


def promotions(session: Session) -> list[Promotion]:
    """The promotions that stand, the oldest first."""
    standing: dict[str, Promotion] = {}
    for record in JournalFollower(session.journal_path).new_records():
        if record.kind != "command" or record.fields.get("command") != USE_MODEL:
            continue
        told = record.fields.get(PROMOTED)
        if isinstance(told, dict):
            name = f"{record.journal}:{record.sequence}"
            standing[name] = Promotion(
                name, str(record.fields.get("model")), str(told.get("over")), record.who, record.time,
                bool(told.get("anyway")), str(told.get("reason", "")),
            )  # fmt: skip
        else:
            standing.pop(str(record.fields.get(TAKEN_BACK)), None)
    return list(standing.values())


def set_shadow(session: Session, model: str | None, *, journal: JournalWriter | None = None) -> Record:
    """Have the engine score with this model too, in the shadow of the one in use, or with none.

    Raises SessionError where there is no such model, or no stage for it.
    """
    if model is not None:
        stage_for(session, model)
    return _append(session, journal, command=SHADOW, model=model)


def shadow_of(session: Session) -> str | None:
    """The model that was asked for as a shadow, None where none is, or where it is in use by now."""
    wished = CommandFollower(session.journal_path).wishes().shadow
    return wished if wished and wished not in models_in_use(session).values() else None


def _append(session: Session, journal: JournalWriter | None, **fields: object) -> Record:
    if journal is not None:
        return journal.append("command", **fields)
    own = session.journal()
    try:
        return own.append("command", **fields)
    finally:
        own.close()
