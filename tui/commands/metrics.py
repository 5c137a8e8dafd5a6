"""Commands `metrics` and `audit`: precision and recall against labels and from a random sample."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from photon_triage.tui.commands.output import say, say_json, say_table
from photon_triage.tui.commands.session import AsOption

if TYPE_CHECKING:
    from photon_triage.core.audit.estimate import Estimates
    from photon_triage.core.metrics import Estimate
    from photon_triage.core.session.decisions.labels import LabelBook
    from photon_triage.core.session.session import Session
from collections import Counter

if TYPE_CHECKING:
    from photon_triage.core.frames import FrameKey
    from photon_triage.core.metrics import Confusion, Estimate
    from photon_triage.core.session.decisions.labels import Label, LabelBook


QUANTITIES = ("hit_rate", "precision", "recall", "f1")
CURVE = tuple(step / 20 for step in range(1, 20))
WANTED_HALF_WIDTH = 0.05
BIASED = (
    "Labels came from ranked candidates only: singles that never became candidates are not counted as missed, so "
    "recall may be too high."
)
SIMULATED = "Simulated data: these numbers are of a simulation, not of an experiment."


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
        _say_audit_sample(report)


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


def _say_audit_sample(report: dict[str, Any]) -> None:
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


def metrics(
    session_path: Annotated[Path, typer.Argument(metavar="SESSION", help="Directory of the session.")],
    against: Annotated[
        Path | None, typer.Option(metavar="FILE.csv", help="Labels to compare with; the session's own, if not given.")
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Score from which a frame is selected; the operator's, else the recipe's."),
    ] = None,
    beta: Annotated[float, typer.Option(min=1e-3, max=1e3, help="Weight of recall in F-beta.")] = 2.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Precision, recall, F and IoU of the selection, with 95 % Wilson intervals and the number of labels.

    Where the recipe lists candidates, a table is taken to hold every object on all frames that were read: a candidate
    is true when it lies within the recipe's min_distance of an object that no better one has.
    """
    from photon_triage.core.common.errors import LabelError
    from photon_triage.core.metrics import confusion_at
    from photon_triage.core.session.decisions.label_files import latest_labels, match_files, read_labels
    from photon_triage.core.session.decisions.matching import points_against, scores_of_points
    from photon_triage.core.session.session import Session

    session = Session.open(session_path)
    book = session.labels()
    if threshold is None:
        threshold = session.threshold(book)
    reader = session.results()
    try:
        simulated = reader.counts().simulated
        told = latest_labels(match_files(read_labels(against), reader.files())) if against else book.labels
        labels = list(told.values())
        patches = session.recipe().patches
        frames = reader.frames()
        truth = {label.key: label.verdict == "accepted" for label in labels if label.verdict != "skipped"}
        scores: dict[FrameKey, float | None] = {}
        if patches is None:
            scores = frames.scores(truth)
            comparison = confusion_at(scores, truth, threshold)
        elif against is None:
            scores = scores_of_points(truth, reader, patches.min_distance)
            comparison = confusion_at(scores, truth, threshold)
        else:
            comparison = points_against(truth, reader, threshold, patches.min_distance)
        unlabelled = frames.count() - len(scores)
    finally:
        reader.close()
    confusion = comparison.confusion
    if confusion.n == 0:
        changed = f", and {len(book.changed)} are of frames that have changed since" if book.changed else ""
        raise LabelError(
            f"Could not measure {session.path}: of {len(truth)} labels none is of a frame that was read{changed}.",
            "Label frames on a screen, or compare with a table: `--against FILE.csv`.",
        )
    report: dict[str, Any] = {
        "n": confusion.n,
        "threshold": threshold,
        **{name: getattr(confusion, name) for name in ("tp", "fp", "fn", "tn")},
    }
    for name, estimate in estimates(confusion, beta).items():
        report[name] = estimate.value
        report[f"{name}_interval"] = [estimate.low, estimate.high]
    report |= {
        "beta": beta,
        "unmatched": comparison.unmatched,
        "of_changed_frames": 0 if against else len(book.changed),
        "skipped": sum(label.verdict == "skipped" for label in labels),
        "classes": class_counts(labels),
        "recall_may_be_biased": against is None if patches else only_candidates(scores, unlabelled),
        "simulated": simulated,
        "audit": audit_report(session, book, threshold, WANTED_HALF_WIDTH),
        "ranked": None if against else ranked(labels, scores, threshold),
        "people": people(book),
    }
    if as_json:
        say_json(report)
    else:
        counted = "candidates and objects" if patches else "labelled frames"
        _say_report(report, estimates(confusion, beta), counted)


def estimates(confusion: Confusion, beta: float) -> dict[str, Estimate]:
    """What is printed, by name."""
    return {
        "accuracy": confusion.accuracy,
        "precision": confusion.precision,
        "recall": confusion.recall,
        "f1": confusion.f1,
        "f_beta": confusion.f_beta(beta),
        "iou": confusion.iou,
    }


def ranked(labels: list[Label], scores: dict[FrameKey, float | None], threshold: float) -> dict[str, Any]:
    """Agreement with labels that were not made in the audit: of lists with the best first, or from elsewhere."""
    from photon_triage.core.metrics import confusion_at
    from photon_triage.core.session.store.filters import AUDIT

    told = [label for label in labels if label.queue != AUDIT and label.verdict != "skipped"]
    found = confusion_at(scores, {label.key: label.verdict == "accepted" for label in told}, threshold).confusion
    precision = found.precision
    return {
        "n": found.n,
        "precision": precision.value,
        "precision_interval": [precision.low, precision.high],
    }


def people(book: LabelBook) -> list[dict[str, Any]]:
    """How far each two people agree on the frames that both accepted or rejected."""
    from photon_triage.core.audit.agreement import pairs

    return [
        {
            "first": pair.first,
            "second": pair.second,
            "n": pair.n,
            "disagreements": pair.disagreements,
            "kappa": pair.kappa,
            "kappa_interval": list(pair.interval),
        }
        for pair in pairs(book.opinions)
    ]


def class_counts(labels: list[Label]) -> dict[str, int]:
    """How many labels each class has, most first; labels without a class stand under their verdict."""
    return dict(Counter(label.category or label.verdict for label in labels).most_common())


def only_candidates(scores: dict[FrameKey, float | None], unlabelled: int) -> bool:
    """Tell whether nothing was labelled but frames with a score, while there are frames without a label.

    scores: of labelled frames.
    """
    return None not in scores.values() and unlabelled > 0


def _say_report(report: dict[str, Any], shown: dict[str, Estimate], counted: str) -> None:
    say(f"n = {report['n']} {counted}, threshold {report['threshold']:g}")
    say_table(
        [
            ("", "accepted", "rejected"),
            ("selected", str(report["tp"]), str(report["fp"])),
            ("not selected", str(report["fn"]), str(report["tn"])),
        ]
    )
    names = {"f1": "F1", "f_beta": f"F{report['beta']:g}", "iou": "IoU"}
    say_table(
        (
            names.get(name, name),
            "undefined" if estimate.value is None else f"{estimate.value:.3f}",
            f"95 % {estimate.low:.3f} to {estimate.high:.3f}",
        )
        for name, estimate in shown.items()
    )
    _say_audit(report["audit"])
    for pair in report["people"]:
        kappa = (
            "undefined"
            if pair["kappa"] is None
            else "{:.2f} (95 % {:.2f} to {:.2f})".format(pair["kappa"], *pair["kappa_interval"])
        )
        say(f"{pair['first']} and {pair['second']}: n = {pair['n']}, differ on {pair['disagreements']}, kappa {kappa}")
    say("classes: " + ", ".join(f"{name} {count}" for name, count in report["classes"].items()))
    if report["unmatched"]:
        say(f"{report['unmatched']} labels are of frames that were not read, and do not count.")
    if report["of_changed_frames"]:
        say(f"{report['of_changed_frames']} labels are of frames that have changed since, and do not count.")
    if report["recall_may_be_biased"]:
        say(BIASED)
    if report["simulated"]:
        say(SIMULATED)


def _say_audit(audit: dict[str, Any]) -> None:
    if not audit["n"]:
        return
    told = (
        f"{name} {audit[key]:.3f} ({audit[f'{key}_interval'][0]:.3f} to {audit[f'{key}_interval'][1]:.3f})"
        for name, key in (("hit rate", "hit_rate"), ("P", "precision"), ("R", "recall"), ("F1", "f1"))
        if audit[key] is not None
    )
    say(f"of all {audit['frames']:,}, by n = {audit['n']} drawn at random: {', '.join(told)}")
