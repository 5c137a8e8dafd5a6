"""What of a screen is rendered anew: no widget in which nothing has changed, and none that others cover."""

from __future__ import annotations

from collections.abc import Sequence

from textual._compositor import ChopsUpdate, Compositor
from textual.geometry import Region
from textual.strip import Strip

Chops = dict[int, Strip | None]
"""The pieces of a line by the column that each begins at; None where nothing has been rendered."""


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
