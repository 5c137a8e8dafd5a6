"""Distances from the beam: which q they are, the mean counts at each, and the sphere that fits them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from photon_triage.core.frames import Geometry

if TYPE_CHECKING:
    import torch

Radius = TypeVar("Radius", float, "NDArray[np.float64]", "torch.Tensor")

SMOOTHED_RINGS = 7
"""Over as many rings the variance of a fit's weights is taken, as the size stage does."""


@dataclass(frozen=True, eq=False)
class RadialProfile:
    """Counts by distance from the beam, in rings one pixel wide.

    counts: (radii,) float64, summed over each ring. pixels: (radii,) float64, how many valid pixels a ring holds.
    """

    counts: NDArray[np.float64]
    pixels: NDArray[np.float64]

    @property
    def means(self) -> NDArray[np.float64]:
        """(radii,) counts a pixel; 0 where a ring holds none."""
        return self.counts / np.maximum(self.pixels, 1)


def unknown_of(geometry: Geometry) -> str:
    """What a geometry lacks to say which q a pixel is at, in words: "geometry" for all of it, "" for nothing."""
    known = {
        "photon energy": geometry.photon_energy_ev,
        "distance": geometry.detector_distance,
        "pixel size": geometry.pixel_size,
        "beam centre": None if geometry.beam_center_y is None else geometry.beam_center_x,
    }
    lacking = [name for name, value in known.items() if value is None]
    return "geometry" if len(lacking) == len(known) else ", ".join(lacking)


def radius_at(geometry: Geometry, q: float) -> float | None:
    """Distance from the beam in pixels at which q (nm⁻¹) is scattered: D/p · tan 2θ with q = 4π/λ · sin θ.

    The detector is flat and the beam meets it at a right angle. None where the geometry is incomplete, or where that q
    goes backwards or nowhere.
    """
    if not (geometry.wavelength and geometry.detector_distance and geometry.pixel_size):
        return None
    sine = q * geometry.wavelength * 1e9 / (4 * math.pi)
    if not 0 <= sine < math.sqrt(0.5):
        return None
    return math.tan(2 * math.asin(sine)) * geometry.detector_distance / geometry.pixel_size


def q_map(geometry: Geometry, radius: Radius) -> Radius | None:
    """Momentum transfer in nm⁻¹ at distances from the beam in pixels, of the same shape; the inverse of `radius_at`.

    q = 4π/λ · sin θ with tan 2θ = r p/D. None where the geometry is incomplete. With t = tan 2θ and s = √(1 + t²),
    sin θ is t / √(2s(s + 1)): arithmetic alone, so that one formula serves numbers, arrays and tensors on any device,
    and nothing cancels at small angles in single precision.
    """
    if not (geometry.wavelength and geometry.detector_distance and geometry.pixel_size):
        return None
    tangent = radius * (geometry.pixel_size / geometry.detector_distance)
    secant = (1 + tangent * tangent) ** 0.5
    q: Radius = tangent * (4 * math.pi / (geometry.wavelength * 1e9)) / (2 * secant * (secant + 1)) ** 0.5
    return q


def sphere_form_factor(q: NDArray[np.float64], diameter_nm: float | NDArray[np.float64]) -> NDArray[np.float64]:
    """Amplitude that a sphere scatters relative to q = 0: 3 (sin x - x cos x)/x³ with x = q d/2 (Rayleigh 1911).

    q in nm⁻¹ and diameter_nm: of shapes that broadcast.
    """
    x = np.maximum(q * diameter_nm / 2, 1e-3)  # below, rounding outweighs what the amplitude lacks to 1
    return np.asarray(3 * (np.sin(x) - x * np.cos(x)) / x**3)


def radial_profile(pixels: NDArray[np.float32], valid: NDArray[np.bool_], x: float, y: float) -> RadialProfile:
    """The profile of (height, width) pixels about x, y in the same pixels; the centre may lie outside."""
    height, width = pixels.shape
    squares = np.square(np.arange(height) - y)[:, None] + np.square(np.arange(width) - x)[None]
    rings = np.sqrt(squares, dtype=np.float32).round().astype(np.intp)[valid]
    counts = np.bincount(rings, pixels[valid], minlength=1)
    return RadialProfile(counts.astype(np.float64), np.bincount(rings, minlength=1).astype(np.float64))


def sphere_profile(
    profile: RadialProfile, q: NDArray[np.float64], diameter_nm: float, reach: int
) -> NDArray[np.float64]:
    """(radii,) counts a pixel of the sphere of that diameter: a · F²(q, d) + b, fitted to the rings below `reach`.

    q: (radii,) in nm⁻¹, see `q_map`. F is the sphere's form factor; a and b are found by least squares with Poisson
    weights, as in the size stage.
    """
    radii = np.arange(len(profile.counts))
    form = np.square(sphere_form_factor(q, diameter_nm))
    kernel = np.ones(SMOOTHED_RINGS)
    variance = (np.convolve(profile.counts, kernel, "same") + 1) / np.maximum(
        np.convolve(profile.pixels, kernel, "same"), 1
    )
    weight = np.where(radii < reach, profile.pixels / variance, 0.0)
    total = weight.sum()
    if total <= 0:
        return np.zeros(len(radii))
    mean, form_mean = (weight @ profile.means) / total, (weight @ form) / total
    spread = weight @ np.square(form - form_mean)
    slope = max(float(weight @ ((form - form_mean) * (profile.means - mean)) / spread), 0.0) if spread > 0 else 0.0
    return np.asarray(mean + slope * (form - form_mean))
