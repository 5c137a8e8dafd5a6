"""The trainings of a session in lines: state, how far, what is left."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content

from photon_triage.core.session.trainings.trainings import AT_WORK, Training
from photon_triage.tui.terminal.text import cells, cut, duration, left, progress, safe_text, state_sign
from photon_triage.tui.widgets.pane import Pane

STYLES = {"failed": "bold $text-error", "interrupted": "$text-warning", "paused": "$text-warning", "done": ""}
FIXED = 46
"""Cells of all columns but the name's and the bar's."""
LEAST_NAME, LEAST_BAR = 12, 8


class TrainingsPane(Pane):
    """The list of trainings, with a cursor; pauses and stops are wishes that the process comes to between batches."""

    help_text = "Trainings of this session: each is a process of its own that outlives the screen."

    def __init__(self, title: str, *, id: str | None = None) -> None:
        super().__init__(title, id=id)
        self.trainings: Sequence[Training] = ()
        self._name = ""
        """Of the training under the cursor."""

    @property
    def selected(self) -> Training | None:
        """The training under the cursor."""
        return next((each for each in self.trainings if each.name == self._name), next(iter(self.trainings), None))

    def show(self, trainings: Sequence[Training]) -> None:
        """Take newer states; the cursor stays with its training."""
        self.trainings = trainings
        self._redraw()

    def move(self, step: int) -> None:
        """Put the cursor on another training."""
        if not self.trainings or self.selected is None:
            return
        place = self.trainings.index(self.selected) + step
        self._name = self.trainings[min(max(place, 0), len(self.trainings) - 1)].name
        self._redraw()

    def take(self, name: str) -> None:
        """Put the cursor on the training of that name, also where it is not there yet."""
        self._name = name
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
