"""The report as one HTML page that needs nothing else: no script, no network, light and dark."""

from __future__ import annotations

import base64
import html
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import PurePath

from photon_triage.core.audit.estimate import Estimates
from photon_triage.core.metrics import Estimate
from photon_triage.core.report.report_content import ModelFacts, Report, SheetFrame
from photon_triage.tui.terminal.text import safe_text

SIMULATED = "SIMULATED DATA: these numbers are of a simulation, not of an experiment."
RANKED = (
    "The labels are of ranked frames only. What never got a score, or was never looked at, does not count as missed: "
    "recall may be lower than it says here, and with it F1. `photon-triage audit` tells it of all frames."
)
INTERVALS = (
    "Intervals are 95 % Wilson score intervals; they say how far chance alone may carry a number of this many frames."
)
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
MOST_FILES = 50
"""Files that could not be read which are listed."""

STYLE = """
:root { color-scheme: light dark; --paper: #fcfcfb; --ink: #22262b; --dim: #667; --line: #d8d8d4; --card: #f2f2ef;
  --first: #0072b2; --second: #c8641b; --third: #0a7d5c; --warn: #ffe9c9; }
@media (prefers-color-scheme: dark) { :root { --paper: #15171a; --ink: #d6d3cc; --dim: #95928b; --line: #33373c;
  --card: #1d2024; --first: #5fb0e6; --second: #e69f4a; --third: #4fc3a0; --warn: #4a3510; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 1.5rem; background: var(--paper); color: var(--ink);
  font: 15px/1.45 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0; overflow-wrap: anywhere; } h2 { font-size: 1.1rem; margin: 2.2rem 0 .5rem; }
p, .note { color: var(--dim); margin: .3rem 0; max-width: 60rem; } .banner { background: var(--warn); color: var(--ink);
  padding: .5rem .8rem; border-radius: .3rem; font-weight: 600; margin: .8rem 0; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(10rem, 1fr)); gap: .6rem; margin: 1rem 0; }
.tile { background: var(--card); border-radius: .3rem; padding: .6rem .8rem; } .tile b { display: block;
  font-size: 1.35rem; font-variant-numeric: tabular-nums; } .tile span { color: var(--dim); font-size: .85rem; }
figure { margin: .5rem 0; } figure > svg { width: 100%; height: auto; max-width: 56rem; color: var(--ink); }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; } .wide { overflow-x: auto; }
th, td { text-align: left; padding: .25rem .9rem .25rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--dim); font-weight: 500; } td.n, th.n { text-align: right; } td { overflow-wrap: anywhere; }
.sheet { display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: .8rem; }
.sheet figure { margin: 0; background: var(--card); border-radius: .3rem; padding: .4rem; }
.sheet img { width: 100%; display: block; border-radius: .2rem; background: #000; }
.sheet .gone { padding: 2rem .5rem; text-align: center; color: var(--dim); font-size: .8rem; overflow-wrap: anywhere; }
figcaption { font-size: .8rem; color: var(--dim); overflow-wrap: anywhere; } figcaption b { color: var(--ink); }
footer { margin-top: 2.5rem; }
@media print { body { max-width: none; } .sheet figure, .tile { break-inside: avoid; } }
"""


@dataclass(frozen=True, slots=True)
class ReportPicture:
    """A frame's picture as PNG, or why there is none."""

    png: bytes = b""
    problem: str = ""


def page(report: Report, figures: Mapping[str, str], pictures: Mapping[int, ReportPicture]) -> str:
    """The page. figures: SVG by name; pictures: of the frames on the contact sheets, by their id."""
    name = _text(report.session.path.name)
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        # Nothing on the page can load or run anything, whatever a file's name was made to look like.
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        f"<title>{name} · photon-triage</title><style>{STYLE}</style></head><body>",
        f"<h1>{name}</h1>",
        f"<p>{_about(report)}</p>",
        f'<div class="banner">{SIMULATED}</div>' if report.counts.simulated else "",
        _tiles(report),
        _section(
            "Hit rate", _figure(figures, "time", "Hit rate over time, with its 95 % interval"), _runs(report, figures)
        ),
        _section("Of all frames", *_audit(report.audit)) if report.audit else "",
        _section("Against the labels", *_agreement(report, figures)),
        _section(*_sizes(report, figures)) if report.sizes else "",
        _section(
            "Accepted",
            _note(_of("accepted", len(report.accepted), report.verdicts.get("accepted", 0))),
            _sheet(report.accepted, pictures),
        ),
        _section(
            "Doubtful",
            _note(
                "Where people differ, what was flagged, labels that go against the score, and undecided ones nearest "
                f"to the threshold of {report.threshold:.2f}."
            ),
            _sheet(report.doubtful, pictures),
        ),
        _section("Models", _models(report.models)),
        _section("Exports", _exports(report)),
        _section("Files that were not read in full", _given_up(report)) if report.given_up else "",
        _section("Notes on files", _notes(report)) if report.notes else "",
        "<footer>" + _note("photon-triage " + version("photon-triage") + ". " + INTERVALS) + "</footer></body></html>",
    ]
    return "\n".join(part for part in parts if part) + "\n"


def _about(report: Report) -> str:
    recipe = report.recipe
    title = f" ({recipe.title})" if recipe.title else ""
    begun = f"Frames since {_clock(report.begun)}. " if report.begun else ""
    return _text(f"{begun}Report of {_clock(report.made)}. Recipe {recipe.name}{title}. Session {report.session.path}")


def _tiles(report: Report) -> str:
    counts, confusion = report.counts, report.agreement.confusion
    share = f"{counts.hits / counts.frames:.2%} of the frames" if counts.frames else ""
    given_up = (
        f"{counts.dropped:,} could not be read, {counts.pending:,} not yet"
        if counts.dropped + counts.pending
        else "all"
    )
    tiles = [
        (
            f"{counts.frames:,}",
            f"frames read of {counts.files:,} files; {given_up} done" if given_up == "all" else given_up,
        ),
        (f"{counts.hits:,}", f"hits, {share}"),
        (f"{report.selected:,}", f"{report.recipe.unit} selected at threshold {report.threshold:.2f}"),
        (f"{report.verdicts.get('accepted', 0):,}", f"accepted, {report.verdicts.get('rejected', 0):,} rejected"),
    ]
    if confusion.n:
        for name, estimate in (("precision", confusion.precision), ("recall", confusion.recall), ("F1", confusion.f1)):
            tiles.append((_value(estimate), f"{name}, {_interval(estimate)}, n = {confusion.n:,}"))
    return (
        '<div class="tiles">'
        + "".join(f'<div class="tile"><b>{_text(b)}</b><span>{_text(s)}</span></div>' for b, s in tiles)
        + "</div>"
    )


def _runs(report: Report, figures: Mapping[str, str]) -> str:
    rows = [
        (
            str(place),
            run.name or "-",
            f"{run.frames:,}",
            f"{run.hits:,}",
            _value(run.rate, "%"),
            _interval(run.rate, "%"),
            f"{run.accepted:,}",
        )
        for place, run in enumerate(report.runs, 1)
    ]
    heads = ("", "run", "#frames", "#hits", "#hit rate", "95 %", "#accepted")
    return _figure(figures, "runs", "Hit rate of each run, with its 95 % interval") + _table(heads, rows)


def _audit(audit: Estimates) -> list[str]:
    rows = [
        (name, _value(estimate), _interval(estimate), f"{audit.n:,}")
        for name, estimate in (
            ("hit rate", audit.hit_rate),
            ("precision", audit.precision),
            ("recall", audit.recall),
            ("F1", audit.f1),
        )
    ]
    told = f"Estimated for all {audit.frames:,} frames from {audit.n:,} that were drawn at random and labelled"
    return [_table(("", "#value", "95 %", "#n"), rows), _note(f"{told}, at threshold {audit.threshold:.2f}.")]


def _agreement(report: Report, figures: Mapping[str, str]) -> list[str]:
    confusion, n = report.agreement.confusion, report.agreement.confusion.n
    if not n:
        return [_note("Nothing is labelled yet, so nothing can be said of precision and recall (n = 0).")]
    rows = [
        (name, _value(estimate), _interval(estimate), str(n))
        for name, estimate in (
            ("accuracy", confusion.accuracy),
            ("precision", confusion.precision),
            ("recall", confusion.recall),
            ("F1", confusion.f1),
            ("IoU", confusion.iou),
        )
    ]
    said = ", ".join(f"{name} {count:,}" for name, count in report.classes.items())
    people = ", ".join(f"{name} {count:,}" for name, count in report.people.items())
    counted = f"{confusion.tp:,} selected and accepted, {confusion.fp:,} selected and rejected"
    missed = f"{confusion.fn:,} accepted but not selected, {confusion.tn:,} neither"
    lines = [f"At threshold {report.threshold:.2f}: {counted}, {missed}."]
    lines.append(f"Labels by {people}." + (f" Classes: {said}." if said else ""))
    if report.conflicts:
        lines.append(f"People differ on {report.conflicts:,}.")
    if report.changed:
        lines.append(f"{report.changed:,} labels are of frames that have changed since, and do not count.")
    if report.agreement.unmatched:
        lines.append(f"{report.agreement.unmatched:,} labels are of frames that were not read, and do not count.")
    if report.recall_is_biased:
        lines.append(RANKED)
    curve = _figure(figures, "curve", f"Over the threshold, with 95 % intervals, of n = {n:,} labelled")
    return [_table(("", "#value", "95 %", "#n"), rows), *(_note(line) for line in lines), curve]


def _sizes(report: Report, figures: Mapping[str, str]) -> list[str]:
    assert report.sizes is not None
    window = report.sizes.window
    told = f"; dotted lines: the window from {window[0]:g} to {window[1]:g}" if window else ""
    if "sizes" not in figures:
        return ["Sizes", _note("No hit was measured yet.")]
    return [
        "Sizes",
        _figure(figures, "sizes", f"{report.sizes.title} of the hits, and of what the threshold selects{told}"),
    ]


def _sheet(shown: Sequence[SheetFrame], pictures: Mapping[int, ReportPicture]) -> str:
    if not shown:
        return _note("None.")
    return (
        '<div class="sheet">'
        + "".join(_frame(each, pictures.get(each.row.id, ReportPicture())) for each in shown)
        + "</div>"
    )


def _frame(shown: SheetFrame, picture: ReportPicture) -> str:
    row = shown.row
    place = f"{PurePath(row.key.file).name} #{row.key.index}" + (
        " at {}, {}".format(*row.key.point) if row.key.point else ""
    )
    score = "no score" if row.score is None else f"score {row.score:.3f}"
    said = ", ".join(part for part in (shown.verdict, shown.why) if part)
    if picture.png:
        data = base64.b64encode(picture.png).decode("ascii")
        drawn = f'<img alt="{_text(place)}" src="data:image/png;base64,{data}">'
    else:
        drawn = f'<div class="gone">{_text(picture.problem or "no picture")}</div>'
    caption = f"<b>{score}</b> · {_text(said)}<br>{_text(place)}"
    return f"<figure>{drawn}<figcaption>{caption}</figcaption></figure>"


def _models(models: Sequence[ModelFacts]) -> str:
    rows = []
    for model in models:
        scores = "; ".join(f"{name} {_value(e)} {_interval(e)}" for name, e in model.scores.items())
        count = "" if model.evaluated is None else f" (n = {model.evaluated:,})"
        evaluated = f"{count} on {model.evaluated_on}" if scores else ""
        note = ", simulated" if model.simulated else ""
        made = ", ".join(part for part in (model.created, f"from {model.parent}" if model.parent else "") if part)
        trained = f"{model.trained_on}{note}" if model.trained_on else note.removeprefix(", ")
        name = model.name + (" (in use)" if model.in_use else "")
        rows.append((name, model.origin, f"{model.frames:,}", made, trained, scores + evaluated))
    return _table(
        ("model", "origin", "#frames scored", "made", "trained on", "scores, and what they were measured on"), rows
    )


def _exports(report: Report) -> str:
    rows = []
    for each in report.exports:
        whole = {True: "all frames were read", False: "frames were still unread", None: ""}[each.complete]
        at = "" if each.threshold is None else f"{each.threshold:.2f}"
        rows.append(
            (
                each.time,
                each.name,
                each.format,
                each.select,
                at,
                "" if each.written is None else f"{each.written:,}",
                whole,
            )
        )
    return _table(("time", "list", "format", "of", "#threshold", "#written", ""), rows)


def _given_up(report: Report) -> str:
    rows = [
        (row.path, row.status, row.reason, f"{max(row.frames - row.done, 0):,}") for row in report.given_up[:MOST_FILES]
    ]
    more = len(report.given_up) - len(rows)
    return _table(("file", "state", "why", "#frames lost"), rows) + (_note(f"and {more:,} more") if more else "")


def _notes(report: Report) -> str:
    shown = report.notes[:MOST_FILES]
    rows = [(group.text, f"{len(group.files):,}" if group.files else "", (*group.files, "")[0]) for group in shown]
    more = len(report.notes) - len(shown)
    return _table(("note", "#files", "first"), rows) + (_note(f"and {more:,} more") if more else "")


def _section(title: str, *parts: str) -> str:
    return f"<section><h2>{_text(title)}</h2>\n" + "\n".join(part for part in parts if part) + "</section>"


def _figure(figures: Mapping[str, str], name: str, caption: str) -> str:
    if name not in figures:
        return ""
    return f"<figure>{figures[name]}<figcaption>{_text(caption)}</figcaption></figure>"


def _table(heads: Iterable[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; the columns whose head begins with # hold numbers."""
    if not rows:
        return _note("None.")
    numeric = [head.startswith("#") for head in heads]
    mark = {True: ' class="n"', False: ""}
    head = "".join(f"<th{mark[n]}>{_text(text.removeprefix('#'))}</th>" for text, n in zip(heads, numeric, strict=True))
    body = "".join(
        "<tr>" + "".join(f"<td{mark[n]}>{_text(text)}</td>" for text, n in zip(row, numeric, strict=True)) + "</tr>"
        for row in rows
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _note(text: str) -> str:
    return f'<p class="note">{_text(text)}</p>'


def _of(what: str, shown: int, every: int) -> str:
    return (
        f"All {every:,} {what}."
        if shown == every
        else f"{shown:,} of {every:,} {what}, drawn at random, best score first."
    )


def _value(estimate: Estimate, unit: str = "") -> str:
    if estimate.value is None:
        return "undefined"
    return f"{100 * estimate.value:.2f} %" if unit else f"{estimate.value:.3f}"


def _interval(estimate: Estimate, unit: str = "") -> str:
    if unit:
        return f"{100 * estimate.low:.2f} to {100 * estimate.high:.2f} %"
    return f"{estimate.low:.3f} to {estimate.high:.3f}"


def _clock(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M %Z", time.localtime(moment))


def _text(text: str) -> str:
    return html.escape(safe_text(text))
