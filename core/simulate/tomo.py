"""Simulated micro-CT: reconstructed slices across a magnesium screw that degrades in bone.

A screw of threaded outline loses metal from its surface; corrosion products take its place and swell beyond it, and
trabecular bone grows up to them. The reconstruction adds blur, coloured noise, rings about the rotation axis, and the
cupping, dark halo and streaks of a hardened beam. Drift from run to run: contrast, grey values of bone and corrosion,
noise, blur, artefacts, and how far the screw has degraded. All lengths are in pixels of a slice of 512 x 512.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_triage.core.simulate.volume import Image, SliceTruth, SmoothNoise, filtered, frequencies, gaussian_transfer

CLASSES = ("background", "bone", "corrosion", "implant")
BACKGROUND, BONE, CORROSION, IMPLANT = range(4)

SLICE_STEP = 1.5
"""Distance in z from slice to slice."""

NOMINAL_SIZE = 512
FACTS: dict[str, Any] = {"pixel_size": 5e-6}
"""What the file says beside the slices: the side of a voxel in m."""

AIR, RESIN, METAL = 0.06, 0.25, 0.88
BLACK, WHITE = 9000.0, 42000.0
"""16-bit grey values of attenuation 0 and 1, before a run's gain and offset."""


@dataclass(frozen=True)
class TomoDrift:
    """What changes from run to run; grey values in units of the attenuation scale."""

    gain: float
    offset: float
    bone: float
    corrosion: float
    noise: float
    blur: float
    rings: float
    streaks: float
    cupping: float
    core: float
    """Radius of the screw without its thread."""
    thread: float
    """Height of the thread."""
    pitch: float
    loss: float
    """Mean depth to which metal is lost."""
    swelling: float
    """Mean height of the corrosion products above the screw's first surface."""
    trabeculae: float
    """Level above which the bone's random field is bone; lower is denser."""


def draw_drift(seed: int, run: int) -> TomoDrift:
    """The drift of a run: the same for the same seed and run."""
    rng = np.random.default_rng([seed, run, 0x70D0])
    bone = rng.uniform(0.50, 0.60)
    return TomoDrift(
        gain=float(rng.uniform(0.75, 1.15)),
        offset=float(rng.uniform(-0.05, 0.15)),
        bone=float(bone),
        corrosion=float(bone + rng.uniform(0.07, 0.15)),
        noise=float(rng.uniform(0.07, 0.14)),
        blur=float(rng.uniform(1.0, 1.7)),
        rings=float(rng.uniform(0.02, 0.06)),
        streaks=float(rng.uniform(0.02, 0.08)),
        cupping=float(rng.uniform(0.03, 0.15)),
        core=float(rng.uniform(62, 82)),
        thread=float(rng.uniform(16, 24)),
        pitch=float(rng.uniform(70, 110)),
        loss=float(rng.uniform(6, 20)),
        swelling=float(rng.uniform(2, 9)),
        trabeculae=float(rng.uniform(0.45, 0.85)),
    )


class TomoRun:
    """The slices of one simulated volume, endless in z; a slice is the same in whatever order they are asked for.

    size: side of a slice in pixels; the sample scales with it, noise and blur do not.
    """

    dtype = np.dtype(np.uint16)
    bad: NDArray[np.bool_] | None = None
    facts = FACTS

    def __init__(self, seed: int, run: int, size: int = NOMINAL_SIZE) -> None:
        self.seed, self.run, self.shape = seed, run, (size, size)
        self.drift = draw_drift(seed, run)
        self._unit = size / NOMINAL_SIZE
        unit = self._unit

        def noise(tag: int, length: float, depth: float) -> SmoothNoise:
            return SmoothNoise((seed, run, tag), size, length * unit, depth)

        self._bone, self._slow, self._loss = noise(1, 7, 14), noise(2, 45, 60), noise(3, 9, 18)
        self._swelling, self._fine = noise(4, 12, 24), noise(5, 2, 5)
        rng = np.random.default_rng([seed, run, 0x5CAF])
        self._y, self._x = (axis.astype(np.float32) for axis in np.mgrid[:size, :size])
        # Rings lie about the rotation axis, which misses the middle of the slice by a little.
        axis_y, axis_x = size / 2 + rng.normal(0, 4 * unit, 2)
        away = np.hypot(self._y - axis_y, self._x - axis_x)
        self._ring = away.astype(np.intp)
        self._field = (away / (size / 2)).astype(np.float32)
        self._profiles = _rough(rng, (2, int(self._ring.max()) + 1))
        self._spokes = _rough(rng, (2, 720))
        self._place = rng.uniform(-30, 30, 2) * unit
        self._phase = rng.uniform(0, 2 * math.pi, 4)
        rows, columns = frequencies(size)
        radial = np.hypot(rows, columns)
        self._blur = gaussian_transfer(size, self.drift.blur)
        # Filtered back-projection leaves noise that grows with frequency up to the filter's end.
        ramp = np.sqrt(radial) * gaussian_transfer(size, 0.7 * self.drift.blur)
        self._noise = np.asarray(ramp / np.sqrt(np.mean(ramp**2)), np.float32)

    def frame(self, index: int) -> tuple[NDArray[np.uint16], SliceTruth]:
        """Slice `index`: grey values (size, size) uint16, and each pixel's material."""
        z = index * SLICE_STEP
        y, x = self._axis_of_screw(z)
        away = np.hypot(self._y - y, self._x - x)
        angle = np.arctan2(self._y - y, self._x - x)
        depth = away - self._surface(angle, z)
        classes, attenuation = self._materials(depth, z)
        rng = np.random.default_rng([self.seed, self.run, index, 0xF4])
        white = rng.standard_normal(self.shape, np.float32) * np.float32(self.drift.noise)
        image = filtered((attenuation, self._blur), (white, self._noise))
        image = self._artefacts(image, depth, angle, z)
        grey = BLACK + (WHITE - BLACK) * (self.drift.gain * image + self.drift.offset)
        # 65535 would be read as a gap.
        return np.clip(np.rint(grey), 0, 65534).astype(np.uint16), SliceTruth(classes, CLASSES)

    def _axis_of_screw(self, z: float) -> tuple[float, float]:
        """The screw stands a little askew, so that its axis wanders from slice to slice."""
        middle = self.shape[0] / 2
        sway = 12 * self._unit * np.sin(z / 300 + self._phase[:2])
        return float(middle + self._place[0] + sway[0]), float(middle + self._place[1] + sway[1])

    def _surface(self, angle: Image, z: float) -> Image:
        """Radius of the screw as it was implanted, at every pixel's angle."""
        turn = (z / self.drift.pitch - angle / np.float32(2 * math.pi)) % 1
        flank = np.clip((np.abs(2 * turn - 1) - 0.45) / 0.35, 0, 1)
        return np.asarray(self._unit * (self.drift.core + self.drift.thread * flank), np.float32)

    def _materials(self, depth: Image, z: float) -> tuple[NDArray[np.uint8], Image]:
        """Each pixel's class and attenuation; depth: distance outward from the screw's first surface."""
        unit, drift = self._unit, self.drift
        bone, slow, loss = self._bone.at(z), self._slow.at(z), self._loss.at(z)
        swelling, fine = self._swelling.at(z), self._fine.at(z)
        metal = depth < -unit * np.maximum(drift.loss * (1 + 0.8 * loss), 1.0)
        products = (depth < unit * drift.swelling * (1 + 0.9 * swelling)) & ~metal
        sample = self._field < 0.93
        # Bone is denser beside the implant, where it grows in.
        grown = 0.8 * np.exp(-np.maximum(depth, 0) / (45 * unit))
        trabecula = (bone + grown + 0.5 * slow > drift.trabeculae) & sample & ~metal & ~products
        classes = np.select([metal, products, trabecula], [IMPLANT, CORROSION, BONE], BACKGROUND).astype(np.uint8)
        lacuna = fine > 2.2
        crack = np.abs(swelling - loss) < 0.06
        attenuation = np.select(
            [metal, products & crack, products, trabecula & lacuna, trabecula, sample],
            [
                np.float32(METAL),
                np.float32(0.6 * drift.corrosion),
                drift.corrosion + 0.07 * fine + 0.04 * loss,
                np.float32(0.65 * drift.bone),
                drift.bone + 0.04 * slow + 0.02 * fine,
                RESIN + 0.02 * slow,
            ],
            AIR,
        )
        return classes, attenuation.astype(np.float32)

    def _artefacts(self, image: Image, depth: Image, angle: Image, z: float) -> Image:
        drift, unit = self.drift, self._unit
        outward = np.maximum(depth + drift.loss * unit, 0)
        mixture = np.array([math.cos(z / 40 + self._phase[2]), math.sin(z / 40 + self._phase[2])])
        spoke = ((angle + math.pi) * (719 / (2 * math.pi))).astype(np.intp)
        streaks = (mixture @ self._spokes)[spoke] * np.exp(-outward / (90 * unit)) * (outward > 0)
        halo = np.exp(-outward / (10 * unit)) * (outward > 0)
        rings = (mixture @ self._profiles)[self._ring]
        cupped = image * (1 - drift.cupping * np.clip(1 - self._field**2, 0, 1))
        return np.asarray(cupped + drift.streaks * (streaks - halo) + drift.rings * rings, np.float32)


def _rough(rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Profiles of small unrest with a few strong lines, as detector elements that answer differently leave them."""
    calm = 0.6 * rng.standard_normal(shape)
    strong = rng.standard_normal(shape) * 3 * (rng.random(shape) < 0.03)
    lines = calm + strong
    lines[:, 1:] = (lines[:, 1:] + lines[:, :-1]) / math.sqrt(2)
    return np.asarray(lines)
