"""The report as one HTML page that needs nothing else: no script, no network, light and dark."""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path, PurePath

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from photon_triage.core.common.text_safety import safe_text
from photon_triage.core.frames import FrameKey
from photon_triage.core.metrics import Confusion, Estimate
from photon_triage.core.report.report_content import ExportFacts, ModelFacts, Report

MOST_FILES = 50
"""Files that could not be read which are listed."""

Rows = Sequence[Sequence[str]]
"""Lines of a table."""


@dataclass(frozen=True, slots=True)
class ReportPicture:
    """A frame's picture as PNG, or why there is none."""

    png: bytes = b""
    problem: str = ""


def page(report: Report, figures: Mapping[str, str], pictures: Mapping[int, ReportPicture]) -> str:
    """The page. figures: SVG by name; pictures: of the frames on the contact sheets, by their id."""
    return (
        _environment()
        .get_template("page.html")
        .render(
            report=report,
            confusion=report.agreement.confusion,
            figures=figures,
            pictures=pictures,
            no_picture=ReportPicture(),
            runs=_runs(report),
            audit=_audit(report),
            scores=_scores(report.agreement.confusion),
            models=[_model(model) for model in report.models],
            exports=[_export(each) for each in report.exports],
            given_up=_given_up(report),
            notes=_notes(report),
            most_files=MOST_FILES,
            version=version("photon-triage"),
        )
    )


def _environment() -> Environment:
    """The templates of this folder: every value that is no HTML yet is made safe to show, then escaped."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: value if hasattr(value, "__html__") else safe_text(str(value)),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "base64": lambda data: base64.b64encode(data).decode("ascii"),
        "clock": _clock,
        "frame_name": _frame_name,
        "interval": _interval,
        "listing": lambda counts: ", ".join(f"{name} {count:,}" for name, count in counts.items()),
        "value": _value,
    }
    return environment


def _runs(report: Report) -> Rows:
    return [
        (
            str(number),
            run.name or "-",
            f"{run.frames:,}",
            f"{run.hits:,}",
            _value(run.rate, "%"),
            _interval(run.rate, "%"),
            f"{run.accepted:,}",
        )
        for number, run in enumerate(report.runs, 1)
    ]


def _audit(report: Report) -> Rows:
    audit = report.audit
    if audit is None:
        return []
    names = {"hit rate": audit.hit_rate, "precision": audit.precision, "recall": audit.recall, "F1": audit.f1}
    return _estimates(names, f"{audit.n:,}")


def _scores(confusion: Confusion) -> Rows:
    names = {
        "accuracy": confusion.accuracy,
        "precision": confusion.precision,
        "recall": confusion.recall,
        "F1": confusion.f1,
        "IoU": confusion.iou,
    }
    return _estimates(names, str(confusion.n))


def _estimates(estimates: Mapping[str, Estimate], n: str) -> Rows:
    return [(name, _value(estimate), _interval(estimate), n) for name, estimate in estimates.items()]


def _model(model: ModelFacts) -> Sequence[str]:
    scores = "; ".join(f"{name} {_value(e)} {_interval(e)}" for name, e in model.scores.items())
    count = "" if model.evaluated is None else f" (n = {model.evaluated:,})"
    evaluated = f"{count} on {model.evaluated_on}" if scores else ""
    made = ", ".join(part for part in (model.created, f"from {model.parent}" if model.parent else "") if part)
    trained = ", ".join(part for part in (model.trained_on, "simulated" if model.simulated else "") if part)
    name = model.name + (" (in use)" if model.in_use else "")
    return name, model.origin, f"{model.frames:,}", made, trained, scores + evaluated


def _export(export: ExportFacts) -> Sequence[str]:
    complete = {True: "all frames were read", False: "frames were still unread", None: ""}[export.complete]
    threshold = "" if export.threshold is None else f"{export.threshold:.2f}"
    written = "" if export.written is None else f"{export.written:,}"
    return export.time, export.name, export.format, export.select, threshold, written, complete


def _given_up(report: Report) -> Rows:
    return [(row.path, row.status, row.reason, f"{max(row.frames - row.done, 0):,}") for row in report.given_up]


def _notes(report: Report) -> Rows:
    return [
        (group.text, f"{len(group.files):,}" if group.files else "", (*group.files, "")[0]) for group in report.notes
    ]


def _frame_name(key: FrameKey) -> str:
    name = f"{PurePath(key.file).name} #{key.index}"
    return name + (" at {}, {}".format(*key.point) if key.point else "")


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
