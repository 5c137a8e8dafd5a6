"""The figures of a report as SVG, in the colours of the page that they stand on."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from PIL import Image, ImageDraw

from photon_triage.core.frames import Box
from photon_triage.core.metrics import Curve, wilson
from photon_triage.core.report.report_content import Report, ReportRun, Sizes
from photon_triage.core.session.store.contrast import CLIPS, reduced
from photon_triage.core.session.store.preview import Preview
from photon_triage.core.session.store.reader import HISTORY_BIN_S

SIDE = 240
"""Pixels of the longer side at most."""
WHITE = CLIPS.index(99.5)
GREYS = 252
INVALID, EDGE = 252, 253
"""Places in the palette behind the greys."""
PALETTE = [*(round(255 * level / (GREYS - 1)) for level in range(GREYS) for _ in range(3)), 40, 40, 70, 60, 255, 90]
LEAST_BOX = 6.0
INK, FIRST, SECOND, THIRD = "#010203", "#020301", "#030102", "#030201"
"""Stand-ins for colours that the page's style sheet gives, so that figures follow its light and dark."""
_COLOURS = {INK: "currentColor", FIRST: "var(--first)", SECOND: "var(--second)", THIRD: "var(--third)"}
_STYLE: Any = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9.0,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "axes.grid": True,
    "grid.color": INK,
    "grid.alpha": 0.12,
}
_PROLOGUE = re.compile(r"<\?xml.*?\?>|<!DOCTYPE.*?>|<metadata>.*?</metadata>", re.DOTALL)
MOST_BINS, MOST_POINTS, MOST_RUNS, SIZE_BINS = 300, 300, 60, 60
WIDTH, HEIGHT = 7.2, 2.9
"""Inches, of which the page makes what fits."""


def thumbnail(preview: Preview, boxes: Sequence[Box] = (), *, log: bool, peaks: bool) -> bytes:
    """A PNG of the frame, shape kept, boxes in pixels of the whole frame drawn on it.

    log: of counts, which span decades. peaks: keep the brightest of pixels that fall together, for Bragg spots; their
    mean otherwise.
    """
    rows, columns = preview.pixels.shape
    small = reduced(preview, min(SIDE, columns), min(SIDE, rows), peaks=peaks)
    shades = (small.shades(WHITE, log=log) * (GREYS - 1) + 0.5).astype(np.uint8)
    shades[~small.valid] = INVALID
    picture = Image.fromarray(shades)
    picture.putpalette(PALETTE)
    draw = ImageDraw.Draw(picture)
    down, across = shades.shape[0] / rows, shades.shape[1] / columns
    for box in boxes:
        left, top = (box.x - preview.left) * across, (box.y - preview.top) * down
        right = max(left + box.width * across, left + LEAST_BOX)
        draw.rectangle((left, top, right, max(top + box.height * down, top + LEAST_BOX)), outline=EDGE)
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return file.getvalue()


def figures(report: Report) -> dict[str, str]:
    """The figures that there are data for, by name: "time", "runs", "curve", "sizes"; each an <svg> element."""
    made: dict[str, str] = {}
    with matplotlib.rc_context(_STYLE):
        if report.history:
            made["time"] = _svg("time", _over_time(report.history))
        if len(report.runs) > 1:
            made["runs"] = _svg("runs", _by_run(report.runs))
        if len(report.curve) and report.curve.positives:
            made["curve"] = _svg("curve", _curves(report.curve, report.threshold))
        if report.sizes is not None and len(report.sizes.values):
            made["sizes"] = _svg("sizes", _histogram(report.sizes, report.threshold))
    return made


def _over_time(history: Sequence[tuple[float, int, int]]) -> Figure:
    """Hit rate of equal spans of time, with 95 % Wilson intervals; nothing where no frame came."""
    begin, end = history[0][0], history[-1][0] + HISTORY_BIN_S
    bins = min(max(int((end - begin) // HISTORY_BIN_S), 1), MOST_BINS)
    frames, hits = np.zeros(bins, np.int64), np.zeros(bins, np.int64)
    for start, count, hit in history:
        place = min(int((start - begin) / (end - begin) * bins), bins - 1)
        frames[place] += count
        hits[place] += hit
    unit, name = (3600.0, "h") if end - begin > 7200 else (60.0, "min")
    times = (np.arange(bins) + 0.5) * (end - begin) / bins / unit
    seen = frames > 0
    bounds = [wilson(int(h), int(f)) for h, f in zip(hits[seen], frames[seen], strict=True)]
    figure, axes = _axes("since the first frame / " + name, "hit rate")
    rate = np.where(seen, hits / np.maximum(frames, 1), np.nan)
    low, high = np.full(bins, np.nan), np.full(bins, np.nan)
    low[seen], high[seen] = [b.low for b in bounds], [b.high for b in bounds]
    axes.fill_between(times, low, high, color=FIRST, alpha=0.25, linewidth=0, label="95 %")
    axes.plot(times, rate, color=FIRST, linewidth=1.4, marker="." if bins < 60 else "", label="hit rate")
    _as_share(axes, float(np.nanmax(high)))
    _legend(axes)
    return figure


def _by_run(runs: Sequence[ReportRun]) -> Figure:
    shown = runs[-MOST_RUNS:]
    places = np.arange(len(shown))
    rates = np.array([run.rate.value or 0.0 for run in shown])
    ends = np.array([[run.rate.low, run.rate.high] for run in shown]).T
    figure, axes = _axes("run", "hit rate")
    axes.bar(places, rates, color=FIRST, alpha=0.7)
    axes.errorbar(places, rates, np.abs(ends - rates), fmt="none", ecolor=INK, elinewidth=1, capsize=2)
    every = max(len(shown) // 20, 1)
    axes.set_xticks(places[::every], [str(place + 1 + len(runs) - len(shown)) for place in places[::every]])
    axes.set_xlabel("run, as numbered in the table")
    _as_share(axes, float(ends[1].max()))
    return figure


def _curves(curve: Curve, threshold: float) -> Figure:
    """Precision, recall and F1 over the threshold, with 95 % Wilson intervals, of the labelled frames."""
    places = np.unique(np.linspace(0, len(curve) - 1, min(len(curve), MOST_POINTS)).round().astype(int))
    confusions = [curve.confusion(int(place)) for place in places]
    figure, axes = _axes("threshold on the score", "")
    for name, colour in (("precision", FIRST), ("recall", SECOND), ("f1", THIRD)):
        estimates = [getattr(confusion, name) for confusion in confusions]
        at = curve.thresholds[places]
        axes.fill_between(
            at, [e.low for e in estimates], [e.high for e in estimates], color=colour, alpha=0.2, linewidth=0
        )
        values = [np.nan if e.value is None else e.value for e in estimates]
        axes.plot(at, values, color=colour, linewidth=1.4, label={"f1": "F1"}.get(name, name))
    axes.axvline(threshold, color=INK, linewidth=1, linestyle=":", label="threshold")
    axes.set_ylim(0, 1.02)
    _legend(axes)
    return figure


def _histogram(sizes: Sizes, threshold: float) -> Figure:
    """What was measured of all hits, and of those that the threshold selects."""
    values, chosen = sizes.values, sizes.values[sizes.scores >= threshold]
    top = float(np.percentile(values, 99.5))
    span = (float(values.min()), top if top > values.min() else float(values.min()) + 1)
    edges = np.linspace(*span, min(SIZE_BINS, max(int(np.sqrt(len(values))) * 2, 10)) + 1)
    figure, axes = _axes(sizes.title, "hits")
    axes.hist(np.clip(values, *span), bins=list(edges), color=FIRST, alpha=0.5, label=f"hits ({len(values):,})")
    if len(chosen):
        label = f"selected ({len(chosen):,})"
        axes.hist(np.clip(chosen, *span), bins=list(edges), color=SECOND, alpha=0.9, label=label)
    for edge in sizes.window or ():
        axes.axvline(edge, color=INK, linewidth=1, linestyle=":")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    _legend(axes)
    return figure


def _axes(below: str, beside: str) -> tuple[Figure, Any]:
    figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(below)
    axes.set_ylabel(beside)
    return figure, axes


def _legend(axes: Any) -> None:
    """Above the axes, where it hides nothing."""
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=4, borderaxespad=0.2)


def _as_share(axes: Any, top: float) -> None:
    axes.set_ylim(0, min(max(top * 1.1, 0.01), 1.02))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None if top > 0.05 else 1))


def _svg(name: str, figure: Figure) -> str:
    file = io.StringIO()
    # Ids that many figures on one page do not share.
    with matplotlib.rc_context({"svg.hashsalt": f"photon-triage {name}", "svg.id": f"figure-{name}"}):
        figure.savefig(file, format="svg", transparent=True)
    text = _PROLOGUE.sub("", file.getvalue())
    for stand_in, colour in _COLOURS.items():
        text = text.replace(stand_in, colour)
    return text.strip()
