"""`photon-triage models shadow|compare|promote|rollback`: a new model beside the old one, in its place, and back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from photon_triage.tui.commands.output import progress_bar, say, say_json, say_table
from photon_triage.tui.commands.session import AsOption, DeviceOption

if TYPE_CHECKING:
    from photon_triage.core.frames import FrameKey
    from photon_triage.core.session.decisions.labels import LabelBook
    from photon_triage.core.session.models.comparison import Scores
    from photon_triage.core.session.models.promotion_rule import FlippedFrame, GroupComparison, Verdict
    from photon_triage.core.session.session import Session

MOST_SCORED_HERE = 5000
"""Labelled frames that a command scores itself, the audit's first."""
SHOWN = 5

SessionArgument = Annotated[Path, typer.Argument(metavar="SESSION", help="Directory of the session.")]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="A name that `models list SESSION` shows.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
QuietOption = Annotated[bool, typer.Option("--quiet", help="No progress bar.")]


def shadow(
    session_path: SessionArgument,
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="The model; see `models list SESSION`.")] = None,
    none: Annotated[bool, typer.Option("--none", help="Have no model in the shadow any more.")] = False,
    who: AsOption = None,
) -> None:
    """Have the engine score with this model too, while nothing waits; the model in use goes on deciding alone."""
    from photon_triage.core.common.errors import UsageError
    from photon_triage.core.session.models.promotion import set_shadow
    from photon_triage.core.session.session import Session

    if (name is None) != none:
        raise UsageError("Could not set a shadow: it takes either a model or --none.", "Give one of them.")
    session = Session.open(session_path)
    session.who = who
    set_shadow(session, name)
    if name is None:
        say(f"No model scores in the shadow in {session.path} any more.")
    else:
        say(f"The engine of {session.path} scores with {name} too, while no frame waits, or as soon as it runs.")


def compare(
    session_path: SessionArgument,
    name: NameArgument,
    device: DeviceOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Hold a model against the one in use, on labelled frames of which neither has learned any.

    Precision, recall and F1 of both with 95 % intervals, the exact McNemar test, and what changed sides. Labelled
    frames that one has not scored are scored here, unless an engine does it.
    """
    from photon_triage.core.session.session import Session

    session = Session.open(session_path)
    verdict = _verdict(session, name, device, quiet=quiet or as_json)
    if as_json:
        say_json(verdict.as_json())
    else:
        _say_verdict(verdict)


def promote(
    session_path: SessionArgument,
    name: NameArgument,
    anyway: Annotated[bool, typer.Option("--anyway", help="Also where it is not better; that is recorded.")] = False,
    device: DeviceOption = None,
    quiet: QuietOption = False,
    who: AsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Use a model in place of the one in use, if it is better; exit status 1, with the reason, if it is not.

    Better: its F1 is higher on labelled frames of which neither has learned any, and that is no chance, by a paired
    bootstrap. The running engine takes it over and scores the session again in the background.
    """
    from photon_triage.core.common.errors import SessionError
    from photon_triage.core.session.models.promotion import promote as use_instead
    from photon_triage.core.session.session import Session

    session = Session.open(session_path)
    session.who = who
    verdict = _verdict(session, name, device, quiet=quiet or as_json)
    refusal: SessionError | None = None
    try:
        use_instead(session, verdict, anyway=anyway)
    except SessionError as error:
        refusal = error
    if as_json:
        say_json(verdict.as_json() | {"promoted": refusal is None, "anyway": anyway and not verdict.better})
    else:
        _say_verdict(verdict)
    if refusal is not None:
        raise refusal
    if not as_json:
        say(f"{name} is promoted over {verdict.old}. `models rollback` takes that back.")


def rollback(session_path: SessionArgument, who: AsOption = None, as_json: JsonOption = False) -> None:
    """Go back to the model that was in use before the last promotion; again, to the one before that."""
    from photon_triage.core.session.models.promotion import rollback as take_back
    from photon_triage.core.session.session import Session

    session = Session.open(session_path)
    session.who = who
    taken = take_back(session)
    if as_json:
        say_json({"model": taken.over, "instead_of": taken.model, "promoted_by": taken.who, "promoted_at": taken.time})
    else:
        say(f"{taken.over} is in use again, in place of {taken.model}.")


def _verdict(session: Session, name: str, device: str | None, *, quiet: bool) -> Verdict:
    """The verdict on a model and the one in use in its stage; raises UsageError where it is that one."""
    from photon_triage.core.common.errors import UsageError
    from photon_triage.core.session.models.catalog import models_in_use, stage_for
    from photon_triage.core.session.models.comparison import judge

    old = models_in_use(session)[stage_for(session, name)]
    if old == name:
        raise UsageError(f"Could not compare {name} with itself: it is in use in {session.path}.", "Name another one.")
    book = session.labels()
    scored = _scored_here(session, book, (old, name), device, quiet=quiet)
    return judge(session, old, name, book=book, scored=scored)


def _scored_here(
    session: Session, book: LabelBook, models: tuple[str, str], device: str | None, *, quiet: bool
) -> dict[str, Scores]:
    """Scores by model of labelled frames that results.db lacks, unless an engine is at work on them."""
    from photon_triage.core.engine.process import engine_is_running
    from photon_triage.core.session.models.comparison import judging_keys
    from photon_triage.core.session.models.promotion import shadow_of

    at_work = engine_is_running(session)
    busy = {*session.engine_state().models.values(), shadow_of(session)} if at_work else set()
    wanted = {model: _audit_first(judging_keys(session, model, book), book) for model in models if model not in busy}
    total = sum(map(len, wanted.values()))
    if not total:
        return {}
    from photon_triage.core.common.worker_process import lower_priority
    from photon_triage.core.engine.frame_scores import score_frames
    from photon_triage.models.inference.precision import best_device

    lower_priority()
    found: dict[str, Scores] = {}
    with progress_bar("scoring labelled frames", total, quiet=quiet) as advance:
        done = 0
        for model, keys in wanted.items():

            def note(frames: int, before: int = done) -> None:
                advance(before + frames)

            found[model] = score_frames(session, model, keys, best_device(device), note) if keys else {}
            done += len(keys)
    return found


def _audit_first(keys: list[FrameKey], book: LabelBook) -> list[FrameKey]:
    drawn = {frame.key for each in book.draws for frame in each.frames}
    return sorted(keys, key=lambda key: key not in drawn)[:MOST_SCORED_HERE]


def _say_verdict(verdict: Verdict) -> None:
    say(f"{verdict.old} in use, {verdict.new} instead; threshold {verdict.threshold:g}")
    for judged in (verdict.audit, verdict.labels):
        if judged is not None and not verdict.waits:
            _say_group(verdict, judged)
    say(
        f"{verdict.left_out} labelled frames do not judge: a model has learned from them or from what lies beside them."
    )
    _say_side(f"selected by {verdict.new} alone", verdict.gained, verdict.compared)
    _say_side(f"selected by {verdict.old} alone", verdict.lost, verdict.compared)
    for warning in verdict.warnings:
        say(warning)
    say(f"{'better' if verdict.better else 'no verdict' if verdict.waits else 'not better'}: {verdict.reason}")


def _say_group(verdict: Verdict, judged: GroupComparison) -> None:
    what = "drawn at random, so of all frames" if judged.kind == "audit" else "of labelled frames alone"
    say(f"n = {judged.n} ({judged.accepted} accepted), {what}:")
    rows: list[tuple[str, ...]] = [("", "precision", "recall", "F1")]
    for name, figures in ((verdict.old, judged.old), (verdict.new, judged.new)):
        told = (figures.precision, figures.recall, figures.f1)
        rows.append(
            (name, *("undefined" if e.value is None else f"{e.value:.3f} ({e.low:.3f} to {e.high:.3f})" for e in told))
        )
    say_table(rows, indent="  ")
    test = judged.mcnemar
    line = f"  only {verdict.old} right: {test.only_old}, only {verdict.new} right: {test.only_new}, p = {test.p:.3g}"
    if (gain := judged.difference) is not None:
        line += f"; F1 changes by {gain.value:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})"
    say(line)


def _say_side(what: str, side: tuple[FlippedFrame, ...], compared: int) -> None:
    accepted, rejected = (sum(each.accepted is verdict for each in side) for verdict in (True, False))
    say(f"{what}: {len(side)} of {compared} frames, {accepted} accepted, {rejected} rejected")
    for each in side[:SHOWN]:
        say(f"  {Path(each.key.file).name} {each.key.index}: {_score(each.old)} to {_score(each.new)} {_told(each)}")


def _score(score: float | None) -> str:
    return "none" if score is None else f"{score:.3f}"


def _told(each: FlippedFrame) -> str:
    return {True: "accepted", False: "rejected", None: ""}[each.accepted]
