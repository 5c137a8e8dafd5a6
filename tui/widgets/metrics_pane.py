"""Precision, recall and F1: from the audit where there is one, else against labels; never without n and interval."""

from __future__ import annotations

from textual.content import Content

from photon_triage.core.audit.estimate import Estimates
from photon_triage.core.metrics import Estimate
from photon_triage.tui.snapshot.comparison_view import WANTED_HALF_WIDTH
from photon_triage.tui.snapshot.measured_rates import Measured
from photon_triage.tui.snapshot.snapshot import Snapshot
from photon_triage.tui.widgets.pane import Line, Pane, bars

NO_AUDIT = "recall: no audit sample yet"
CURVE_WIDTH, CURVE_HEIGHT = 44, 6


def bounds(estimate: Estimate) -> str:
    """An interval, without leading zeros."""
    return f"[{_short(estimate.low)},{_short(estimate.high)}]"


def with_interval(name: str, estimate: Estimate) -> str:
    """A number with its interval, or a dash where nothing defines it."""
    return f"{name} –" if estimate.value is None else f"{name} {estimate.value:.2f} {bounds(estimate)}"


def percent(estimate: Estimate) -> str:
    """A share in percent with its interval."""
    if estimate.value is None:
        return "–"
    return f"{100 * estimate.value:.1f} % [{100 * estimate.low:.1f},{100 * estimate.high:.1f}]"


def estimates_at(snapshot: Snapshot) -> Estimates | None:
    """What the audit tells at the threshold on the screen."""
    threshold = snapshot.measured.threshold if snapshot.measured else snapshot.saved_threshold
    return snapshot.audit.at(threshold)


def recall_line(measured: Measured) -> str:
    """What can be said of recall without a random sample: from completely labelled files, or that there are none."""
    if measured.audit is None or measured.audit.recall.value is None:
        return NO_AUDIT
    return f"{with_interval('recall', measured.audit.recall)} audit n={measured.audit.n}"


def trial_text(snapshot: Snapshot) -> str:
    """What a threshold that is tried would select, and how well, as far as that is known."""
    measured = snapshot.measured
    threshold = measured.threshold if measured else snapshot.saved_threshold
    whole = snapshot.counts.candidates or snapshot.counts.frames
    share = f" ({100 * snapshot.selected / whole:.1f} %)" if whole else ""
    told = f"trying {threshold:.2f}: list {snapshot.selected:,}{share}"
    if at := estimates_at(snapshot):
        return f"{told} {with_interval('P', at.precision)} {with_interval('R', at.recall)} n={at.n}"
    if measured is None or measured.labelled.n == 0:
        return f"{told} · no labels"
    recall = recall_line(measured)
    return f"{told} {with_interval('P', measured.labelled.precision)} n={measured.labelled.n} {recall}"


class MetricsLine(Line):
    """The numbers in one line, for narrow terminals."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)

    def show(self, snapshot: Snapshot) -> None:
        """Take newer numbers."""
        measured = snapshot.measured
        if at := estimates_at(snapshot):
            numbers = "  ".join(
                with_interval(name, each) for name, each in (("P", at.precision), ("R", at.recall), ("F1", at.f1))
            )
            self.put(Content(f"{numbers}  audit n={at.n}  list {snapshot.selected:,}"))
            return
        if measured is None or measured.labelled.n == 0:
            self.put(Content(f"no labels yet (n=0) · {NO_AUDIT} · list {snapshot.selected:,}"))
            return
        labelled = measured.labelled
        audit = measured.audit
        recall = NO_AUDIT if audit is None else f"{with_interval('R', audit.recall)} audit n={audit.n}"
        f1 = with_interval("F1", (audit or labelled).f1)
        numbers = f"{with_interval('P', labelled.precision)}  {f1}  n={labelled.n}  {recall}"
        self.put(Content(f"{numbers}  list {snapshot.selected:,}"))


class MetricsPane(Pane):
    """The numbers with the state of the labelling."""

    help_text = (
        "What a threshold selects, and how well, with 95 % intervals. With an audit (s, then audit; d draws) the "
        "numbers are of all frames, estimated from those drawn at random. Labels from ranked queues are counted apart: "
        "they make recall look better than it is. [ and ] try another threshold, enter keeps it."
    )

    def show(self, snapshot: Snapshot) -> None:
        """Take newer numbers."""
        at = estimates_at(snapshot)
        lines = self._labelled(snapshot) if at is None else self._audited(snapshot, at)
        self.set_subtitle("[ ] threshold")
        verdicts = snapshot.verdicts
        lines.append(
            f"accepted {verdicts.get('accepted', 0)}  rejected {verdicts.get('rejected', 0)}"
            f"  skipped {verdicts.get('skipped', 0)}"
        )
        conflicts = f"  disagree {len(snapshot.conflicts)}" if snapshot.conflicts else ""
        changed = f"  changed {snapshot.lapsed}" if snapshot.lapsed else ""
        told = f"flagged {len(snapshot.flagged)}  to do {snapshot.undecided:,}{changed}{conflicts}{_kappa(snapshot)}"
        lines.append(told)
        self.put(Content("\n".join(lines)))

    def _audited(self, snapshot: Snapshot, at: Estimates) -> list[str]:
        audit, measured = snapshot.audit, snapshot.measured
        title = f"Audit  n={at.n} of {at.frames:,}"
        title += f"  {audit.waiting} to do" if audit.waiting else "  of former scores" if audit.rescored else ""
        self.set_title(title)
        ranked = measured.labelled if measured else None
        apart = f" · ranked n={ranked.n}" if ranked and ranked.n else ""
        needed = "" if not snapshot.needed else f"P and R ±{_short(WANTED_HALF_WIDTH)}: label {snapshot.needed:,} more"
        return [
            f"{with_interval('P', at.precision)}  {with_interval('R', at.recall)}",
            f"{with_interval('F1', at.f1)}  hits {percent(at.hit_rate)}",
            f"threshold {at.threshold:.2f} selects {snapshot.selected:,}{apart}",
            needed or f"{at.n} frames drawn at random tell this",
        ]

    def _labelled(self, snapshot: Snapshot) -> list[str]:
        measured = snapshot.measured
        n = measured.labelled.n if measured else 0
        self.set_title(f"Labels  n={n}")
        if measured is None or n == 0:
            lines = ["no labels yet: a accepts, x rejects", NO_AUDIT]
        else:
            labelled = measured.labelled
            lines = [
                f"{with_interval('P', labelled.precision)}  {with_interval('F1', labelled.f1)}",
                recall_line(measured) if measured.audit else f"{with_interval('R', labelled.recall)} of labelled only",
            ]
            if measured.audit is None:
                waiting = snapshot.audit.waiting
                lines.append(f"{NO_AUDIT}, {waiting} drawn" if waiting else NO_AUDIT)
        threshold = measured.threshold if measured else snapshot.saved_threshold
        return [*lines, f"threshold {threshold:.2f} selects {snapshot.selected:,}"]


class CurvePane(Pane):
    """Precision over recall, and precision, recall and F1 over thresholds, for wide terminals."""

    help_text = (
        "Precision (height, 0 to 1) over recall (0 to 1, left to right), and both over thresholds with half widths of "
        "95 % intervals; ▶ is the threshold in use or being tried. [ and ] try another one, enter keeps it."
    )

    def show(self, snapshot: Snapshot) -> None:
        """Take newer numbers."""
        self.set_subtitle("[ ] try a threshold")
        at = estimates_at(snapshot)
        if at is None:
            self._labelled(snapshot)
            return
        self.set_title(f"Precision / recall  audit n={at.n}")
        curve = list(snapshot.audit.curve.values())
        lines = [Content(line) for line in precision_over_recall(curve)]
        lines.append(Content.styled(" thr     list  P          R          F1", "bold"))
        for row in sorted({at.threshold, *(each.threshold for each in snapshot.table)}):
            if each := snapshot.audit.at(row):
                here = each is at
                text = (
                    f"{'▶' if here else ' '}{row:.2f} {each.selected:8,.0f}  {_half(each.precision)} "
                    f"{_half(each.recall)} {_half(each.f1)}"
                )
                lines.append(Content.styled(text, "bold") if here else Content(text))
        self.put(Content("\n").join(lines))

    def _labelled(self, snapshot: Snapshot) -> None:
        measured = snapshot.measured
        n = measured.labelled.n if measured else 0
        self.set_title(f"Precision / recall  n={n}")
        lines = [Content.styled(" thr   P           R           F1", "bold")]
        for row in snapshot.table if n else ():
            here = measured is not None and abs(row.threshold - measured.threshold) < 1e-9
            counted = row.audit or row.labelled
            text = (
                f"{'▶' if here else ' '}{row.threshold:.2f}  {_half(row.labelled.precision)}  "
                f"{_half(counted.recall)}  {_half(counted.f1)}"
            )
            lines.append(Content.styled(text, "bold") if here else Content(text))
        if n == 0:
            lines.append(Content(" no labels yet"))
        audited = measured.audit if measured else None
        lines.append(Content(f" {NO_AUDIT}" if audited is None else f" recall, F1: audit n={audited.n}"))
        self.put(Content("\n").join(lines))


def precision_over_recall(curve: list[Estimates]) -> list[str]:
    """The curve as bars: at each recall, the precision of the highest threshold that reaches it."""
    heights = []
    points = [(e.recall.value, e.precision.value) for e in curve if e.recall.value is not None]
    for column in range(CURVE_WIDTH):
        reached = [p for r, p in points if p is not None and r >= column / (CURVE_WIDTH - 1) - 1e-9]
        heights.append(reached[-1] if reached else 0.0)
    rows = bars(heights, CURVE_HEIGHT, 1.0)
    labels = ["1.0┤", *["   │"] * (CURVE_HEIGHT - 2), "0.0┤"]
    axis = "    0.0" + "recall".center(CURVE_WIDTH - 6) + "1.0"
    return [*(label + row for label, row in zip(labels, rows, strict=True)), axis]


def _kappa(snapshot: Snapshot) -> str:
    pair = next(iter(snapshot.audit.pairs), None)
    return "" if pair is None or pair.kappa is None else f"  κ {pair.kappa:.2f} n={pair.n}"


def _half(estimate: Estimate) -> str:
    if estimate.value is None:
        return "   –      "
    return f"{estimate.value:.2f} ±{_short((estimate.high - estimate.low) / 2)}".ljust(10)


def _short(value: float) -> str:
    return f"{value:.2f}".removeprefix("0") if value < 0.995 else "1.0"
