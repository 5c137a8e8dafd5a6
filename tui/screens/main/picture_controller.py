"""The picture: its look, its size, and which frame it is of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

from textual.binding import Binding
from textual.message import Message

from photon_triage.core.session.store.rows import FrameRow
from photon_triage.tui.screens.main.triage import Controller, Triage, Visit
from photon_triage.tui.widgets.halfblock import Look
from photon_triage.tui.widgets.neighbours import NeighbourPane
from photon_triage.tui.widgets.pictures import Picture
from photon_triage.tui.widgets.radial import RadialPane

AHEAD = 3
"""Frames read ahead in the way of the cursor; one is read against it, and one where a decision leads."""


class PictureController(Controller):
    """Shows the frame under the cursor or a neighbour of it in the run, in the look that the operator chose."""

    KEYS: ClassVar[Mapping[str, Sequence[Binding]]] = {
        "List, threshold, export": [
            Binding(
                "c", "sheet", "Sheet", id="sheet", tooltip="Contact sheet: many frames as small pictures, and back"
            ),
            Binding(
                "enter",
                "zoom",
                "Zoom",
                id="zoom",
                tooltip="Picture over the whole width, and back",
                key_display="enter",
            ),
        ],
        "Move": [
            Binding(
                "greater_than_sign",
                "neighbour(1)",
                "Neighbour",
                id="neighbour_next",
                show=False,
                tooltip="Look at the next frame of the run, listed or not",
                key_display=">",
            ),
            Binding(
                "less_than_sign",
                "neighbour(-1)",
                "Neighbour",
                id="neighbour_previous",
                show=False,
                tooltip="Look at the frame of the run before this one, listed or not",
                key_display="<",
            ),
        ],
        "Picture": [
            Binding(
                "plus,equals_sign", "contrast(1)", "Contrast+", id="contrast_up", show=False, tooltip="More contrast"
            ),
            Binding("minus", "contrast(-1)", "Contrast-", id="contrast_down", show=False, tooltip="Less contrast"),
            Binding("l", "logarithm", "Log", id="log", show=False, tooltip="Logarithmic or linear picture"),
            Binding("m", "colours", "Colours", id="colours", show=False, tooltip="Next colour map"),
            Binding(
                "o",
                "overlay",
                "Overlay",
                id="overlay",
                show=False,
                tooltip="Segmentation as tint, outline or not at all",
            ),
            Binding("r", "rings", "Rings", id="rings", show=False, tooltip="Rings at q, at resolution d, or none"),
            Binding("i", "radial", "Radial", id="radial", show=False, tooltip="Radial profile, or not"),
            Binding("w", "whole", "Whole frame", id="whole", show=False, tooltip="Whole frame or the region shown"),
        ],
    }

    class NeighbourRead(Message):
        """A neighbour in the run has been looked up; None at an end of the run."""

        def __init__(self, row: FrameRow | None, visit: Visit, step: int) -> None:
            super().__init__()
            self.row = row
            self.visit = visit
            self.step = step

    def __init__(self, triage: Triage) -> None:
        super().__init__(triage)
        self.visit = Visit()

    def show(self, *, at_once: bool) -> None:
        """Show the frame under the cursor, and read ahead those that a key may lead to."""
        triage = self.triage
        triage.picture.note = ""
        triage.picture.want(triage.list.row, at_once=at_once, ahead=self._ahead())
        triage.sheet.show()

    def _ahead(self) -> list[FrameRow]:
        candidates = self.triage.list
        cursor, undecided = candidates.cursor, candidates.next_undecided()
        places = [cursor + 1, *([] if undecided is None else [undecided]), cursor - 1]
        places += [cursor + away for away in range(2, AHEAD + 1)]
        ids = dict.fromkeys(int(candidates.ids[place]) for place in places if 0 <= place < len(candidates.ids))
        return [row for frame in ids if (row := candidates.known(frame)) is not None]

    def follow_cursor(self, *, by_operator: bool) -> None:
        """Show the frame under the cursor, which has moved; an operator's move freezes the list."""
        if by_operator:
            self.triage.freeze()
        self.visit = Visit()
        self.show(at_once=by_operator)

    def show_arrived_row(self) -> None:
        """Show the frame whose row has come."""
        if self.visit.row is None:
            self.show(at_once=not self.triage.live)

    def show_beside(self, picture: Picture | None) -> None:
        """Show what belongs to the picture: its radial profile and its neighbours."""
        self.triage.screen.query_one(RadialPane).show(picture)
        self.triage.screen.query_one(NeighbourPane).show(picture)

    def action_zoom(self) -> None:
        """The picture over the whole width, and back."""
        self.triage.screen.toggle_class("-zoom")
        if self._sheet_is_up:
            self.end_visit()  # the sheet does not show a neighbour, so no decision may be for one

    @property
    def _sheet_is_up(self) -> bool:
        screen = self.triage.screen
        return screen.has_class("-sheet") and not screen.has_class("-zoom")

    def action_sheet(self) -> None:
        """The contact sheet in place of list and picture, and back."""
        triage, screen = self.triage, self.triage.screen
        triage.freeze()
        self.end_visit()
        if screen.has_class("-zoom"):
            screen.remove_class("-zoom")
            screen.add_class("-sheet")
        else:
            screen.toggle_class("-sheet")
        (triage.sheet if screen.has_class("-sheet") else triage.list).focus()
        triage.sheet.show()

    def action_radial(self) -> None:
        """The radial profile below the picture, or not."""
        shown = self.triage.screen.query_one(RadialPane).display
        self.triage.screen.set_class(shown, "-plain")
        self.triage.screen.set_class(not shown, "-radial")

    def _look(self, change: Callable[[Look], Look]) -> None:
        look = change(self.triage.picture.look)
        self.triage.picture.change_look(look)
        self.triage.sheet.change_look(look)

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
        look, picture, say = self.triage.picture.look, self.triage.picture.picture, self.triage.say
        if picture is not None and not picture.counts:
            say("no rings: these are images, without a beam")
        elif picture is not None and isinstance(picture.rings, str) and picture.rings:
            say(f"{picture.rings} · the recipe's [geometry] can tell it")
        else:
            say({"off": "no rings", "q": "rings at q in nm⁻¹", "d": "rings at the resolution d in Å"}[look.rings])

    def action_whole(self) -> None:
        """The whole frame or the region: the recipe's, or what is about the candidate."""
        self._look(lambda look: replace(look, whole=not look.whole))

    # Neighbours in the run

    def action_neighbour(self, step: int) -> None:
        """Look at the frame of the run that comes next or before, whether it is listed or not."""
        triage = self.triage
        row = self.visit.row or triage.list.row
        triage.freeze()
        if row is None or self.visit.reading:
            return
        if self._sheet_is_up:
            triage.screen.add_class("-zoom")
        visit = self.visit = replace(self.visit, reading=True)
        triage.screen.run_worker(
            lambda: triage.screen.post_message(self.NeighbourRead(triage.store.neighbour(row, step), visit, step)),
            thread=True,
            group="neighbour",
        )

    def show_neighbour(self, message: NeighbourRead) -> None:
        """Show the neighbour, unless the cursor has moved meanwhile."""
        if message.visit is not self.visit:
            return
        triage = self.triage
        row, listed, away = message.row, triage.list.row, self.visit.away + message.step
        if row is None:
            self.visit = replace(self.visit, reading=False)
            triage.say("the run ends here")
        elif away == 0:
            self.end_visit()
        else:
            if listed is not None and listed.key.point:
                row = replace(row, key=row.key.at(*listed.key.point))
            self.visit = Visit(row, away=away)
            triage.picture.note = f"({away:+d} in the run)"
            triage.picture.want(row, at_once=True)
            triage.say("a neighbour in the run: decisions are for it · j or k goes back to the list")

    def end_visit(self) -> None:
        """Go back from a neighbour in the run to the frame under the cursor."""
        if self.visit != Visit():
            self.visit = Visit()
            self.show(at_once=True)
