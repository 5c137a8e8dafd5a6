"""Two models side by side on the labels: figures with intervals, the paired test, what changed sides, the verdict."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content

from photon_triage.core.session.models.promotion_rule import Figures, FlippedFrame, Verdict
from photon_triage.tui.terminal.text import cells, cut, safe_text
from photon_triage.tui.widgets.metrics_pane import with_interval
from photon_triage.tui.widgets.pane import Pane

LONGEST_NAME = 20


class VerdictPane(Pane):
    """The new model against the one in use, or what is to be said of a training that made none yet."""

    help_text = (
        "The new model and the one in use on the same labelled frames, of which neither has learned any: the audit's "
        "where there are enough, else all labels. p promotes a better one, u goes back, v lists what changed sides."
    )

    def __init__(self, title: str, *, id: str | None = None) -> None:
        super().__init__(title, id=id)
        self._lines: Sequence[Content] = ()

    def tell(self, title: str, text: str) -> None:
        """Say something in place of a verdict."""
        self.set_title(title)
        self.set_subtitle("")
        self._lines = [Content(f" {safe_text(text)}")] if text else []
        self.put(Content("\n").join(self._lines))

    def show(self, verdict: Verdict, note: str) -> None:
        """Take a verdict; the note says what can be done about it."""
        judged = verdict.judge
        by = "" if judged is None else f" · {'audit' if judged.kind == 'audit' else 'labels'} n={judged.n}"
        self.set_title(f"{safe_text(verdict.new)} against {safe_text(verdict.old)}{by}")
        self.set_subtitle(f"threshold {verdict.threshold:.2f}")
        lines: list[Content] = []
        if judged is not None:
            width = min(max(cells(verdict.old), cells(verdict.new)), LONGEST_NAME)
            lines += [
                Content(_figures(verdict.old, width, judged.old)),
                Content.styled(_figures(verdict.new, width, judged.new), "bold"),
            ]
            test = judged.mcnemar
            gain = "" if judged.difference is None else (
                f"   F1 {judged.difference.value:+.3f} [{judged.difference.low:+.2f},{judged.difference.high:+.2f}]"
            )  # fmt: skip
            told = f" right alone: old {test.only_old}, new {test.only_new}   p = {test.p:.2g}{gain}"
            lines.append(Content(told))
        lines.append(
            Content(
                f" changed sides of {verdict.compared:,}: {_side('gained', verdict.gained)}, "
                f"{_side('lost', verdict.lost)}"
            )
        )
        lines.append(
            Content.styled(f" ✓ better: {verdict.reason}", "bold $text-success")
            if verdict.better
            else Content.styled(f" {'…' if verdict.waits else '✗'} {verdict.reason}", "$text-warning")
        )
        if note:
            lines.append(Content(f" {safe_text(note)}"))
        lines += [Content.styled(f" ! {safe_text(warning)}", "$text-muted") for warning in verdict.warnings]
        self.put(Content("\n").join(lines))


def _figures(name: str, width: int, told: Figures) -> str:
    shown = cut(safe_text(name), width)
    numbers = (with_interval(each, value) for each, value in (("P", told.precision), ("R", told.recall)))
    return f" {shown}{' ' * (width - cells(shown))}  {'  '.join(numbers)}  {with_interval('F1', told.f1)}"


def _side(name: str, side: Sequence[FlippedFrame]) -> str:
    accepted = sum(each.accepted is True for each in side)
    rejected = sum(each.accepted is False for each in side)
    labelled = f" ({accepted}A {rejected}X)" if accepted or rejected else ""
    return f"{len(side):,} {name}{labelled}"
