"""The candidate list: as many rows as there are frames, of which only the visible ones are fetched and drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.content import Content
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from photon_triage.core.session.labels import Label
from photon_triage.core.session.rows import FrameRow
from photon_triage.tui.snapshot import NO_IDS, Ids
from photon_triage.tui.widgets.columns import SAVING, fit_columns, header, letter_of, row_text
from photon_triage.tui.widgets.rows import RowStore

ROWS_KEPT = 4000


class CandidateList(ScrollView, can_focus=True, inherit_bindings=False):
    """Frames in a fixed order with one cursor; rows that come into view are fetched in a thread."""

    help_text = (
        "One frame a line: its number in the order seen, score, measures, state and flag. "
        "State: ? undecided, A accepted, X rejected, S skipped, … being saved. F: f flagged, ≠ operators disagree."
    )

    class Moved(Message):
        """The cursor stands on another frame."""

        def __init__(self, frame_id: int | None, by_operator: bool) -> None:
            super().__init__()
            self.frame_id = frame_id
            self.by_operator = by_operator

    class Arrived(Message):
        """The row under the cursor has been fetched."""

    class Fetched(Message, bubble=False):
        """Rows have been read."""

        def __init__(self, rows: dict[int, FrameRow]) -> None:
            super().__init__()
            self.rows = rows

    def __init__(self, measures: tuple[str, ...], store: RowStore, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._store = store
        self._wanted: list[int] = []
        self._fetching = False
        self._empty_text = ""
        self.ids: Ids = NO_IDS
        self.cursor = 0
        self._measures = measures
        self._rows: dict[int, FrameRow] = {}
        self._labels: Mapping[int, Label] = {}
        self._saved: dict[int, Label | None] = {}
        self._saving: set[int] = set()
        self._doubted: dict[int, Label | None] = {}
        self._flagged: frozenset[int] = frozenset()
        self._saved_flags: dict[int, bool] = {}
        self._conflicts: frozenset[int] = frozenset()

    @property
    def selected(self) -> int | None:
        """The frame under the cursor."""
        return int(self.ids[self.cursor]) if len(self.ids) else None

    @property
    def row(self) -> FrameRow | None:
        """What is known of the frame under the cursor, once it has been fetched."""
        return None if self.selected is None else self._rows.get(self.selected)

    def label(self, frame_id: int) -> Label | None:
        """The label of a frame as far as it is on disk."""
        for known in (self._saved, self._doubted):
            if frame_id in known:
                return known[frame_id]
        return self._labels.get(frame_id)

    def flagged(self, frame_id: int) -> bool:
        """Whether a frame carries a flag."""
        return self._saved_flags.get(frame_id, frame_id in self._flagged)

    def is_saving(self, frame_id: int) -> bool:
        """Whether a decision on the frame is on its way to the disk."""
        return frame_id in self._saving

    def show_ids(self, ids: Ids) -> None:
        """Take a new list; the cursor goes to its top."""
        before = self.selected
        self.ids, self.cursor = ids, 0
        self._measure_height()
        self._into_view()
        self.refresh()
        if self.selected != before:
            self.post_message(self.Moved(self.selected, by_operator=False))

    def show_labels(
        self, labels: Mapping[int, Label], flagged: frozenset[int], conflicts: frozenset[int], *, merged: bool
    ) -> None:
        """Take the merged labels; `merged` says that they hold everything saved here, too."""
        changed = self._labels is not labels or self._flagged is not flagged
        if merged and (self._saved or self._saved_flags):
            self._saved, self._saved_flags = {}, {}
            changed = True
        self._labels, self._flagged, self._conflicts = labels, flagged, conflicts
        if changed:
            self.refresh()

    def refetch(self) -> None:
        """Read the visible rows again: the engine may have scored them with another model."""
        self._want(self._window(0))

    def on_candidate_list_fetched(self, message: Fetched) -> None:
        """Take rows that were read, and read what has been asked for meanwhile."""
        self._fetching = False
        if len(self._rows) > ROWS_KEPT:
            self._rows = {id_: self._rows[id_] for id_ in self._window(1) if id_ in self._rows}
        had = self.row
        if any(self._rows.get(id_) != row for id_, row in message.rows.items()):
            self._rows.update(message.rows)
            self.refresh()
        if had is None and self.row is not None:
            self.post_message(self.Arrived())
        self._fetch_next()

    def show_saving(self, frame_id: int, saving: bool) -> None:
        """Mark a frame whose decision is being written."""
        (self._saving.add if saving else self._saving.discard)(frame_id)
        self.refresh()

    def show_saved(self, frame_id: int, label: Label | None) -> None:
        """Show a decision that is on disk, before it comes back with the merged labels."""
        self._saved[frame_id] = label
        self.refresh()

    def show_unsaved(self, frame_id: int, label: Label | None) -> None:
        """Show the label before a decision that failed: what of it reached the disk is taken back with the next one."""
        self._doubted[frame_id] = label
        self.refresh()

    def forget_unsaved(self) -> None:
        """The disk has answered: what failed before has been taken back there."""
        self._saved = self._doubted | self._saved
        self._doubted = {}

    def show_flag(self, frame_id: int, flagged: bool) -> None:
        """Show a flag that is on disk, before it comes back with the merged labels."""
        self._saved_flags[frame_id] = flagged
        self.refresh()

    def place_of(self, frame_id: int) -> int | None:
        """Where a frame stands in the list."""
        found = np.flatnonzero(self.ids == frame_id)
        return int(found[0]) if len(found) else None

    def move_to(self, place: int) -> None:
        """Put the cursor on a line, or on the nearest one there is."""
        place = max(0, min(place, len(self.ids) - 1))
        if place == self.cursor or not len(self.ids):
            return
        self.cursor = place
        self._into_view()
        self.refresh()
        self.post_message(self.Moved(self.selected, by_operator=True))

    def move_by(self, lines: int) -> None:
        """Move the cursor down, or up where negative."""
        self.move_to(self.cursor + lines)

    def next_undecided(self, step: int = 1) -> int | None:
        """The line of the next frame nobody decided on, below or (step -1) above; wraps around to the other end."""

        def is_open(place: int) -> bool:
            frame = int(self.ids[place])
            return frame not in self._saving and self.label(frame) is None

        return _first(is_open, self.cursor, step, len(self.ids))

    @property
    def page(self) -> int:
        """How many rows are visible."""
        return max(self.scrollable_content_region.height - 1, 1)

    def render_line(self, y: int) -> Strip:
        """The heading, or the row that is visible at that height."""
        width = self.scrollable_content_region.width
        columns = fit_columns(width, self._measures)
        plain = self.rich_style
        if y == 0:
            return Strip([Segment(header(columns), plain + Style(bold=True, underline=True))], width)
        place = self.scroll_offset.y + y - 1
        if place >= len(self.ids):
            lines = [] if len(self.ids) else self._empty_text.split("\n")
            text = f"  {lines[place]}" if place < len(lines) else ""
            return Strip([Segment(text[:width].ljust(width), plain)], width)
        frame_id = int(self.ids[place])
        here = place == self.cursor
        style = plain + Style(bold=True, reverse=True) if here else plain
        marker = "▶ " if here else "  "
        row = self._rows.get(frame_id)
        if row is None:
            return Strip([Segment(f"{marker}{frame_id:>7} …".ljust(width)[:width], style)], width)
        label = self.label(frame_id)
        letter = SAVING if frame_id in self._saving else letter_of(label)
        flag = "f" if self.flagged(frame_id) else "≠" if frame_id in self._conflicts else " "
        before, state, after = row_text(row, columns, letter, flag, label.category if label else "")
        colour = style if here else style + self._letter_style(letter)
        return Strip([Segment(marker + before, style), Segment(state, colour), Segment(after, style)], width)

    def on_mount(self) -> None:
        """Give the list its height."""
        self._measure_height()

    def on_resize(self) -> None:
        """Keep the cursor visible."""
        self._measure_height()
        self._into_view()

    def on_click(self, event: events.Click) -> None:
        """Put the cursor on the row that was clicked."""
        offset = event.get_content_offset(self)
        if offset is not None and offset.y > 0:
            self.move_to(self.scroll_offset.y + offset.y - 1)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Ask for the rows that came into view."""
        super().watch_scroll_y(old_value, new_value)
        self._ask()

    def say_when_empty(self, text: str) -> None:
        """What to show instead of rows."""
        if text != self._empty_text:
            self._empty_text = text
            self.refresh()

    def set_titles(self, title: str, subtitle: str) -> None:
        """Say something in the frame."""
        if self.border_title != Content(title):
            self.border_title = Content(title)
        if self.border_subtitle != Content(subtitle):
            self.border_subtitle = Content(subtitle)

    def _letter_style(self, letter: str) -> Style:
        colour = {"A": "green", "X": "red", "S": "yellow"}.get(letter)
        return Style(color=colour, bold=True) if colour else Style()

    def _measure_height(self) -> None:
        self.virtual_size = Size(self.scrollable_content_region.width, len(self.ids) + 1)

    def _into_view(self) -> None:
        # One line more than the row: the heading covers the first.
        self.scroll_to_region(Region(0, self.cursor, 1, 2), animate=False, force=True, immediate=True)
        self._ask()

    def _window(self, pages: int) -> list[int]:
        page = self.page
        top = max(int(self.scroll_offset.y) - pages * page, 0)
        return [int(id_) for id_ in self.ids[top : top + (2 * pages + 1) * page + 1]]

    def _ask(self) -> None:
        visible = self._window(0)
        if self.selected is not None:
            visible.append(self.selected)
        if any(id_ not in self._rows for id_ in visible):
            wanted = dict.fromkeys([*visible, *self._window(1)])
            self._want([id_ for id_ in wanted if id_ not in self._rows])

    def _want(self, ids: list[int]) -> None:
        self._wanted = ids
        self._fetch_next()

    def _fetch_next(self) -> None:
        if self._fetching or not self._wanted:
            return
        ids, self._wanted, self._fetching = self._wanted, [], True
        self.run_worker(lambda: self._fetch(ids), thread=True, group="rows")

    def _fetch(self, ids: list[int]) -> None:
        self.post_message(self.Fetched(self._store.fetch(ids)))


def _first(holds: Callable[[int], bool], start: int, step: int, length: int) -> int | None:
    for away in range(1, length):
        place = (start + step * away) % length
        if holds(place):
            return place
    return start if length and holds(start) else None
