"""What the keys do to the picture: its look, its size, and which frame it is of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from textual.message import Message

from photon_triage.core.session.store.rows import FrameRow
from photon_triage.tui.screens.main.triage import TriageScreen, Visit
from photon_triage.tui.widgets.halfblock import Look
from photon_triage.tui.widgets.neighbours import NeighbourPane
from photon_triage.tui.widgets.preview import PreviewPane
from photon_triage.tui.widgets.radial import RadialPane

AHEAD = 3
"""Frames read ahead in the way of the cursor; one is read against it, and one where a decision leads."""


class Looking(TriageScreen):
    """The actions on the picture."""

    class Visited(Message):
        """A neighbour in the run has been looked up; None at an end of the run."""

        def __init__(self, row: FrameRow | None, visit: Visit, step: int) -> None:
            super().__init__()
            self.row = row
            self.visit = visit
            self.step = step

    def _show_picture(self, *, at_once: bool) -> None:
        """Show the frame under the cursor, and read ahead those that a key may lead to."""
        self._picture.note = ""
        self._picture.want(self._list.row, at_once=at_once, ahead=self._ahead())
        self._sheet.show()

    def _ahead(self) -> list[FrameRow]:
        candidates = self._list
        cursor, undecided = candidates.cursor, candidates.next_undecided()
        places = [cursor + 1, *([] if undecided is None else [undecided]), cursor - 1]
        places += [cursor + away for away in range(2, AHEAD + 1)]
        ids = dict.fromkeys(int(candidates.ids[place]) for place in places if 0 <= place < len(candidates.ids))
        return [row for frame in ids if (row := candidates.known(frame)) is not None]

    def on_preview_pane_picture_shown(self, message: PreviewPane.PictureShown) -> None:
        """Show what belongs to the picture."""
        self.query_one(RadialPane).show(message.picture)
        self.query_one(NeighbourPane).show(message.picture)

    def action_zoom(self) -> None:
        """The picture over the whole width, and back."""
        self.toggle_class("-zoom")
        if self._sheet_is_up:
            self._end_visit()  # the sheet does not show a neighbour, so no decision may be for one

    @property
    def _sheet_is_up(self) -> bool:
        return self.has_class("-sheet") and not self.has_class("-zoom")

    def action_sheet(self) -> None:
        """The contact sheet in place of list and picture, and back."""
        self._freeze()
        self._end_visit()
        if self.has_class("-zoom"):
            self.remove_class("-zoom")
            self.add_class("-sheet")
        else:
            self.toggle_class("-sheet")
        (self._sheet if self.has_class("-sheet") else self._list).focus()
        self._sheet.show()

    def action_radial(self) -> None:
        """The radial profile below the picture, or not."""
        pane = self.query_one(RadialPane)
        shown = pane.display
        self.set_class(shown, "-plain")
        self.set_class(not shown, "-radial")

    def _look(self, change: Callable[[Look], Look]) -> None:
        look = change(self._picture.look)
        self._picture.change_look(look)
        self._sheet.change_look(look)

    def action_contrast(self, step: int) -> None:
        """More or less contrast."""
        self._look(lambda look: look.contrast(step))

    def action_logarithm(self) -> None:
        """Logarithmic or linear."""
        self._look(lambda look: replace(look, log=not look.log))

    def action_colours(self) -> None:
        """The next colour map."""
        self._look(Look.next_colours)

    def action_overlay(self) -> None:
        """The next way to show a segmentation."""
        self._look(Look.next_overlay)

    def action_rings(self) -> None:
        """Rings at the next kind of value, or none; says why where there can be none."""
        self._look(Look.next_rings)
        look, picture = self._picture.look, self._picture.picture
        if picture is not None and not picture.counts:
            self.say("no rings: these are images, without a beam")
        elif picture is not None and isinstance(picture.rings, str) and picture.rings:
            self.say(f"{picture.rings} · the recipe's [geometry] can tell it")
        else:
            self.say({"off": "no rings", "q": "rings at q in nm⁻¹", "d": "rings at the resolution d in Å"}[look.rings])

    def action_whole(self) -> None:
        """The whole frame or the region: the recipe's, or what is about the candidate."""
        self._look(lambda look: replace(look, whole=not look.whole))

    # Neighbours in the run

    def action_neighbour(self, step: int) -> None:
        """Look at the frame of the run that comes next or before, whether it is listed or not."""
        row = self._visit.row or self._list.row
        self._freeze()
        if row is None or self._visit.reading:
            return
        if self._sheet_is_up:
            self.add_class("-zoom")
        visit = self._visit = replace(self._visit, reading=True)
        self.run_worker(
            lambda: self.post_message(self.Visited(self._store.neighbour(row, step), visit, step)),
            thread=True,
            group="neighbour",
        )

    def on_looking_visited(self, message: Visited) -> None:
        """Show the neighbour, unless the cursor has moved meanwhile."""
        if message.visit is not self._visit:
            return
        row, listed, away = message.row, self._list.row, self._visit.away + message.step
        if row is None:
            self._visit = replace(self._visit, reading=False)
            self.say("the run ends here")
        elif away == 0:
            self._end_visit()
        else:
            if listed is not None and listed.key.point:
                row = replace(row, key=row.key.at(*listed.key.point))
            self._visit = Visit(row, away=away)
            self._picture.note = f"({away:+d} in the run)"
            self._picture.want(row, at_once=True)
            self.say("a neighbour in the run: decisions are for it · j or k goes back to the list")

    def _end_visit(self) -> None:
        if self._visit != Visit():
            self._visit = Visit()
            self._show_picture(at_once=True)
