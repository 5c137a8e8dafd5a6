"""Which frames of a file: a set of indices kept as ranges, so that a million frames in a row cost as much as one."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

Span = tuple[int, int]
"""Frames start .. stop-1."""


class Spans:
    """Ranges of frames, sorted, apart from each other."""

    __slots__ = ("_starts", "_stops")

    def __init__(self, spans: Iterable[Span] = ()) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []
        for start, stop in spans:
            self.add(start, stop)

    def __iter__(self) -> Iterator[Span]:
        return zip(self._starts, self._stops, strict=True)

    def __bool__(self) -> bool:
        return bool(self._starts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Spans) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Spans({list(self)})"

    def __str__(self) -> str:
        """For people: 3, 7-9."""
        return ", ".join(str(start) if stop == start + 1 else f"{start}-{stop - 1}" for start, stop in self)

    def __contains__(self, index: int) -> bool:
        place = bisect_right(self._starts, index) - 1
        return place >= 0 and index < self._stops[place]

    @property
    def count(self) -> int:
        """How many frames."""
        return sum(self._stops) - sum(self._starts)

    @property
    def reach(self) -> int:
        """One past the last frame; 0 where there is none."""
        return self._stops[-1] if self._stops else 0

    def add(self, start: int, stop: int) -> None:
        """Take in frames start .. stop-1."""
        if start >= stop:
            return
        low, high = bisect_left(self._stops, start), bisect_right(self._starts, stop)
        if low < high:
            start, stop = min(start, self._starts[low]), max(stop, self._stops[high - 1])
        self._starts[low:high], self._stops[low:high] = [start], [stop]

    def remove(self, start: int, stop: int) -> None:
        """Take out frames start .. stop-1."""
        if start >= stop:
            return
        low, high = bisect_right(self._stops, start), bisect_left(self._starts, stop)
        if low >= high:
            return
        before, after = (self._starts[low], start), (stop, self._stops[high - 1])
        kept = [span for span in (before, after) if span[0] < span[1]]
        self._starts[low:high] = [span[0] for span in kept]
        self._stops[low:high] = [span[1] for span in kept]

    def without(self, other: Spans) -> Spans:
        """These frames less those of `other`."""
        left = Spans(self)
        for start, stop in other:
            left.remove(start, stop)
        return left

    def gaps(self, stop: int) -> Spans:
        """Of the frames 0 .. stop-1, those that are not here."""
        return Spans([(0, stop)]).without(self)

    def first(self, other: Spans) -> Span | None:
        """The first run of frames of `other` that are not here, None where all are."""
        for start, stop in other:
            place = bisect_right(self._starts, start) - 1
            while start < stop and place >= 0 and start < self._stops[place]:
                start = self._stops[place]
                place += 1
                if place == len(self._starts) or self._starts[place] > start:
                    break
            if start < stop:
                place = bisect_left(self._starts, start)
                return start, min(stop, self._starts[place]) if place < len(self._starts) else stop
        return None


def runs_of(indices: Iterable[int]) -> Iterator[Span]:
    """Indices as runs start .. stop-1 of those that follow each other, in their order."""
    start = stop = -1
    for index in map(int, indices):
        if index != stop:
            if stop > start:
                yield start, stop
            start = index
        stop = index + 1
    if stop > start:
        yield start, stop
