"""Distances from the beam, the profile over them, and the sphere that fits it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from photon_triage.core.frames import Geometry
from photon_triage.core.radial import q_map, radial_profile, radius_at, sphere_form_factor, sphere_profile, unknown_of

PNCCD = Geometry(1700.0, 0.13, 75e-6, 100.0, -3.0)
EIGER = Geometry(12_400.0, 0.2, 75e-6, 1030.0, 1080.0)


@given(st.floats(0.0, 3000.0))
def test_radius_and_q_are_each_others_inverse(radius: float) -> None:
    q = q_map(EIGER, radius)
    assert q is not None
    assert radius_at(EIGER, q) == pytest.approx(radius, abs=1e-6)


def test_the_edge_of_a_detector_has_the_resolution_that_crystallographers_compute() -> None:
    # d = λ / (2 sin(½ atan(r/D))): 12.4 keV, 1000 pixels of 75 µm at 200 mm.
    q = q_map(EIGER, 1000.0)
    assert q is not None
    wavelength = 12398.41984 / 12_400
    assert 20 * math.pi / q == pytest.approx(wavelength / (2 * math.sin(0.5 * math.atan(0.075 / 0.2))), rel=1e-9)


def test_at_small_angles_q_is_proportional_to_the_radius() -> None:
    per_pixel = 2 * math.pi * 75e-6 / 0.13 / ((PNCCD.wavelength or 0) * 1e9)
    assert q_map(PNCCD, 50.0) == pytest.approx(50 * per_pixel, rel=1e-3)
    assert q_map(PNCCD, 1e-3) == pytest.approx(1e-3 * per_pixel, rel=1e-12)


def test_numbers_arrays_and_tensors_have_the_same_q() -> None:
    radii = np.array([0.0, 1e-3, 1.0, 50.0, 3000.0])
    q = q_map(EIGER, radii)
    assert q is not None
    assert q.tolist() == [q_map(EIGER, radius) for radius in radii.tolist()]
    single = q_map(EIGER, torch.from_numpy(radii).float())
    assert single is not None and single.dtype == torch.float32
    assert np.allclose(single.numpy(), q, rtol=1e-6)


def test_no_pixel_is_at_a_q_that_goes_backwards() -> None:
    assert radius_at(EIGER, 1e4) is None


@pytest.mark.parametrize("field", ["photon_energy_ev", "detector_distance", "pixel_size", "beam_center_x"])
def test_what_a_geometry_lacks_is_named(field: str) -> None:
    from dataclasses import replace

    lacking = replace(PNCCD, **{field: None})
    assert unknown_of(lacking) and not unknown_of(PNCCD)
    if field != "beam_center_x":
        assert q_map(lacking, 10.0) is None and radius_at(lacking, 0.1) is None


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
    q = q_map(PNCCD, radius)
    assert q is not None
    expected = 300 * sphere_form_factor(q, diameter) ** 2 + 0.05
    frame = rng.poisson(expected).astype(np.float32)
    profile = radial_profile(frame, np.ones(frame.shape, bool), 120.0, -3.0)

    rings = q_map(PNCCD, np.arange(len(profile.counts), dtype=np.float64))
    assert rings is not None

    def misfit(tried: float) -> float:
        fitted = sphere_profile(profile, rings, tried, 120)
        return float(np.sum(np.square(fitted - profile.means)[:120] * profile.pixels[:120]))

    assert min(np.arange(50, 95, 2.5), key=misfit) == pytest.approx(diameter, abs=2.5)


def test_an_empty_frame_has_a_flat_sphere() -> None:
    profile = radial_profile(np.zeros((20, 20), np.float32), np.zeros((20, 20), bool), 10.0, 10.0)
    assert not sphere_profile(profile, np.zeros(len(profile.counts)), 70.0, 10).any()


def test_the_form_factor_is_1_at_the_beam_and_0_at_its_first_minimum() -> None:
    # tan x = x at x = 4.4934: the first root of sin x - x cos x.
    form = sphere_form_factor(np.array([0.0, 1e-9, 2 * 4.493409457909064 / 70]), 70.0)
    assert form == pytest.approx([1, 1, 0], abs=1e-6)
