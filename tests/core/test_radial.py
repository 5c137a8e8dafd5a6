"""Distances from the beam, the profile over them, and the sphere that fits it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from photon_triage.core.frames import Geometry
from photon_triage.core.radial import q_at, radial_profile, radius_at, sphere_profile, unknown_of

PNCCD = Geometry(1700.0, 0.13, 75e-6, 100.0, -3.0)
EIGER = Geometry(12_400.0, 0.2, 75e-6, 1030.0, 1080.0)


@given(st.floats(0.0, 3000.0))
def test_radius_and_q_are_each_others_inverse(radius: float) -> None:
    q = q_at(EIGER, radius)
    assert q is not None
    assert radius_at(EIGER, q) == pytest.approx(radius, abs=1e-6)


def test_the_edge_of_a_detector_has_the_resolution_that_crystallographers_compute() -> None:
    # d = λ / (2 sin(½ atan(r/D))): 12.4 keV, 1000 pixels of 75 µm at 200 mm.
    q = q_at(EIGER, 1000)
    assert q is not None
    wavelength = 12398.41984 / 12_400
    assert 20 * math.pi / q == pytest.approx(wavelength / (2 * math.sin(0.5 * math.atan(0.075 / 0.2))), rel=1e-9)


def test_at_small_angles_q_is_that_of_the_size_stage() -> None:
    assert PNCCD.q_per_pixel is not None
    assert q_at(PNCCD, 50) == pytest.approx(50 * PNCCD.q_per_pixel, rel=1e-3)


def test_no_pixel_is_at_a_q_that_goes_backwards() -> None:
    assert radius_at(EIGER, 1e4) is None


@pytest.mark.parametrize("field", ["photon_energy_ev", "detector_distance", "pixel_size", "beam_center_x"])
def test_what_a_geometry_lacks_is_named(field: str) -> None:
    from dataclasses import replace

    lacking = replace(PNCCD, **{field: None})
    assert unknown_of(lacking) and not unknown_of(PNCCD)
    if field != "beam_center_x":
        assert q_at(lacking, 10.0) is None and radius_at(lacking, 0.1) is None


def test_the_profile_is_the_mean_of_the_valid_pixels_of_each_ring() -> None:
    y, x = np.mgrid[:60, :80]
    pixels = np.hypot(y - 10, x - 90).round().astype(np.float32)
    valid = np.ones(pixels.shape, bool)
    valid[20:30, 20:30] = False
    pixels[~valid] = 1e6
    profile = radial_profile(pixels, valid, 90.0, 10.0)
    filled = profile.pixels > 0
    assert profile.pixels.sum() == valid.sum() and not filled[:10].any()
    assert np.array_equal(profile.means[filled], np.flatnonzero(filled))


@pytest.mark.parametrize("diameter", [60.0, 70.5, 80.0])
def test_the_sphere_of_the_right_diameter_fits_a_noisy_sphere_best(diameter: float) -> None:
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:123, :240]
    radius = np.hypot(y + 3, x - 120)
    assert PNCCD.q_per_pixel is not None
    z = np.maximum(radius, 1) * PNCCD.q_per_pixel * diameter / 2
    expected = 300 * (3 * (np.sin(z) - z * np.cos(z)) / z**3) ** 2 + 0.05
    frame = rng.poisson(expected).astype(np.float32)
    profile = radial_profile(frame, np.ones(frame.shape, bool), 120.0, -3.0)

    def misfit(tried: float) -> float:
        fitted = sphere_profile(profile, PNCCD.q_per_pixel or 0, tried, 120)
        return float(np.sum(np.square(fitted - profile.means)[:120] * profile.pixels[:120]))

    assert min(np.arange(50, 95, 2.5), key=misfit) == pytest.approx(diameter, abs=2.5)


def test_an_empty_frame_has_a_flat_sphere() -> None:
    profile = radial_profile(np.zeros((20, 20), np.float32), np.zeros((20, 20), bool), 10.0, 10.0)
    assert not sphere_profile(profile, 0.005, 70.0, 10).any()
