"""The trainings of a session in lines, and the curves of one."""

from __future__ import annotations

import math
from collections.abc import Sequence

from textual.content import Content

from photon_triage.core.session.trainings.trainings import AT_WORK, Training
from photon_triage.tui.terminal.text import cells, cut, duration, left, progress, safe_text, state_sign
from photon_triage.tui.widgets.pane import Pane

BLANK = 0x2800
DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Of a braille cell, by row and column."""
AXIS = 7
"""Cells of the scale on the left."""
WIDE_RANGE = 30.0
"""From how many times the least value on the greatest the scale is logarithmic."""

Points = Sequence[tuple[float, float]]
STYLES = {"failed": "bold $text-error", "interrupted": "$text-warning", "paused": "$text-warning", "done": ""}
FIXED = 46
"""Cells of all columns but the name's and the bar's."""
LEAST_NAME, LEAST_BAR = 12, 8


def plotted(points: Points, right: float, low: float, high: float, width: int, height: int) -> list[str]:
    """Points (x from 0 to `right`, y from `low` to `high`) joined to a line, in rows of braille, the highest first."""
    field = [[BLANK] * width for _ in range(height)]
    across, down = 2 * width - 1, 4 * height - 1
    last: tuple[int, int] | None = None
    for x, y in points:
        column = round(across * min(max(x / right, 0.0), 1.0)) if right > 0 else 0
        row = round(down * (1 - min(max((y - low) / (high - low), 0.0), 1.0))) if high > low else down // 2
        for at, dot in _between(last, (column, row)):
            field[dot // 4][at // 2] |= DOTS[dot % 4][at % 2]
        last = (column, row)
    return ["".join(" " if cell == BLANK else chr(cell) for cell in line) for line in field]


def _between(last: tuple[int, int] | None, here: tuple[int, int]) -> list[tuple[int, int]]:
    """The dots from the last one to this one."""
    if last is None:
        return [here]
    steps = max(abs(here[0] - last[0]), abs(here[1] - last[1]), 1)
    return [
        (round(last[0] + (here[0] - last[0]) * step / steps), round(last[1] + (here[1] - last[1]) * step / steps))
        for step in range(1, steps + 1)
    ]


class CurvePlot(Pane):
    """A value over the batches of a training.

    marked: whether the value is one of few, each drawn as a mark of its own beside the line.
    """

    def __init__(self, title: str, *, whole: bool = False, id: str | None = None) -> None:
        super().__init__(title, id=id)
        self._whole = whole
        """Whether the scale goes from 0 to 1."""
        self._points: Points = ()
        self._planned = 0
        self._empty = ""

    def show(self, points: Points, planned: int, empty: str) -> None:
        """Take newer points (batch, value); `empty` stands where there are none."""
        finite = [(x, y) for x, y in points if math.isfinite(y)]
        if (finite, planned, empty) != (self._points, self._planned, self._empty):
            self._points, self._planned, self._empty = finite, planned, empty
            self._redraw()

    def on_resize(self) -> None:
        """Fill the new size."""
        self._redraw()

    def _redraw(self) -> None:
        width, rows = self.size.width - AXIS, self.size.height - 1
        if width < 8 or rows < 1:
            return
        if not self._points:
            self.put(Content(f" {self._empty}"))
            return
        values = [y for _, y in self._points]
        logarithmic = not self._whole and min(values) > 0 and max(values) > WIDE_RANGE * min(values)
        low, high = (0.0, 1.0) if self._whole else _range(values, logarithmic=logarithmic)
        drawn = [(x, math.log10(y)) for x, y in self._points] if logarithmic else self._points
        ends = (math.log10(low), math.log10(high)) if logarithmic else (low, high)
        picture = plotted(drawn, self._planned, *ends, width, rows)
        lines = []
        for place, line in enumerate(picture):
            told = high if place == 0 else low if place == rows - 1 else None
            mark = "│" if told is None else "┤"
            scale = f"{'' if told is None else _short(told):>{AXIS - 1}}{mark}"
            lines.append(Content.assemble(scale, (line, "$text-accent")))
        end = f"{self._planned:,}"
        scale = "0" + " " * max(width - 1 - cells(end), 1) + end
        lines.append(Content.styled(" " * AXIS + scale, "$text-muted"))
        self.set_subtitle("log" if logarithmic else "")
        self.put(Content("\n").join(lines))


def _range(values: Sequence[float], *, logarithmic: bool) -> tuple[float, float]:
    """The ends of the scale: from 0 where it is not logarithmic."""
    high = max(values)
    if logarithmic:
        return min(values), high
    return min(min(values), 0.0), high if high > 0 else 1.0


def _short(value: float) -> str:
    return f"{value:.3g}"


class TrainingsPane(Pane):
    """The list of trainings, with a cursor; pauses and stops are wishes that the process comes to between batches."""

    help_text = "Trainings of this session: each is a process of its own that outlives the screen."

    def __init__(self, title: str, *, id: str | None = None) -> None:
        super().__init__(title, id=id)
        self.trainings: Sequence[Training] = ()
        self._chosen = ""
        """Of the training under the cursor."""

    @property
    def selected(self) -> Training | None:
        """The training under the cursor."""
        return next((each for each in self.trainings if each.name == self._chosen), next(iter(self.trainings), None))

    def show(self, trainings: Sequence[Training]) -> None:
        """Take newer states; the cursor stays with its training."""
        self.trainings = trainings
        self._redraw()

    def move(self, step: int) -> None:
        """Put the cursor on another training."""
        if not self.trainings or self.selected is None:
            return
        place = self.trainings.index(self.selected) + step
        self._chosen = self.trainings[min(max(place, 0), len(self.trainings) - 1)].name
        self._redraw()

    def take(self, name: str) -> None:
        """Put the cursor on the training of that name, also where it is not there yet."""
        self._chosen = name
        self._redraw()

    def on_resize(self) -> None:
        """Fill the new size."""
        self._redraw()

    def _redraw(self) -> None:
        width, height = self.size
        chosen = self.selected
        at_work = sum(each.state in AT_WORK for each in self.trainings)
        self.set_title(f"Trainings {len(self.trainings)}" + (f" · {at_work} at work" if at_work else ""))
        if chosen is None:
            self.put(Content(" none yet · b begins one"))
            return
        place = self.trainings.index(chosen)
        first = max(0, min(place - height // 2, len(self.trainings) - height))
        shown = self.trainings[first : first + max(height, 1)]
        name = min(max(max(cells(each.name) for each in shown), LEAST_NAME), max(width - FIXED - LEAST_BAR, LEAST_NAME))
        lines = [self._line(each, name, width, chosen=each is chosen) for each in shown]
        self.put(Content("\n").join(lines))

    def _line(self, each: Training, name: int, width: int, *, chosen: bool) -> Content:
        shown = cut(safe_text(each.name), name)
        head = f"{'▶' if chosen else ' '}{shown}{' ' * (name - cells(shown))} "
        state = f"{state_sign(each.state)} {each.state:<11} "
        told = f"{100 * each.share:4.0f} % " if each.planned else "       "
        bar = progress(each, min(max(width - FIXED - name, LEAST_BAR), 40)) if each.planned else ""
        if each.state in AT_WORK:
            tail = f" {left(each)} left" if each.seconds_left is not None else ""
        else:
            tail = f" F1 {each.best_f1:.3f}" if each.best_f1 is not None else ""
            tail += f" in {duration(each.curve[-1].seconds)}" if each.curve and each.state == "done" else ""
        style = STYLES.get(each.state, "$text-accent")
        line = Content.assemble((head, "bold" if chosen else ""), (state, style), told, (bar, style), tail)
        return line.truncate(width, ellipsis=True) if line.cell_length > width > 0 else line
