"""Precision, recall and F1 against the labels: never without n and interval, recall never without its caveat."""

from __future__ import annotations

from textual.content import Content

from photon_triage.core.metrics import Estimate
from photon_triage.tui.snapshot import Measured, Snapshot
from photon_triage.tui.widgets.pane import Line, Pane

NO_AUDIT = "recall: no audit sample yet"


def bounds(estimate: Estimate) -> str:
    """An interval, without leading zeros."""
    return f"[{_short(estimate.low)},{_short(estimate.high)}]"


def with_interval(name: str, estimate: Estimate) -> str:
    """A number with its interval, or a dash where nothing defines it."""
    return f"{name} –" if estimate.value is None else f"{name} {estimate.value:.2f} {bounds(estimate)}"


def recall_line(measured: Measured) -> str:
    """What can be said of recall: from completely labelled files, or that there are none yet."""
    if measured.audit is None or measured.audit.recall.value is None:
        return NO_AUDIT
    return f"{with_interval('recall', measured.audit.recall)} audit n={measured.audit.n}"


def trial_text(snapshot: Snapshot) -> str:
    """What a threshold selects and how that agrees with the labels."""
    measured = snapshot.measured
    threshold = measured.threshold if measured else snapshot.saved_threshold
    told = f"threshold {threshold:.2f}: {snapshot.selected:,} selected"
    if measured is None or measured.labelled.n == 0:
        return f"{told} · no labels"
    return (
        f"{told} · {with_interval('P', measured.labelled.precision)} n={measured.labelled.n} · {recall_line(measured)}"
    )


class MetricsLine(Line):
    """The numbers in one line, for narrow terminals."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)

    def show(self, snapshot: Snapshot) -> None:
        """Take newer numbers."""
        measured = snapshot.measured
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

    help_text = "Agreement with the labels at the threshold, 95 % intervals. [ and ] move the threshold."

    def show(self, snapshot: Snapshot) -> None:
        """Take newer numbers."""
        measured, verdicts = snapshot.measured, snapshot.verdicts
        n = measured.labelled.n if measured else 0
        self.set_title(f"Labels  n={n}")
        self.set_subtitle("[ ] threshold")
        lines = []
        if measured is None or n == 0:
            lines += ["no labels yet: a accepts, x rejects", NO_AUDIT]
        else:
            labelled = measured.labelled
            lines += [
                f"{with_interval('P', labelled.precision)}  {with_interval('F1', labelled.f1)}",
                recall_line(measured) if measured.audit else f"{with_interval('R', labelled.recall)} of labelled only",
            ]
            if measured.audit is None:
                lines.append(NO_AUDIT)
        threshold = measured.threshold if measured else snapshot.saved_threshold
        lines.append(f"threshold {threshold:.2f} selects {snapshot.selected:,}")
        lines.append(
            f"accepted {verdicts.get('accepted', 0)}  rejected {verdicts.get('rejected', 0)}"
            f"  skipped {verdicts.get('skipped', 0)}"
        )
        conflicts = f"  disagree {len(snapshot.conflicts)}" if snapshot.conflicts else ""
        lines.append(f"flagged {len(snapshot.flagged)}  to do {snapshot.undecided:,}{conflicts}")
        self.put(Content("\n".join(lines)))


class CurvePane(Pane):
    """Precision, recall and F1 over thresholds, for wide terminals."""

    help_text = "Precision and recall over thresholds; ▶ is the threshold in use. Half widths of 95 % intervals."

    def show(self, snapshot: Snapshot) -> None:
        """Take newer numbers."""
        measured = snapshot.measured
        n = measured.labelled.n if measured else 0
        self.set_title(f"Precision / recall  n={n}")
        self.set_subtitle("[ ] move threshold")
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


def _half(estimate: Estimate) -> str:
    if estimate.value is None:
        return "   –      "
    return f"{estimate.value:.2f} ±{_short((estimate.high - estimate.low) / 2)}".ljust(10)


def _short(value: float) -> str:
    return f"{value:.2f}".removeprefix("0") if value < 0.995 else "1.0"
