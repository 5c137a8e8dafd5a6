"""`photon-triage audit`: draw frames at random, and say what they tell of all frames."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from photon_triage.tui.commands.output import say, say_json, say_table
from photon_triage.tui.commands.sessions import AsOption

if TYPE_CHECKING:
    from photon_triage.core.audit.estimate import Estimates
    from photon_triage.core.metrics import Estimate
    from photon_triage.core.session.decisions.labels import LabelBook
    from photon_triage.core.session.session import Session

QUANTITIES = ("hit_rate", "precision", "recall", "f1")
CURVE = tuple(step / 20 for step in range(1, 20))


def audit(
    session_path: Annotated[Path, typer.Argument(metavar="SESSION", help="Directory of the session.")],
    more: Annotated[
        int, typer.Option("--draw", metavar="N", min=0, help="Draw so many more frames to label, at random.")
    ] = 0,
    threshold: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Score from which a frame is selected; the operator's, else the recipe's."),
    ] = None,
    width: Annotated[
        float, typer.Option(min=0.001, max=0.5, help="Half width of the intervals that is wanted.")
    ] = 0.05,
    curve: Annotated[bool, typer.Option("--curve", help="The estimates at every threshold, too.")] = False,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Of the random draw; the session's own, if not given.")
    ] = None,
    who: AsOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Estimate hit rate, precision, recall and F1 of all frames, with 95 % intervals, from frames drawn at random.

    Draw first, label them on the screen (s, then audit), then ask. Frames that hit finding refused are drawn, too.
    """
    from photon_triage.core.session.models.audit_estimate import draw_more
    from photon_triage.core.session.session import Session

    session = Session.open(session_path)
    session.who = who
    book = session.labels()
    chosen = session.threshold(book) if threshold is None else threshold
    if more:
        drawn = draw_more(session, book, chosen, more, seed)
        book.refresh()
    report = audit_report(session, book, chosen, width, CURVE if curve else ())
    if more:
        report["drawn_now"] = len(drawn.frames)
    if as_json:
        say_json(report)
    else:
        _say_report(report)


def audit_report(
    session: Session, book: LabelBook, threshold: float, width: float, curve: tuple[float, ...] = ()
) -> dict[str, Any]:
    """What the audit tells, for people and for --json; {"n": 0} before the first draw."""
    from photon_triage.core.audit.estimate import estimate, labels_needed
    from photon_triage.core.session.models.audit_estimate import audit_now

    found = audit_now(session, book)
    if found is None:
        return {"n": 0, "drawn": 0, "waiting": 0}
    sample, changed = found.sample, sum(key in book.changed for key in found.waiting)
    report: dict[str, Any] = {
        "n": len(sample),
        "drawn": found.drawn,
        "waiting": len(found.waiting),
        "of_changed_frames": changed,
        "skipped": found.skipped,
        "disputed": len(book.conflicts & found.keys),
        "frames": sample.frames,
        "rescored": sample.rescored,
        "threshold": threshold,
        "draws": len(book.draws),
    }
    if len(sample):
        at, *others = estimate(sample, [threshold, *curve])
        report |= _as_json(at)
        report["wanted_half_width"] = width
        report["labels_needed"] = {
            name: labels_needed(sample, threshold, name, width)  # type: ignore[arg-type]
            for name in QUANTITIES
        }
        if curve:
            report["curve"] = [_as_json(each) | {"threshold": each.threshold} for each in others]
    return report


def _as_json(at: Estimates) -> dict[str, Any]:
    told: dict[str, Any] = {"selected": round(at.selected)}
    for name in QUANTITIES:
        estimate: Estimate = getattr(at, name)
        told[name] = estimate.value
        told[f"{name}_interval"] = [estimate.low, estimate.high]
    return told


def _say_report(report: dict[str, Any]) -> None:
    if "drawn_now" in report:
        say(f"{report['drawn_now']} frames are drawn. Label them on a screen: s, then audit.")
    if not report["drawn"]:
        say("No frame has been drawn yet: --draw 100 does. Recall: no audit sample yet.")
        return
    if not report["n"]:
        say(f"{report['waiting']} drawn frames wait for labels. Recall: no audit sample yet.")
        return
    say(
        f"n = {report['n']} audited of {report['frames']:,}, threshold {report['threshold']:g}; "
        f"{report['waiting']} drawn frames wait for labels"
        + (f", {report['skipped']} were skipped and do not count" if report["skipped"] else "")
        + (
            f", {report['of_changed_frames']} of them once more: they have changed"
            if report["of_changed_frames"]
            else ""
        )
        + (f", on {report['disputed']} people differ and the later word counts" if report["disputed"] else "")
    )
    say_table(
        (
            {"hit_rate": "hit rate", "f1": "F1"}.get(name, name),
            "undefined" if report[name] is None else f"{report[name]:.3f}",
            "95 % {:.3f} to {:.3f}".format(*report[f"{name}_interval"]),
            _needed(report["labels_needed"][name], report["wanted_half_width"]),
        )
        for name in QUANTITIES
    )
    if "curve" in report:
        say_table([("threshold", "selected", "precision", "recall", "F1"), *map(_curve_row, report["curve"])])
    if report["rescored"]:
        say("Another model has scored since the draw: the numbers hold, and a new draw makes them sharper.")


def _needed(labels: int | None, width: float) -> str:
    if labels is None:
        return ""
    return f"within ±{width:g}" if labels == 0 else f"about {labels:,} more labels for ±{width:g}"


def _curve_row(at: dict[str, Any]) -> tuple[str, ...]:
    def told(name: str) -> str:
        if at[name] is None:
            return "undefined"
        return "{:.3f} ({:.3f} to {:.3f})".format(at[name], *at[f"{name}_interval"])

    return (f"{at['threshold']:.2f}", f"{at['selected']:,}", told("precision"), told("recall"), told("f1"))
