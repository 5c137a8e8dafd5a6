"""The candidate list: as many rows as there are frames, of which only the visible ones are fetched and drawn."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from photon_triage.core.session.store.rows import FrameRow
from photon_triage.tui.snapshot.snapshot import NO_IDS, Ids
from photon_triage.tui.widgets.columns import fit_columns, header, row_text
from photon_triage.tui.widgets.frame_states import Standing, letter_style
from photon_triage.tui.widgets.pane import entitle
from photon_triage.tui.widgets.rows import RowStore

ROWS_KEPT = 4000


class CandidateList(ScrollView, can_focus=True, inherit_bindings=False):
    """Frames in a fixed order with one cursor; rows that come into view are fetched in a thread."""

    help_text = (
        "One frame a line: its number in the order seen, score, measures, state and flag. "
        "State: ? undecided, A accepted, X rejected, S skipped, … being saved; a, x, s: decided before the frame "
        "changed. F: f flagged, ≠ operators disagree, c changed since it was decided. "
        "┃ stands at the lines of a marked range: v begins it, moving extends it, a decision is for all of it."
    )

    class CursorMoved(Message):
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

    def __init__(
        self, measures: tuple[str, ...], store: RowStore, standing: Standing, *, id: str | None = None
    ) -> None:
        super().__init__(id=id)
        self._standing = standing
        standing.on_change(self.refresh)
        self._store = store
        self._wanted: list[int] = []
        self._fetching = False
        self._empty_text = ""
        self.ids: Ids = NO_IDS
        self.cursor = 0
        self.mark: int | None = None
        """Where a marked range begins; it ends at the cursor."""
        self._measures = measures
        self._columns, self._width, self._plain = fit_columns(0, measures), 0, Style()
        self._rows: dict[int, FrameRow] = {}

    @property
    def selected(self) -> int | None:
        """The frame under the cursor."""
        return int(self.ids[self.cursor]) if len(self.ids) else None

    @property
    def row(self) -> FrameRow | None:
        """What is known of the frame under the cursor, once it has been fetched."""
        return None if self.selected is None else self._rows.get(self.selected)

    @property
    def marked(self) -> range:
        """The lines of the marked range; empty where none is marked."""
        if self.mark is None:
            return range(0)
        return range(min(self.mark, self.cursor), max(self.mark, self.cursor) + 1)

    def set_mark(self, place: int | None) -> None:
        """Begin a marked range at a line, or give it up."""
        if place != self.mark:
            self.mark = place
            self.refresh()

    def known(self, frame_id: int) -> FrameRow | None:
        """What is known of a frame, where it has been fetched."""
        return self._rows.get(frame_id)

    def show_ids(self, ids: Ids) -> None:
        """Take a new list; the cursor goes to its top."""
        before = self.selected
        self.ids, self.cursor, self.mark = ids, 0, None
        self._measure_height()
        self._into_view()
        self.refresh()
        if self.selected != before:
            self.post_message(self.CursorMoved(self.selected, by_operator=False))

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

    def place_of(self, frame_id: int) -> int | None:
        """Where a frame stands in the list."""
        found = np.flatnonzero(self.ids == frame_id)
        return int(found[0]) if len(found) else None

    def move_to(self, place: int) -> None:
        """Put the cursor on a line, or on the nearest one there is."""
        place = max(0, min(place, len(self.ids) - 1))
        if place == self.cursor or not len(self.ids):
            return
        before, self.cursor, scrolled = self.cursor, place, self.scroll_offset
        self._into_view()
        if self.scroll_offset == scrolled and not self.marked:
            for row in (before, place):
                self.refresh_line(row + 1)
        else:
            self.refresh()
        self.post_message(self.CursorMoved(self.selected, by_operator=True))

    def move_by(self, lines: int) -> None:
        """Move the cursor down, or up where negative."""
        self.move_to(self.cursor + lines)

    def next_undecided(self, step: int = 1) -> int | None:
        """The line of the next frame nobody decided on, below or (step -1) above; wraps around to the other end."""

        return _first(lambda place: self._standing.is_open(int(self.ids[place])), self.cursor, step, len(self.ids))

    @property
    def page(self) -> int:
        """How many rows are visible."""
        return max(self.scrollable_content_region.height - 1, 1)

    def render_lines(self, crop: Region) -> list[Strip]:
        """The lines that are to be painted; what they share is asked for once, since it takes long to tell."""
        self._plain, self._width = self.rich_style, self.scrollable_content_region.width
        self._columns = fit_columns(self._width, self._measures)
        return super().render_lines(crop)

    def render_line(self, y: int) -> Strip:
        """The heading, or the row that is visible at that height."""
        width, columns, plain = self._width, self._columns, self._plain
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
        marker = ("▶" if here else " ") + ("┃" if place in self.marked else " ")
        row = self._rows.get(frame_id)
        if row is None:
            return Strip([Segment(f"{marker}{frame_id:>7} …".ljust(width)[:width], style)], width)
        label = self._standing.label(frame_id)
        letter, flag = self._standing.letter(frame_id), self._standing.sign(frame_id)
        before, state, after = row_text(row, columns, letter, flag, label.category if label else "")
        colour = style if here else style + letter_style(letter)
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
            if not len(self.ids):
                self.refresh()

    def set_titles(self, title: str, subtitle: str) -> None:
        """Say something in the frame."""
        entitle(self, title=title, subtitle=subtitle)

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
