"""The list: where its cursor stands, which frames it holds, and in which order."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import ClassVar

from textual.app import SystemCommand
from textual.binding import Binding

from photon_triage.core.session.store.filters import EMPTY, QUEUES, WHAT
from photon_triage.tui.screens.list_dialogs import FilterScreen, QueueScreen
from photon_triage.tui.screens.main.picture_controller import PictureController
from photon_triage.tui.screens.main.triage import Controller, Triage
from photon_triage.tui.snapshot.snapshot import ListSpec, Snapshot

REFETCH_S = 2.0
"""Visible rows are read again this often while the engine writes."""


class ListController(Controller):
    """Moves the cursor, and requests other lists.

    work_from: is told the queue that decisions are made from.
    """

    KEYS: ClassVar[Mapping[str, Sequence[Binding]]] = {
        "List, threshold, export": [
            Binding("t", "tail", "Tail", id="tail", tooltip="Follow the newest frames"),
            Binding("slash", "filter", "Filter", id="filter", tooltip="Show only some frames", key_display="/"),
            Binding("n", "undecided(1)", "Next", id="next", tooltip="Next undecided frame"),
            Binding("N", "undecided(-1)", "Previous", id="previous", show=False, tooltip="Previous undecided frame"),
            Binding(
                "s",
                "sort",
                "Queue",
                id="sort",
                tooltip="What to look at first: newest, scores, uncertain, audit, flagged, mine ...",
            ),
            Binding("p", "pause", "Pause", id="pause", tooltip="Hold the screen still; the engine goes on"),
            Binding("tab", "pane", "Pane", id="pane", tooltip="Next pane", key_display="tab"),
        ],
        "Move": [
            Binding("j,down", "move(1)", "Down", id="down", show=False, tooltip="Next line"),
            Binding("k,up", "move(-1)", "Up", id="up", show=False, tooltip="Line before"),
            Binding("g,home", "end(-1)", "Top", id="top", show=False, tooltip="First line"),
            Binding("G,end", "end(1)", "Bottom", id="bottom", show=False, tooltip="Last line"),
            Binding(
                "right", "move_across(1)", "Right", id="right", show=False, tooltip="Next frame, also across the sheet"
            ),
            Binding(
                "left", "move_across(-1)", "Left", id="left", show=False, tooltip="Frame before, also across the sheet"
            ),
            Binding("ctrl+d,pagedown", "page(1)", "Page down", id="page_down", show=False, tooltip="Half a page down"),
            Binding("ctrl+u,pageup", "page(-1)", "Page up", id="page_up", show=False, tooltip="Half a page up"),
        ],
    }

    def __init__(self, triage: Triage, picture: PictureController, work_from: Callable[[str], None]) -> None:
        super().__init__(triage)
        self._picture, self._work_from = picture, work_from
        self._refetched_at = 0.0
        self._refetched_version = 0
        self.moved_at = 0.0
        """When a live list put another frame under the cursor last, by the monotonic clock."""

    def show(self, snapshot: Snapshot, *, saved: int) -> None:
        """Show the list of a snapshot and the states of its frames; a paused screen shows another list only.

        saved: how many records this screen has on disk.
        """
        triage = self.triage
        current = snapshot.serial == triage.serial
        anew = current and not triage.is_listed
        if snapshot.ids is not None and current and (anew or triage.live):
            triage.shown_serial = snapshot.serial
            triage.listable_when_shown = triage.listable()
            before = triage.list.selected
            triage.list.show_ids(snapshot.ids)
            if not anew and before is not None and before != triage.list.selected:
                self.moved_at = time.monotonic()
        merged = snapshot.saves == saved
        triage.standing.take(snapshot.labels, snapshot.flagged, snapshot.conflicts, snapshot.changed, merged=merged)
        triage.list.say_when_empty(self._why_empty(snapshot))
        self._refetch(snapshot)
        triage.show_titles()

    def _refetch(self, snapshot: Snapshot) -> None:
        now = time.monotonic()
        if snapshot.version != self._refetched_version and now - self._refetched_at >= REFETCH_S:
            self._refetched_version, self._refetched_at = snapshot.version, now
            self.triage.list.refetch()

    def _why_empty(self, snapshot: Snapshot) -> str:
        spec, unit = self.triage.spec, self.triage.unit
        if not snapshot.started:
            return "no results yet\nwatch PATH starts an engine"
        if spec.text or spec.shown in ("undecided", "flagged"):
            return f"no {unit.removesuffix('s')} matches the filter\n/ changes it"
        if empty := EMPTY.get(spec.order):
            return empty
        wanted = "candidates" if unit == "candidates" else "hits"
        return f"no {wanted} yet in {snapshot.counts.frames:,} frames"

    # Moves

    def action_move(self, lines: int) -> None:
        """Move the cursor by lines, on the contact sheet by its rows."""
        sheet = self.triage.sheet
        self._step(lines * (sheet.grid.across if sheet.display else 1))

    def action_move_across(self, frames: int) -> None:
        """Move the cursor by frames."""
        self._step(frames)

    def action_page(self, direction: int) -> None:
        """Move the cursor by half a page of the list, or by a page of the contact sheet."""
        sheet = self.triage.sheet
        self._step(direction * (sheet.grid.page if sheet.display else max(self.triage.list.page // 2, 1)))

    def _step(self, lines: int) -> None:
        self.triage.freeze()
        self._picture.end_visit()
        self.triage.list.move_by(lines)

    def action_end(self, direction: int) -> None:
        """Go to the first or the last line."""
        self.triage.freeze()
        self.triage.list.move_to(0 if direction < 0 else len(self.triage.list.ids) - 1)

    def action_undecided(self, step: int) -> None:
        """Go to the next undecided frame."""
        self.triage.freeze()
        place = self.triage.list.next_undecided(step)
        if place is None:
            self.triage.say("every frame of this list is decided · t goes to the newest")
        else:
            self.triage.list.move_to(place)

    def action_pane(self) -> None:
        """Give the focus to the next pane."""
        self.triage.screen.focus_next()

    # Other lists

    def queue_commands(self) -> Iterable[SystemCommand]:
        """List each queue for the palette."""
        for queue in QUEUES:
            yield SystemCommand(f"Queue: {queue}", WHAT[queue], partial(self.take_queue, queue))

    def action_sort(self) -> None:
        """Choose a queue."""

        def chosen(queue: str | None) -> None:
            if queue is not None:
                self.take_queue(queue)

        self.triage.screen.app.push_screen(QueueScreen(self.triage.spec.order), chosen)

    def take_queue(self, queue: str) -> None:
        """List the frames of a queue, and decide from it."""
        self.triage.show_other_list(replace(self.triage.spec, order=queue))
        self._work_from(queue)
        self.triage.say(f"{queue}: {WHAT[queue]}")

    def action_tail(self) -> None:
        """Follow the newest frames."""
        self.take_queue("newest")
        self.triage.say("following the newest frames")

    def action_filter(self) -> None:
        """Ask for a filter."""

        def filtered(spec: ListSpec | None) -> None:
            if spec is not None and spec != self.triage.spec:
                self.triage.show_other_list(spec)

        self.triage.screen.app.push_screen(FilterScreen(self.triage.spec), filtered)

    def action_pause(self) -> None:
        """Hold the screen still, or go on."""
        triage = self.triage
        triage.paused = not triage.paused
        triage.say("the screen is paused, the engine goes on · p follows again" if triage.paused else "following again")
        triage.show_titles()
        triage.refresh()
