"""The frames beside the one on the screen, in the order of their run."""

from __future__ import annotations

from textual.content import Content

from photon_triage.core.session.store.rows import FrameRow
from photon_triage.tui.terminal.text import cells, safe_text
from photon_triage.tui.widgets.frame_states import Standing
from photon_triage.tui.widgets.pane import Pane
from photon_triage.tui.widgets.pictures import Picture


class NeighbourPane(Pane):
    """One line: number, score and state of each neighbour, the frame on the screen in the middle."""

    def __init__(self, standing: Standing, *, id: str | None = None) -> None:
        super().__init__("Run", id=id)
        self._standing = standing
        standing.on_change(self._redraw)
        self._picture: Picture | None = None

    def show(self, picture: Picture | None) -> None:
        """Take another picture."""
        self._picture = picture
        self._redraw()

    def on_resize(self) -> None:
        """Fit the line to the width."""
        self._redraw()

    def _redraw(self) -> None:
        picture, width = self._picture, self.size.width
        if picture is None or width <= 0:
            return
        row = picture.row
        beside = list(picture.finds.beside) or [row]
        here = next((place for place, each in enumerate(beside) if each.id == row.frame_id), 0)
        self.set_title(f"Run {safe_text(row.run)}" if row.run else "Run")
        self.set_subtitle("< > look at them")
        texts = [self._text(each, here=place == here) for place, each in enumerate(beside)]
        first, last = _fitting([cells(text) + 3 for text in texts], here, width)
        parts: list[Content] = []
        for place in range(first, last + 1):
            parts.append(Content.styled(texts[place], "bold reverse") if place == here else Content(texts[place]))
        self.put(Content(" │ ").join(parts))

    def _text(self, row: FrameRow, *, here: bool) -> str:
        score = "miss" if not row.hit else "  –  " if row.score is None else f"{row.score:.3f}".removeprefix("0")
        marker = "▶" if here else ""
        return f"{marker}#{row.key.index:04d} {score} {self._standing.letter(row.id)}"


def _fitting(widths: list[int], here: int, room: int) -> tuple[int, int]:
    """The first and the last of the texts about `here` that fit the room, as many on each side as can be."""
    first = last = here
    while True:
        sides = [(first - 1, last), (first, last + 1)]
        if last - here < here - first:
            sides.reverse()
        fitting = (
            (start, stop)
            for start, stop in sides
            if start >= 0 and stop < len(widths) and sum(widths[start : stop + 1]) <= room
        )
        wider = next(fitting, None)
        if wider is None:
            return first, last
        first, last = wider
