"""Simulated single-particle imaging: what was in the focus, and the photons the detector counted.

The geometry is that of the published PR772 experiment: 1.7 keV, 130 mm, a pnCCD of 75 µm pixels of which one half plane
(512 x 1024) counts. At its small angles a pattern is the squared modulus of the Fourier transform of the projected
density. Drift from run to run: background level and shape, beam centre, share of blanks, size, fluence, and a detector
gap that heats up.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_triage.core.frames import Geometry
from photon_triage.core.radial import q_map
from photon_triage.core.simulate.particles import (
    Floats,
    Scatterer,
    icosahedron_inradius,
    icosahedron_normals,
    polyhedron_thickness,
    random_rotation,
    sphere_thickness,
)

HEIGHT, WIDTH = 512, 1024
BEAM_X, BEAM_Y = 512.0, -4.0
NOMINAL = Geometry(
    photon_energy_ev=1700.0, detector_distance=0.130, pixel_size=75e-6, beam_center_x=BEAM_X, beam_center_y=BEAM_Y
)
"""What the facility's geometry file says; the true beam centre drifts by a few pixels from run to run."""

ROI_ROWS, ROI_COLUMNS = slice(0, 123), slice(392, 632)
WINDOW_ROWS, WINDOW_COLUMNS = slice(0, 256), slice(256, 768)
"""Scattering is computed in this window; beyond it less than 1 % of a particle's photons would fall."""

SHARES = {
    "single": 0.038,
    "multiple": 0.42,
    "wrong-size": 0.11,
    "water": 0.17,
    "aggregate": 0.09,
    "streak": 0.172,
}
"""What the hits are made of before any filter, such that 5 to 6 % of what a size window of 55-84 nm passes are singles,
as in the published test set (995 of 17,932)."""

SINGLE_SIZE_NM = (55.0, 84.0)
LOG10_PHOTONS = (2.7, 4.5)
"""Photons in the region of interest: log-uniform, so that intensities are heavy-tailed."""


@dataclass(frozen=True)
class Drift:
    """What changes from run to run."""

    background: float
    """Photons a pixel and frame far from the beam."""
    halo: float
    """Height of the background's halo about the beam, in units of the background."""
    halo_width: float
    """Its Gaussian width in pixels."""
    center_x: float
    center_y: float
    blanks: float
    """Share of frames without any particle."""
    size_nm: float
    """Mean diameter of the sample's particles."""
    log10_fluence: float
    """Shift of the photon counts' logarithm."""
    gap_heat: float
    """Photons a pixel and frame in the first rows beside the gap."""
    gain: float
    """Counts that the detector reads for a photon."""


@dataclass(frozen=True)
class DriftRange:
    """What the drift of a beamtime's runs is drawn from: ranges (low, high), or (mean, deviation) of a normal law."""

    log10_background: tuple[float, float] = (-2.0, -1.3)
    halo: tuple[float, float] = (0.0, 1.0)
    halo_width: tuple[float, float] = (100.0, 250.0)
    center_x: tuple[float, float] = (512.0, 2.0)
    center_y: tuple[float, float] = (-4.0, 1.5)
    size_nm: tuple[float, float] = (68.0, 1.5)
    log10_fluence: tuple[float, float] = (0.0, 0.08)
    heat_a_run: float = 0.02
    most_heat: float = 0.3
    gain: tuple[float, float] = (1.0, 1.0)


DRIFTS = {
    "usual": DriftRange(),
    "strong": DriftRange(
        log10_background=(-1.2, -0.7),
        halo=(1.0, 3.0),
        halo_width=(60.0, 150.0),
        center_x=(517.0, 2.0),
        center_y=(-7.0, 1.5),
        size_nm=(64.0, 1.5),
        log10_fluence=(-0.2, 0.08),
        heat_a_run=0.1,
        most_heat=1.0,
        gain=(1.4, 1.6),
    ),
}
"""Beamtimes by name. The embedded model has learned from "usual" ones and has not seen the like of "strong": several
times the background with a bright halo, a beam beside where the geometry says, smaller particles, another gain."""


def draw_drift(seed: int, run: int, blanks: float, kind: str = "usual") -> Drift:
    """The drift of a run: the same for the same seed, run and kind of beamtime, one of DRIFTS."""
    rng = np.random.default_rng([seed, run, 0xD81F7])
    ranges = DRIFTS[kind]
    return Drift(
        background=float(10 ** rng.uniform(*ranges.log10_background)),
        halo=float(rng.uniform(*ranges.halo)),
        halo_width=float(rng.uniform(*ranges.halo_width)),
        center_x=float(rng.normal(*ranges.center_x)),
        center_y=float(rng.normal(*ranges.center_y)),
        blanks=float(np.clip(blanks * rng.uniform(0.8, 1.2), 0.0, 1.0)),
        size_nm=float(rng.normal(*ranges.size_nm)),
        log10_fluence=float(rng.normal(*ranges.log10_fluence)),
        gap_heat=float(min(ranges.heat_a_run * run, ranges.most_heat) * rng.uniform(0.2, 1.0)),
        gain=float(rng.uniform(*ranges.gain)),
    )


def _about(geometry: Geometry, drift: Drift) -> Drift:
    """The same drift about the beam centre of another geometry."""
    x, y = geometry.beam_center_x, geometry.beam_center_y
    if x is None or y is None or (x, y) == (NOMINAL.beam_center_x, NOMINAL.beam_center_y):
        return drift
    return replace(drift, center_x=drift.center_x + x - BEAM_X, center_y=drift.center_y + y - BEAM_Y)


@dataclass(frozen=True)
class FocusTruth:
    """What was in the focus: class, sphere-equivalent diameter in nm (0 where it has none), photons in the ROI."""

    category: str
    diameter_nm: float
    photons: int


def detector_mask() -> NDArray[np.uint32]:
    """The detector's bad pixels, (512, 1024), in CXI's bits: 1 invalid (beam hole), 8 dead (lines), 4 hot."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint32)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    mask[(y + 4) ** 2 + (x - 511.5) ** 2 < 15**2] = 1
    mask[:, 511:513] = 1
    mask[:, 437] = 8
    mask[88, 512:] = 8
    mask[300:, 900:903] = 8
    rng = np.random.default_rng(772)
    hot = rng.integers(0, HEIGHT * WIDTH, 400)
    mask.reshape(-1)[hot] |= 4
    return mask


class SpiRun:
    """The frames of one simulated run, drawn independently of one another: frame i is the same in any order.

    blanks: mean share of empty frames; singles: share of the hits that are single particles of the right size, or None
    for that of SHARES. drift: one of DRIFTS. geometry: where another experiment with this detector stood.
    """

    shape, dtype = (HEIGHT, WIDTH), np.dtype(np.int16)

    def __init__(
        self,
        seed: int,
        run: int,
        *,
        blanks: float = 0.25,
        singles: float | None = None,
        drift: str = "usual",
        geometry: Geometry = NOMINAL,
    ) -> None:
        self.seed, self.run = seed, run
        self.drift = _about(geometry, draw_drift(seed, run, blanks, drift))
        self.shares = dict(SHARES)
        if singles is not None:
            others = 1 - self.shares["single"]
            self.shares = {name: share * (1 - singles) / others for name, share in SHARES.items()} | {"single": singles}
        total = sum(self.shares.values())
        self.shares = {name: share / total for name, share in self.shares.items()}
        self.bad = detector_mask()
        self.facts: dict[str, Any] = asdict(geometry)
        self._good = self.bad == 0
        # At these angles q is proportional to the radius, and so each axis has a q of its own.
        step = q_map(geometry, 1.0) or math.nan
        self._q_y = (np.arange(HEIGHT)[WINDOW_ROWS] - self.drift.center_y) * step
        self._q_x = (np.arange(WIDTH)[WINDOW_COLUMNS] - self.drift.center_x) * step
        self._scatterer = Scatterer(self._q_y, self._q_x)
        self._normals = icosahedron_normals()
        self._in_roi = np.zeros((HEIGHT, WIDTH), bool)
        self._in_roi[ROI_ROWS, ROI_COLUMNS] = True
        self._in_roi = (self._in_roi & self._good)[WINDOW_ROWS, WINDOW_COLUMNS]
        self._background = np.cumsum(self._background_rate() * self._good)

    def frame(self, index: int) -> tuple[NDArray[np.int16], FocusTruth]:
        """Frame `index`: counts (512, 1024) int16, 0 where the mask is bad, and what was in the focus.

        They are photons, where the drift has no gain but 1.
        """
        rng = np.random.default_rng([self.seed, self.run, index])
        frame = _poisson(self._background, rng).reshape(HEIGHT, WIDTH)
        if rng.random() < self.drift.blanks:
            return self._read_out(frame), FocusTruth("blank", 0.0, 0)
        names = list(self.shares)
        category = names[int(rng.choice(len(names), p=list(self.shares.values())))]
        intensity, diameter = getattr(self, "_" + category.replace("-", "_"))(rng)
        wanted = 10 ** (rng.uniform(*LOG10_PHOTONS) + self.drift.log10_fluence)
        rate = intensity * (wanted / intensity[self._in_roi].sum()) * self._good[WINDOW_ROWS, WINDOW_COLUMNS]
        signal = _poisson(np.cumsum(rate), rng).reshape(rate.shape)
        frame[WINDOW_ROWS, WINDOW_COLUMNS] += signal
        return self._read_out(frame), FocusTruth(category, diameter, int(signal[self._in_roi].sum()))

    def _read_out(self, photons: NDArray[np.int16]) -> NDArray[np.int16]:
        """The counts that the detector tells for photons."""
        if self.drift.gain == 1:
            return photons
        counts: NDArray[np.int16] = np.rint(photons * self.drift.gain).astype(np.int16)
        return counts

    def _background_rate(self) -> Floats:
        drift = self.drift
        y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float64)
        squared = (y - drift.center_y) ** 2 + (x - drift.center_x) ** 2
        rate = drift.background * (1 + drift.halo * np.exp(-squared / (2 * drift.halo_width**2)))
        rate[:3] += drift.gap_heat
        return np.asarray(rate)

    def _sample_size(self, rng: np.random.Generator) -> float:
        while True:
            size = rng.normal(self.drift.size_nm, 5.0)
            if SINGLE_SIZE_NM[0] <= size <= SINGLE_SIZE_NM[1]:
                return float(size)

    def _icosahedron(self, rng: np.random.Generator, diameter: float) -> Floats:
        return polyhedron_thickness(self._normals @ random_rotation(rng).T, icosahedron_inradius(diameter))

    def _single(self, rng: np.random.Generator) -> tuple[Floats, float]:
        size = self._sample_size(rng)
        return _intensity(self._scatterer.amplitude(self._icosahedron(rng, size))), size

    def _multiple(self, rng: np.random.Generator) -> tuple[Floats, float]:
        count = int(rng.choice([2, 3, 4], p=[0.7, 0.2, 0.1]))
        amplitude = self._scatterer.amplitude(self._icosahedron(rng, self._sample_size(rng)))
        for _ in range(count - 1):
            distance, angle = rng.uniform(90, 500), rng.uniform(0, 2 * math.pi)
            offset = (distance * math.sin(angle), distance * math.cos(angle))
            share = math.sqrt(rng.uniform(0.25, 1.0))
            other = self._scatterer.amplitude(self._icosahedron(rng, self._sample_size(rng)), offset)
            amplitude = amplitude + other * np.complex64(share * np.exp(1j * rng.uniform(0, 2 * math.pi)))
        return _intensity(amplitude), 0.0

    def _aggregate(self, rng: np.random.Generator) -> tuple[Floats, float]:
        """Particles that stick together, smaller than the sample's own."""
        size = rng.uniform(25, 45)
        offset, amplitude = (0.0, 0.0), self._scatterer.amplitude(self._icosahedron(rng, size))
        for _ in range(int(rng.integers(1, 5))):
            angle = rng.uniform(0, 2 * math.pi)
            reach = size * rng.uniform(0.6, 1.0)
            offset = (offset[0] + reach * math.sin(angle), offset[1] + reach * math.cos(angle))
            amplitude = amplitude + self._scatterer.amplitude(self._icosahedron(rng, size), offset)
        return _intensity(amplitude), 0.0

    def _wrong_size(self, rng: np.random.Generator) -> tuple[Floats, float]:
        size = float(rng.uniform(30, 52) if rng.random() < 0.5 else rng.uniform(88, 125))
        return _intensity(self._scatterer.amplitude(self._icosahedron(rng, size))), size

    def _water(self, rng: np.random.Generator) -> tuple[Floats, float]:
        size = float(np.clip(rng.normal(70, 16), 30, 130))
        return _intensity(self._scatterer.amplitude(sphere_thickness(size))), size

    def _streak(self, rng: np.random.Generator) -> tuple[Floats, float]:
        """The edge of the jet: a line through the beam, in two cases of three with a particle beside it."""
        angle = rng.uniform(0, math.pi)
        along = self._q_x[None, :] * math.cos(angle) + self._q_y[:, None] * math.sin(angle)
        across = -self._q_x[None, :] * math.sin(angle) + self._q_y[:, None] * math.cos(angle)
        width = rng.uniform(0.006, 0.03)
        streak = np.exp(-((across / width) ** 2)) / (1 + (along / 0.08) ** 2) ** rng.uniform(0.7, 1.2)
        streak /= streak[self._in_roi].sum()
        if rng.random() < 1 / 3:
            return streak, 0.0
        particle, _ = self._single(rng)
        return streak * rng.uniform(0.2, 2.0) + particle / particle[self._in_roi].sum(), 0.0


def _intensity(amplitude: NDArray[np.complex64]) -> Floats:
    return np.asarray(amplitude.real**2 + amplitude.imag**2, np.float64)


def _poisson(cumulative: Floats, rng: np.random.Generator) -> NDArray[np.int16]:
    """Independent Poisson counts (n,) int16 of pixels whose rates have this cumulative sum.

    Drawn as a Poisson number of photons, each of which falls on a pixel with a probability in proportion to its rate;
    that is the same law, and quick where most pixels stay empty.
    """
    total = cumulative[-1]
    where = np.searchsorted(cumulative, np.sort(rng.random(rng.poisson(total))) * total, side="right")
    counts = np.bincount(where, minlength=len(cumulative))[: len(cumulative)]
    return np.minimum(counts, np.iinfo(np.int16).max).astype(np.int16)
