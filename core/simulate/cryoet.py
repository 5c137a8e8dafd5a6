"""Simulated cryo-electron tomograms: slices through minicells whose membranes carry injectisomes.

Densities are drawn slice by slice, then seen as a low-dose microscope would: the contrast transfer function of a
defocused lens, an envelope, a missing wedge that weakens one direction, and noise stronger than the signal. Drift from
run to run: cells, distance between the membranes, defocus, dose, envelope, direction of the wedge.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_triage.core.simulate.minicells import MEMBRANE_HALF, REACH, Minicell, density, membrane
from photon_triage.core.simulate.volume import Image, SliceTruth, SmoothNoise, filtered, frequencies

CLASSES = ("background", "membrane")

SLICE_STEP = 3.0
"""Distance in z from slice to slice in pixels."""

NOMINAL_SIZE = 512
PIXEL_NM = 1.2
FACTS: dict[str, Any] = {"pixel_size": PIXEL_NM * 1e-9}
"""What the file says beside the slices: the side of a pixel in m."""

WAVELENGTH_NM = 1.97e-3
"""Of electrons of 300 keV."""
AMPLITUDE_CONTRAST = 0.1

GREY, CONTRAST = 128.0, 30.0
"""8-bit grey of empty ice, and the deviation of a slice's noise."""

_MARGIN = 24
"""Pixels computed beyond each border, so that filters do not carry one border's objects to the other."""

_NOISE_CUT = 0.28
"""Cycles a pixel beyond which a reconstruction's noise falls off."""

_BEADS = 5
_APART = 26.0


@dataclass(frozen=True)
class CryoetDrift:
    """What changes from run to run."""

    defocus_um: float
    envelope_nm: float
    """Width of the Gaussian envelope, as a blur in nm."""
    signal: float
    """Contrast of density 1 at full transfer, in deviations of the noise: how much the dose allowed."""
    wedge: float
    """Direction in radians of the wave vectors that the missing wedge weakens."""
    wedge_loss: float
    gap: float
    """Distance between the membranes in pixels."""
    crowding: float
    """Unrest of the cytoplasm."""


def draw_drift(seed: int, run: int) -> CryoetDrift:
    """The drift of a run: the same for the same seed and run."""
    rng = np.random.default_rng([seed, run, 0xC480])
    return CryoetDrift(
        defocus_um=float(rng.uniform(4.5, 6.5)),
        envelope_nm=float(rng.uniform(1.1, 1.4)),
        signal=float(rng.uniform(12.0, 15.0)),
        wedge=float(math.pi / 2 + rng.normal(0, 0.1)),
        wedge_loss=float(rng.uniform(0.5, 0.8)),
        gap=float(rng.uniform(16, 19)),
        crowding=float(rng.uniform(0.15, 0.3)),
    )


class CryoetRun:
    """The slices of one simulated tomogram, endless in z; a slice is the same in whatever order they are asked for.

    size: side of a slice in pixels; smaller slices hold smaller cells, with objects of the same size on them.
    """

    dtype = np.dtype(np.uint8)
    bad: NDArray[np.bool_] | None = None
    facts = FACTS

    def __init__(self, seed: int, run: int, size: int = NOMINAL_SIZE) -> None:
        self.seed, self.run, self.shape = seed, run, (size, size)
        self.drift = draw_drift(seed, run)
        wide = size + 2 * _MARGIN
        self._padded = (wide, wide)
        self._y, self._x = (axis.astype(np.float32) - _MARGIN for axis in np.mgrid[:wide, :wide])
        self.cells = self._draw_cells()
        self._crowd = SmoothNoise((seed, run, 7), wide, 3.0, 9.0)
        self._transfer = _transfer(wide, self.drift)
        self._noise = _noise(wide, self.drift)

    def frame(self, index: int) -> tuple[NDArray[np.uint8], SliceTruth]:
        """Slice `index`: grey values (size, size) uint8, dense is dark; where the membranes and the objects are."""
        z = index * SLICE_STEP
        dense = np.zeros(self._padded, np.float32)
        classes = np.zeros(self._padded, np.uint8)
        crowd = self._crowd.at(z)
        points: list[tuple[int, int]] = []
        for cell in self.cells:
            points += self._draw_cell(cell, z, dense, classes, crowd)
        self._draw_beads(z, dense)
        rng = np.random.default_rng([self.seed, self.run, index, 0xE7])
        white = rng.standard_normal(self._padded, np.float32)
        image = filtered((dense, self._transfer), (white, self._noise))
        grey = np.clip(np.rint(GREY + CONTRAST * image), 0, 255).astype(np.uint8)
        inside = (slice(_MARGIN, -_MARGIN),) * 2
        return grey[inside], SliceTruth(classes[inside], CLASSES, tuple(points))

    def _draw_cells(self) -> tuple[Minicell, ...]:
        """Cells that keep apart, as many as find a place in a number of tries."""
        rng = np.random.default_rng([self.seed, self.run, 0xCE115])
        size = self.shape[0]
        kept: list[tuple[float, float, float]] = []
        for _ in range(60):
            y, x = rng.uniform(0, size, 2)
            radius = size / NOMINAL_SIZE * rng.uniform(85, 135)
            if all(math.hypot(y - b, x - a) > 1.13 * (radius + other) + _APART for b, a, other in kept):
                kept.append((y, x, radius))
        return tuple(
            Minicell((self.seed, self.run, number), (y, x), radius, self.drift.gap)
            for number, (y, x, radius) in enumerate(kept)
        )

    def _draw_cell(
        self, cell: Minicell, z: float, dense: Image, classes: NDArray[np.uint8], crowd: Image
    ) -> list[tuple[int, int]]:
        """Add a cell's density and class to a slice; returns the objects to find."""
        window = self._window(*cell.center(z), 1.5 * cell.radius + REACH)
        outer, inner = cell.depths(self._y[window], self._x[window], z)
        dense[window] += membrane(outer) + membrane(inner)
        dense[window] += (inner < -MEMBRANE_HALF) * (0.15 + self.drift.crowding * crowd[window])
        classes[window][(np.abs(outer) <= MEMBRANE_HALF) | (np.abs(inner) <= MEMBRANE_HALF)] = 1
        for y, x, radius in cell.blobs(z):
            near = self._window(y, x, radius + 2)
            away = np.hypot(self._y[near] - y, self._x[near] - x)
            dense[near] += 1.2 * np.clip(radius + 0.5 - away, 0, 1)
        points = []
        for site in cell.sites(z):
            y, x, normal = cell.place(site, z)
            near = self._window(y, x, REACH)
            down, right = self._y[near] - np.float32(y), self._x[near] - np.float32(x)
            outward = math.cos(normal) * right + math.sin(normal) * down
            across = math.cos(normal) * down - math.sin(normal) * right
            dense[near] += density(site, across, outward, cell.gap, site.share(z))
            if site.is_object(z) and 0 <= round(y) < self.shape[0] and 0 <= round(x) < self.shape[1]:
                points.append((round(x), round(y)))
        return points

    def _draw_beads(self, z: float, dense: Image) -> None:
        """Gold beads for alignment, much denser than anything else."""
        for block in (math.floor(z / 60), math.floor(z / 60) + 1):
            rng = np.random.default_rng([self.seed, self.run, 0x901D, block])
            for height, *place in rng.random((_BEADS, 3)):
                inside = 5.0**2 - ((z - (block - 0.5 + height) * 60) / 3) ** 2
                if inside > 0:
                    y, x = (part * side for part, side in zip(place, self.shape, strict=True))
                    near = self._window(y, x, 8)
                    away = np.hypot(self._y[near] - y, self._x[near] - x)
                    dense[near] += 5 * np.clip(math.sqrt(inside) + 0.5 - away, 0, 1)

    def _window(self, y: float, x: float, reach: float) -> tuple[slice, slice]:
        """The part of the arrays within `reach` of a point; empty where the point is far outside."""
        rows, columns = (
            slice(max(0, math.floor(at - reach) + _MARGIN), max(0, math.ceil(at + reach) + _MARGIN)) for at in (y, x)
        )
        return rows, columns


def _transfer(size: int, drift: CryoetDrift) -> Image:
    """From density to grey values in units of the noise: dense is dark.

    Contrast transfer sin χ + A cos χ with χ = πλΔf k², a Gaussian envelope, the wedge.
    """
    rows, columns = frequencies(size)
    squared = (rows**2 + columns**2) / PIXEL_NM**2
    phase = math.pi * WAVELENGTH_NM * drift.defocus_um * 1e3 * squared
    contrast = np.sin(phase) + AMPLITUDE_CONTRAST * np.cos(phase)
    envelope = np.exp(-2 * (math.pi * drift.envelope_nm) ** 2 * squared)
    return np.asarray(-drift.signal * contrast * envelope * _wedge(rows, columns, drift), np.float32)


def _noise(size: int, drift: CryoetDrift) -> Image:
    """Transfer function that gives white noise the colour of a reconstruction's, and leaves its deviation 1."""
    rows, columns = frequencies(size)
    coloured = np.exp(-(rows**2 + columns**2) / _NOISE_CUT**2) * _wedge(rows, columns, drift)
    return np.asarray(coloured / np.sqrt(np.mean(coloured**2)), np.float32)


def _wedge(rows: Image, columns: Image, drift: CryoetDrift) -> Image:
    """What is left of each wave vector: those near one direction were seen at few tilts."""
    direction = np.arctan2(rows, columns)
    off = np.abs(np.sin(direction - drift.wedge))
    return np.asarray(1 - drift.wedge_loss * np.exp(-((off / 0.45) ** 2)), np.float32)
