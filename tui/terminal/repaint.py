"""Repainting: only what differs is rendered and sent, for lines of 30 kB/s."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence

from rich.color import ColorSystem
from rich.console import Console
from rich.control import Control
from rich.style import Style
from textual._compositor import ChopsUpdate, Compositor, CompositorUpdate, LayoutUpdate
from textual._types import MessageTarget
from textual.geometry import Region
from textual.screen import Screen
from textual.strip import Strip
from textual.timer import EventTargetGone, Timer

Chops = dict[int, Strip | None]
"""The pieces of a line by the column that each begins at; None where nothing has been rendered."""
REST_S = 0.004
"""Between two paintings, so that what changes at about the same time is painted in one stroke."""
GAP_CELLS = 8
"""Equal cells between two changes that are sent again: to move the terminal's cursor costs as much."""
PICTURE_CELLS = 4
"""Cells a segment below which a line is a picture's: it has changed all over, and telling where takes long."""


class NarrowCompositor(Compositor):
    """Renders the lines of widgets in which something has changed.

    Textual's own renders every widget that lies between the topmost and the lowest change: a key that moves a cursor
    while a number changes in the first line would have it render the whole screen.
    """

    def render_partial_update(self) -> ChopsUpdate | None:
        """What has changed since the last update; None where nothing has."""
        spans = list(self._regions_to_spans(region for region in self._dirty_regions if region))
        self._dirty_regions.clear()
        spans = [span for span in spans if 0 <= span[0] < self.size.height]
        if not spans:
            return None
        cuts = self.cuts
        chops: list[Chops] = [dict.fromkeys(line[:-1]) for line in cuts]
        missing: dict[int, set[int]] = {}
        for y, left, right in spans:
            ends = zip(cuts[y], cuts[y][1:], strict=False)
            missing.setdefault(y, set()).update(start for start, end in ends if start < right and end > left)
        for widget, (region, clip) in self.visible_widgets.items():  # the one in front comes first
            seen = region.intersection(clip)
            lines = [
                y for y, starts in missing.items() if seen.y <= y < seen.bottom and _meet(starts, seen.x, seen.right)
            ]
            if not lines:
                continue
            top, bottom = min(lines), max(lines) + 1
            crop = Region(seen.x - region.x, top - region.y, seen.width, bottom - top)
            strips = widget.render_lines(crop)
            for y in lines:
                _fill(chops[y], missing[y], cuts[y], seen, strips[y - top])
                if not missing[y]:
                    del missing[y]
        return ChopsUpdate(chops, spans, [line[1:] for line in cuts])


def _meet(starts: set[int], left: int, right: int) -> bool:
    return any(left <= start < right for start in starts)


def _fill(chops: Chops, missing: set[int], cuts: Sequence[int], seen: Region, strip: Strip) -> None:
    """Put the pieces of a widget's line where nothing in front of it stands."""
    edges = [cut for cut in cuts if seen.x <= cut <= seen.right]
    for start, piece in zip(edges, strip.divide([cut - seen.x for cut in edges[1:]]), strict=False):
        if start in missing:
            chops[start] = piece
            missing.remove(start)


class PaintTimer(Timer):
    """Paints shortly after it is resumed.

    Textual's own paints at the ticks of a clock of 60 Hz, and after each painting it passes over one: a key that comes
    after new numbers would be answered 17 to 33 ms late.
    """

    def __init__(self, target: MessageTarget, paint: Callable[[], None]) -> None:
        super().__init__(target, REST_S, name="paint", callback=paint, pause=True)

    async def _run(self) -> None:
        wanted: asyncio.Event = self._active
        while True:
            await wanted.wait()
            try:
                await self._tick(next_timer=0.0, count=1)
            except EventTargetGone:
                return
            await asyncio.sleep(REST_S)


class PromptScreen(Screen[None]):
    """A screen that paints at once what has changed, and renders no more than that."""

    def __init__(self) -> None:
        super().__init__()
        self._compositor = NarrowCompositor()
        self._paint_timer: Timer | None = None

    @property
    def _update_timer(self) -> Timer:
        if self._paint_timer is None:
            self._paint_timer = PaintTimer(self, self._on_timer_update)
            self._paint_timer._start()
            self._timers.add(self._paint_timer)
        return self._paint_timer


def sequences_of(strip: Strip, system: ColorSystem) -> str:
    """What a terminal is sent for a line of which every segment says both of its colours and nothing else.

    Rich begins and ends every segment anew; of a picture that is half of what is sent.
    """
    parts: list[str] = []
    before: Style | None = None
    for text, style, _ in strip:
        if style is not None and style is not before:
            parts.append(f"\x1b[{style._ansi or Strip.render_ansi(style, system)}m")
            before = style
        parts.append(text)
    return "".join([*parts, "\x1b[0m"])


def set_sequences(strip: Strip, sequences: str) -> None:
    """Have a line be sent as these sequences, without its segments being looked at again."""
    strip._render_cache = sequences


def bytes_of(strips: Iterable[Strip]) -> int:
    """About how many bytes these lines are sent as, where that was set."""
    return sum(len(strip._render_cache or "") for strip in strips)


class Painted:
    """The strips that were sent, by line and column."""

    def __init__(self) -> None:
        self._lines: dict[int, dict[int, Strip]] = {}
        self._region: Region | None = None

    def forget(self) -> None:
        """Nothing is known of the terminal: whatever comes next is sent whole."""
        self._lines = {}

    def forget_lines(self, start: int, stop: int) -> None:
        """Nothing is known of the lines start to stop - 1."""
        for y in range(start, stop):
            self._lines.pop(y, None)

    def difference(self, update: CompositorUpdate) -> StripUpdate:
        """What of an update does not stand there yet; it counts as sent."""
        if isinstance(update, LayoutUpdate) and update.region != self._region:
            self._region = update.region
            self.forget()
        return StripUpdate([piece for part in _parts(update) for piece in self._changes(*part)])

    def _changes(self, y: int, x: int, strip: Strip) -> Iterator[tuple[int, int, Strip]]:
        line = self._lines.setdefault(y, {})
        before, length = line.get(x), strip.cell_length
        if before is not None and before.cell_length == length:
            if before != strip:
                line[x] = strip
                for start, stop in _spans(before, strip):
                    yield x + start, y, strip.crop(start, stop)
            return
        for other in [at for at, old in line.items() if at < x + length and at + old.cell_length > x]:
            del line[other]
        line[x] = strip
        yield x, y, strip


class StripUpdate(CompositorUpdate):
    """Strips to write, each at its column and line."""

    def __init__(self, pieces: list[tuple[int, int, Strip]]) -> None:
        self.pieces = pieces

    def render_segments(self, console: Console) -> str:
        """The text and the escape sequences that a terminal is sent."""
        return "".join(Control.move_to(x, y).segment.text + strip.render(console) for x, y, strip in self.pieces)


class Together(CompositorUpdate):
    """Several updates as one; where they paint the same place, only the last one does."""

    def __init__(self, updates: Sequence[CompositorUpdate]) -> None:
        parts: dict[tuple[int, int, int], Strip] = {}
        for update in updates:
            for y, x, strip in _parts(update):
                place = (y, x, strip.cell_length)
                parts.pop(place, None)  # so that it comes after whatever else was painted there meanwhile
                parts[place] = strip
        self.parts = [(y, x, strip) for (y, x, _), strip in parts.items()]


def _parts(update: CompositorUpdate) -> Iterator[tuple[int, int, Strip]]:
    """Line, column and content of all strips that an update touches.

    A strip of a `ChopsUpdate` is whole, also where only a part of it is to be painted.
    """
    if isinstance(update, Together):
        yield from update.parts
    elif isinstance(update, LayoutUpdate):
        for y, strips in enumerate(update.strips, update.region.y):
            x = update.region.x
            for strip in strips:
                yield y, x, strip
                x += strip.cell_length
    elif isinstance(update, ChopsUpdate):
        for y, left, right in update.spans:
            for end, (x, chop) in zip(update.chop_ends[y], update.chops[y].items(), strict=False):
                if chop is not None and x < right and end > left:
                    yield y, x, chop


def _spans(before: Strip, after: Strip) -> Iterator[tuple[int, int]]:
    """The stretches of cells that differ, those with a short gap between them in one."""
    if len(after._segments) * PICTURE_CELLS > after.cell_length > PICTURE_CELLS**2:
        yield 0, after.cell_length
        return
    old, new = _cells(before), _cells(after)
    if not len(old) == len(new) == after.cell_length:  # characters of two cells: where they stand takes more to tell
        yield 0, after.cell_length
        return
    start = stop = -1
    for place, (was, now) in enumerate(zip(old, new, strict=True)):
        if was == now:
            continue
        if start >= 0 and place - stop > GAP_CELLS:
            yield start, stop
            start = place
        if start < 0:
            start = place
        stop = place + 1
    if start >= 0:
        yield start, stop


def _cells(strip: Strip) -> list[tuple[str, Style | None]]:
    return [(letter, segment.style) for segment in strip for letter in segment.text]
