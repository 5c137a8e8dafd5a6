"""The radial profile of the frame on the screen, with the sphere that the size stage has fitted."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from textual.content import Content

from photon_triage.core.radial import RadialProfile, q_map, sphere_profile
from photon_triage.tui.widgets.pane import Pane, bars
from photon_triage.tui.widgets.pictures import Picture

AXIS = 8
"""Cells for the axis."""
DECADES = 4.0
"""The profile is drawn over so many powers of ten at most."""
SPHERE = "○"
LEAST_OVERLAID = 4
"""Lines from which the sphere is drawn over the counts; on fewer it has a line of its own."""
LEAST_PIXELS = 8.0
"""Rings of fewer valid pixels are left out: their mean says nothing."""


class RadialPane(Pane):
    """Mean counts by distance from the beam, logarithmic, as bars; the fitted sphere as circles over them."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__("Radial profile", id=id)
        self._picture: Picture | None = None

    def show(self, picture: Picture | None) -> None:
        """Take another picture."""
        self._picture = picture
        self._redraw()

    def on_resize(self) -> None:
        """Fit the bars to the width."""
        self._redraw()

    def _redraw(self) -> None:
        picture = self._picture
        width, height = self.size.width - AXIS, self.size.height
        if picture is None or picture.preview is None or width < 10 or height < 1:
            self.put(Content(""))
            return
        profile = picture.profile
        if profile is None:
            self.set_title("Radial profile")
            self.set_subtitle("")
            centre = " none: the beam centre is known neither from the file nor from the recipe"
            self.put(Content(centre if picture.counts else " none: these are images, without a beam"))
            return
        means, sphere, title = _means(profile), _sphere(picture, profile), "Radial profile  █ mean counts"
        if sphere is not None:
            sign = SPHERE if height >= LEAST_OVERLAID else "▂"
            title += f"  {sign} sphere of {picture.row.measures['diameter_nm']:g} nm"
            if (quality := picture.row.measures.get("size_quality")) is not None:
                title += f", quality {quality:.2f}"
        self.set_title(title)
        self.set_subtitle(_scale(picture, len(means)))
        self.put(_chart(means, sphere, width, height))


def _means(profile: RadialProfile) -> NDArray[np.float64]:
    """(radii,) mean counts, NaN where too few pixels are; without an end that is nothing but these."""
    means = np.where(profile.pixels >= LEAST_PIXELS, profile.means, np.nan)
    filled = np.flatnonzero(profile.pixels >= LEAST_PIXELS)
    return means[: filled[-1] + 1] if len(filled) else means[:0]


def _sphere(picture: Picture, profile: RadialProfile) -> NDArray[np.float64] | None:
    diameter = picture.row.measures.get("diameter_nm")
    q = q_map(picture.finds.geometry, np.arange(len(profile.counts), dtype=np.float64))
    if not diameter or q is None or picture.preview is None:
        return None
    return sphere_profile(profile, q, diameter, max(picture.preview.pixels.shape) // 2)


def _scale(picture: Picture, radii: int) -> str:
    """What the horizontal axis is, at its ends."""
    q = q_map(picture.finds.geometry, float(radii))
    return f"q 0 … {q:.3g} nm⁻¹ · log" if q is not None else f"0 … {radii} pixels from the beam · log"


def _chart(means: NDArray[np.float64], sphere: NDArray[np.float64] | None, width: int, height: int) -> Content:
    """Lines of bars on a logarithmic scale; the sphere's circles stand in the cell that its value lies in."""
    edges = np.linspace(0, len(means), width + 1).astype(int)
    spans = [slice(start, max(stop, start + 1)) for start, stop in pairwise(edges)]
    shown = [_mean(means[span]) for span in spans]
    fitted = [] if sphere is None else [_mean(sphere[span]) for span in spans]
    top = max((value for value in shown if value > 0), default=0.0)
    if top <= 0:
        return Content(" no counts")
    least = min(value for value in shown if value > 0)
    low = max(math.log10(least), math.log10(top) - DECADES) - 0.1
    reach = math.log10(top) - low

    def drawn(values: list[float], rows: int) -> list[str]:
        return bars([max(math.log10(value) - low, 0.0) if value > 0 else 0.0 for value in values], rows, reach)

    if height < LEAST_OVERLAID and fitted:
        lines = [*drawn(shown, height - 1), *drawn(fitted, 1)]
        heads = {0: "counts", height - 1: "sphere"}
    else:
        cells = [list(line) for line in drawn(shown, height)]
        for column, value in enumerate(fitted):
            at = (math.log10(value) - low) / reach if value > 0 else -1.0
            if 0 <= at <= 1:
                cells[height - 1 - min(int(at * height), height - 1)][column] = SPHERE
        lines = ["".join(line) for line in cells]
        heads = {height - 1: f"{10**low:.1g}", 0: f"{top:.0f}" if top >= 10 else f"{top:.2g}"}
    axis = AXIS - 2
    marked = ((heads.get(place, ""), line) for place, line in enumerate(lines))
    text = "\n".join(f"{head:>{axis}} {'┤' if head else '│'}{line}" for head, line in marked)
    return Content(text).highlight_regex(SPHERE, style="bold $text-accent")


def _mean(values: NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else 0.0
