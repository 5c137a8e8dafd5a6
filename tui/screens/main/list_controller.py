"""What the keys do to the list: where the cursor stands, what is listed, in which order."""

from __future__ import annotations

from photon_triage.tui.screens.filter import FilterScreen
from photon_triage.tui.screens.queueing import Queueing
from photon_triage.tui.snapshot.snapshot import ListSpec


class Moving(Queueing):
    """The actions on the list."""

    def action_move(self, lines: int) -> None:
        """Move the cursor by lines, on the contact sheet by its rows."""
        self._step(lines * (self._sheet.grid.across if self._sheet.display else 1))

    def action_move_across(self, frames: int) -> None:
        """Move the cursor by frames."""
        self._step(frames)

    def action_page(self, direction: int) -> None:
        """Move the cursor by half a page of the list, or by a page of the contact sheet."""
        self._step(direction * (self._sheet.grid.page if self._sheet.display else max(self._list.page // 2, 1)))

    def _step(self, lines: int) -> None:
        self._freeze()
        self._end_visit()
        self._list.move_by(lines)

    def action_end(self, direction: int) -> None:
        """Go to the first or the last line."""
        self._freeze()
        self._list.move_to(0 if direction < 0 else len(self._list.ids) - 1)

    def action_undecided(self, step: int) -> None:
        """Go to the next undecided frame."""
        self._freeze()
        place = self._list.next_undecided(step)
        if place is None:
            self.say("every frame of this list is decided · t goes to the newest")
        else:
            self._list.move_to(place)

    def action_tail(self) -> None:
        """Follow the newest frames."""
        self.action_queue("newest")
        self.say("following the newest frames")

    def action_filter(self) -> None:
        """Ask for a filter."""

        def filtered(spec: ListSpec | None) -> None:
            if spec is not None and spec != self._spec:
                self._relist(spec)

        self.app.push_screen(FilterScreen(self._spec), filtered)

    def action_pane(self) -> None:
        """Give the focus to the next pane."""
        self.focus_next()

    def action_pause(self) -> None:
        """Hold the screen still, or go on."""
        self.paused = not self.paused
        self.say("the screen is paused, the engine goes on · p follows again" if self.paused else "following again")
        self._entitle()
        self._refresh()
