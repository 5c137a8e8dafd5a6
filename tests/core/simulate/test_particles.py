from __future__ import annotations

import numpy as np
import pytest

from photon_triage.core.radial import sphere_form_factor
from photon_triage.core.simulate.particles import (
    GRID_SPACING_NM,
    Scatterer,
    icosahedron_inradius,
    icosahedron_normals,
    polyhedron_thickness,
    random_rotation,
    sphere_thickness,
)

STEP = 4.97e-3
Q_Y, Q_X = np.arange(0, 120) * STEP, np.arange(-120, 120) * STEP


@pytest.mark.parametrize("diameter", [40.0, 70.0, 120.0])
def test_a_sphere_scatters_by_its_form_factor(diameter: float) -> None:
    amplitude = Scatterer(Q_Y, Q_X).amplitude(sphere_thickness(diameter))
    q = np.hypot(Q_Y[:, None], Q_X[None, :])
    expected = sphere_form_factor(q, diameter) * np.pi / 6 * diameter**3
    assert np.abs(amplitude - expected).max() < 2e-3 * expected.max()


@pytest.mark.parametrize("seed", range(5))
def test_an_icosahedron_keeps_its_volume_in_every_orientation(seed: int) -> None:
    rotation = random_rotation(np.random.default_rng(seed))
    thickness = polyhedron_thickness(icosahedron_normals() @ rotation.T, icosahedron_inradius(70))
    assert thickness.sum() * GRID_SPACING_NM**2 == pytest.approx(np.pi / 6 * 70**3, rel=2e-3)


def test_rotations_are_rotations() -> None:
    rotation = random_rotation(np.random.default_rng(3))
    assert np.allclose(rotation @ rotation.T, np.eye(3)) and np.linalg.det(rotation) == pytest.approx(1)


def test_two_particles_interfere_with_the_period_of_their_distance() -> None:
    scatterer = Scatterer(Q_Y, Q_X)
    body = sphere_thickness(50)
    pair = np.abs(scatterer.amplitude(body) + scatterer.amplitude(body, (0.0, 200.0))) ** 2
    single = np.abs(scatterer.amplitude(body)) ** 2
    assert np.allclose(pair, single * 4 * np.cos(Q_X * 200 / 2)[None, :] ** 2, atol=1e-3 * pair.max())
