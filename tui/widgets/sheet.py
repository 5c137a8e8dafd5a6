"""The contact sheet: as many frames of the list as fit, as small pictures around one cursor."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from rich.segment import Segment
from rich.style import Style
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from photon_triage.core.common.errors import TriageError
from photon_triage.core.session.store.contrast import Reduced, reduced
from photon_triage.core.session.store.preview import Previewer
from photon_triage.core.session.store.rows import FrameRow
from photon_triage.tui.snapshot.snapshot import Ids
from photon_triage.tui.widgets.candidates import CandidateList
from photon_triage.tui.widgets.frame_states import Standing, letter_style
from photon_triage.tui.widgets.halfblock import Look, cells_of, letters_of, levels_of
from photon_triage.tui.widgets.pane import entitle
from photon_triage.tui.widgets.rows import RowStore

LEAST_CELLS = 95
"""Cells of a thumbnail with its caption: some 18 by 6, or 13 by 7. In fewer a frame is not told from another."""
LEAST_WIDTH, WIDEST = 12, 40
"""Cells across; a caption takes the least."""
THUMBNAILS_KEPT = 3000
"""About 5 MB: each is a few hundred pixels."""
AT_ONCE = 4
"""Thumbnails that are read before what is there is shown."""


@dataclass(frozen=True, slots=True)
class Grid:
    """How a pane is parted: thumbnails in a row, rows, and the cells of each picture."""

    across: int
    down: int
    width: int
    height: int

    @property
    def page(self) -> int:
        """Thumbnails on a page."""
        return self.across * self.down


def grid_of(width: int, height: int, ratio: float) -> Grid:
    """As many thumbnails of at least LEAST_CELLS as fit that many cells, each as large as that leaves room for.

    ratio: a frame's height by its width.
    """
    best = Grid(1, 1, max(min(width - 1, WIDEST), 1), max(height - 1, 1))
    for wide in range(LEAST_WIDTH, WIDEST + 1):
        lines = max(round(wide * ratio / 2), 2)
        grid = Grid((width + 1) // (wide + 1), height // (lines + 1), wide, lines)
        if (wide + 1) * (lines + 1) >= LEAST_CELLS and grid.page >= max(best.page, 1):
            best = grid
    return best


@dataclass(frozen=True, eq=False)
class Thumbnail:
    """A frame's small picture, None where it cannot be read; the frame's height by its width."""

    row: FrameRow
    frame: Reduced | None = None
    ratio: float = 0.0


class ContactSheet(Widget, can_focus=True):
    """Shows a page of the list; the cursor and the marked range are the list's own."""

    help_text = (
        "Frames of the list as small pictures; under each its number, score, state and flag. The arrows and j k move, "
        "ctrl+d and ctrl+u turn pages, and every key that decides does so here. Enter shows the frame large, c goes "
        "back to the list. ▶ is the cursor, ┃ a marked range."
    )

    class ThumbnailsLoaded(Message, bubble=False):
        """Thumbnails have been read."""

        def __init__(self, found: dict[int, Thumbnail]) -> None:
            super().__init__()
            self.found = found

    def __init__(
        self,
        candidates: CandidateList,
        standing: Standing,
        previewer: Previewer,
        store: RowStore,
        *,
        id: str | None = None,
    ) -> None:
        super().__init__(id=id)
        self._list, self._standing = candidates, standing
        self._previewer, self._store = previewer, store
        standing.on_change(self.refresh)
        self._kept: OrderedDict[int, Thumbnail] = OrderedDict()
        self._loading = False
        self._ratio = 0.0
        """Height of a frame by its width; 0 until one has been read."""
        self.look = Look()
        self.letters = False
        self._drawn: dict[int, list[Strip]] = {}
        self._drawn_for: tuple[object, ...] = ()

    @property
    def grid(self) -> Grid:
        """How the pane is parted now."""
        return grid_of(self.size.width, self.size.height, self._ratio or 0.5)

    @property
    def first(self) -> int:
        """The line of the list that the page begins with."""
        return self._list.cursor // self.grid.page * self.grid.page

    def show(self) -> None:
        """Show where the list's cursor stands."""
        if self.display:
            self._entitle()
            self._load_next()
            self.refresh()

    def change_look(self, look: Look) -> None:
        """Draw in another way; the frames need not be read again."""
        self.look = look
        self._entitle()
        self.refresh()

    def on_resize(self) -> None:
        """Part the pane anew."""
        self.show()

    def on_show(self) -> None:
        """Read what is missing."""
        self.show()

    def on_mount(self) -> None:
        """Draw without colour where there is none."""
        self.letters = self.letters or getattr(self.app, "letters", self.app.no_color)

    def on_contact_sheet_thumbnails_loaded(self, message: ThumbnailsLoaded) -> None:
        """Take thumbnails that were read."""
        self._loading = False
        for frame, found in message.found.items():
            self._kept[frame] = found
            self._ratio = self._ratio or found.ratio
            self._drawn.pop(frame, None)
        while len(self._kept) > THUMBNAILS_KEPT:
            self._kept.popitem(last=False)
        self._entitle()
        self.refresh()
        if message.found:
            self._load_next()

    def _ids(self, first: int) -> list[int]:
        return [int(frame) for frame in self._list.ids[max(first, 0) : max(first, 0) + self.grid.page]]

    def _load_next(self) -> None:
        """Read thumbnails of this page, then of the next one, so that they are there before the key."""
        if self._loading or not self.display or not self.size.width:
            return
        page = self.grid.page
        for first in (self.first, self.first + page):
            missing = [frame for frame in self._ids(first) if not self._current(frame)]
            if missing:
                self._loading = True
                self.run_worker(partial(self._load, missing[:AT_ONCE]), thread=True, group="sheet")
                return

    def _current(self, frame: int) -> bool:
        """Whether a thumbnail is there and of the frame as the list knows it."""
        if frame not in self._kept:
            return False
        known, row = self._list.known(frame), self._kept[frame].row
        return known is None or (known.key, known.digest) == (row.key, row.digest)

    def _load(self, ids: Sequence[int]) -> None:
        rows = self._store.fetch(ids)
        found: dict[int, Thumbnail] = {}
        for frame, row in rows.items():
            try:
                preview = self._previewer.load(row.key)
            except (TriageError, OSError, ValueError):
                found[frame] = Thumbnail(row)
            else:
                ratio = preview.pixels.shape[0] / preview.pixels.shape[1]
                grid = grid_of(self.size.width, self.size.height, self._ratio or ratio)
                small = reduced(preview, grid.width, 2 * grid.height, peaks=self.look.peaks)
                found[frame] = Thumbnail(row, small, ratio)
        self.post_message(self.ThumbnailsLoaded(found))

    def render_line(self, y: int) -> Strip:
        """A line of pictures, or of captions."""
        width, plain, grid = self.size.width, self.rich_style, self.grid
        wanted = (self.look, self.letters, grid)
        if wanted != self._drawn_for:
            self._drawn, self._drawn_for = {}, wanted
        row, line = divmod(y, grid.height + 1)
        parts: list[Segment] = []
        ids: Ids = self._list.ids
        for column in range(grid.across if row < grid.down else 0):
            place = self.first + row * grid.across + column
            if place >= len(ids):
                break
            frame = int(ids[place])
            parts += self._caption(frame, place, grid) if line == grid.height else self._picture(frame, line, grid)
            parts.append(Segment(" "))
        used = sum(segment.cell_length for segment in parts)
        parts.append(Segment(" " * (width - used)))
        return Strip([Segment(part.text, part.style or plain) for part in parts]).crop(0, width)

    def _picture(self, frame: int, line: int, grid: Grid) -> list[Segment]:
        thumbnail = self._kept.get(frame)
        if thumbnail is None or thumbnail.frame is None:
            text = "" if line != grid.height // 2 else "…" if thumbnail is None else "cannot be read"
            return [Segment(text[: grid.width].center(grid.width))]
        drawn = self._drawn.get(frame)
        if drawn is None:
            picture = levels_of(thumbnail.frame, self.look)
            lines = letters_of(picture) if self.letters else cells_of(picture, self.look.colours)
            drawn = self._drawn[frame] = [Strip(segments) for segments in lines]
        if not line < len(drawn):
            return [Segment(" " * grid.width)]
        strip = drawn[line].crop(0, grid.width)
        before = (grid.width - strip.cell_length) // 2
        return [Segment(" " * before), *strip, Segment(" " * (grid.width - strip.cell_length - before))]

    def _caption(self, frame: int, place: int, grid: Grid) -> list[Segment]:
        here = place == self._list.cursor
        marker = ("▶" if here else " ") + ("┃" if place in self._list.marked else " ")
        row = self._kept[frame].row if frame in self._kept else self._list.known(frame)
        score = "" if row is None or row.score is None else f"{row.score:.2f}".removeprefix("0")
        letter, sign = self._standing.letter(frame), self._standing.sign(frame)
        left = f"{marker}{frame}"
        right = f" {letter}{sign}"
        if len(left) + len(score) + 1 + len(right) <= grid.width:
            left = f"{left} {score}"
        text = (left.ljust(grid.width - len(right)) + right)[-grid.width :]
        if here:
            return [Segment(text, self.rich_style + Style(bold=True, reverse=True))]
        return [Segment(text[:-2]), Segment(text[-2:-1], self.rich_style + letter_style(letter)), Segment(text[-1:])]

    def _entitle(self) -> None:
        total, page = len(self._list.ids), self.grid.page
        pages = -(-total // page)
        title = f"Contact sheet {total:,} · page {self.first // page + 1} of {max(pages, 1):,}"
        scale = "log" if self.look.log else "linear"
        entitle(self, title=title, subtitle=f"c list · enter large · {scale} · {self.look.colours}")
