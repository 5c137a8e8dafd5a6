"""Rings about the beam at round values of q or of the resolution d."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from photon_triage.core.frames import Geometry
from photon_triage.core.radial import q_at, radius_at, unknown_of
from photon_triage.core.session.store.preview import Preview

RINGS = ("off", "q", "d")
UNITS = {"q": "nm⁻¹", "d": "Å"}
LEAST_RINGS = 3
MOST_RINGS = 6
LEAST_GAP = 7.0
"""Pixels of the picture between two rings, at the least."""
ROUND_D = (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 7.0)
"""Resolutions in Å, and ten and a hundred times these, that a ring may be at."""
DOT = 2.0
"""Pixels of the picture from one dot of a ring to the next."""


@dataclass(frozen=True)
class Rings:
    """Circles on a frame: their centre and radii in pixels of the whole frame, each with the text at it."""

    x: float
    y: float
    radii: tuple[float, ...]
    labels: tuple[str, ...]

    def on(self, shape: tuple[int, ...], preview: Preview) -> NDArray[np.bool_]:
        """(rows, columns) bool of a picture of that shape, true on a ring."""
        rows, columns = shape
        scale, x, y = self._placed(columns, preview)
        across, down = np.arange(columns) + 0.5 - x, np.arange(rows) + 0.5 - y
        distance = np.hypot(down[:, None], across[None])
        angle = np.arctan2(down[:, None], across[None]) + math.pi
        found = np.zeros((rows, columns), bool)
        for radius in self.radii:
            dots = np.floor(angle * radius * scale / DOT).astype(np.intp) % 2 == 0
            found |= (np.abs(distance - radius * scale) < 0.5) & dots
        return found

    def texts(self, shape: tuple[int, ...], preview: Preview) -> list[tuple[int, int, str]]:
        """(line, column, text) in cells of a picture of that shape: the labels, where the rings are seen best."""
        rows, columns = shape
        scale, x, y = self._placed(columns, preview)
        best: list[tuple[int, int, str]] = []
        for across, down in ((1, 0), (-1, 0), (0, 1), (0, -1), (0.7, 0.7), (-0.7, 0.7), (0.7, -0.7), (-0.7, -0.7)):
            placed: list[tuple[int, int, str]] = []
            for radius, label in zip(self.radii, self.labels, strict=True):
                column, row = x + across * radius * scale, y + down * radius * scale
                line, left = int(row // 2), int(column - len(label) / 2)
                free = all(line != other or left > start + len(text) for other, start, text in placed)
                if 0 <= row < rows and 0 <= left <= columns - len(label) and free:
                    placed.append((line, left, label))
            if len(placed) > len(best):
                best = placed
        return best

    def _placed(self, columns: int, preview: Preview) -> tuple[float, float, float]:
        """Pixels of the picture in one of the frame, and the centre in pixels of the picture."""
        scale = columns / preview.pixels.shape[1]
        return scale, (self.x + 0.5 - preview.left) * scale, (self.y + 0.5 - preview.top) * scale


def rings_of(geometry: Geometry, preview: Preview, kind: str, scale: float) -> Rings | str:
    """Rings of a kind ("q" or "d") for a frame drawn `scale` times as large, or why there are none."""
    x, y = geometry.beam_center_x, geometry.beam_center_y
    if (unknown := unknown_of(geometry)) or x is None or y is None:
        return f"no rings: {unknown} unknown"
    reach = _reach(preview, x, y)
    largest = q_at(geometry, reach) or 0.0
    values = _round_q(largest) if kind == "q" else _round_d(largest)
    gap = max(LEAST_GAP / scale, reach / (MOST_RINGS + 1))
    radii: list[float] = []
    labels: list[str] = []
    for q, label in values:
        radius = radius_at(geometry, q)
        if radius is None or radius > reach:
            break
        if radius - (radii[-1] if radii else 0.0) >= gap:
            radii.append(radius)
            labels.append(label)
    return Rings(x, y, tuple(radii), tuple(labels)) if radii else "no rings: none fits the frame"


def _reach(preview: Preview, x: float, y: float) -> float:
    """The longest distance from the beam that is seen, straight across or down."""
    height, width = preview.pixels.shape
    left, top = x - preview.left, y - preview.top
    return float(max(abs(left), abs(left - width), abs(top), abs(top - height)))


def _round_q(largest: float) -> list[tuple[float, str]]:
    """Multiples of a round step up to the largest q in nm⁻¹."""
    if largest <= 0:
        return []
    steps = [factor * 10.0**power for power in range(-4, 4) for factor in (1, 2, 5)]
    step = max((step for step in steps if largest / step >= LEAST_RINGS), default=steps[0])
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return [(step * place, f"{step * place:.{decimals}f}") for place in range(1, int(largest / step) + 1)]


def _round_d(largest: float) -> list[tuple[float, str]]:
    """Round resolutions in Å from the coarsest that a ring may be at to the finest that the largest q gives."""
    finest = 20 * math.pi / largest if largest > 0 else math.inf
    found = sorted({value * factor for factor in (1.0, 10.0, 100.0) for value in ROUND_D}, reverse=True)
    return [(20 * math.pi / d, f"{d:g}") for d in found if d >= finest]
