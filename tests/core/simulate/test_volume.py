from __future__ import annotations

import numpy as np
import pytest

from photon_triage.core.simulate.volume import SmoothNoise, filtered, gaussian_transfer


def test_smooth_noise_keeps_its_variance_between_the_planes() -> None:
    noise = SmoothNoise((1, 2), 128, 2.0, 10.0)
    slices = [noise.at(z) for z in (0.0, 3.0, 5.0, 10.0)]
    assert [field.std() for field in slices] == pytest.approx([1.0] * 4, abs=0.05)
    assert abs(float(slices[1].mean())) < 0.05


def test_smooth_noise_changes_slowly_and_is_the_same_in_any_order() -> None:
    noise = SmoothNoise((1, 2), 64, 2.0, 10.0)
    near, far = noise.at(50.5), noise.at(80.0)
    first = noise.at(50.0)
    assert np.array_equal(SmoothNoise((1, 2), 64, 2.0, 10.0).at(50.0), first)
    assert np.corrcoef(first.ravel(), near.ravel())[0, 1] > 0.95
    assert abs(np.corrcoef(first.ravel(), far.ravel())[0, 1]) < 0.5


def test_a_gaussian_transfer_blurs_a_point_to_its_width() -> None:
    image = np.zeros((64, 64), np.float32)
    image[32, 32] = 1
    blurred = filtered((image, gaussian_transfer(64, 3.0)))
    y, x = np.mgrid[:64, :64] - 32
    assert np.allclose(blurred, np.exp(-(y**2 + x**2) / 18) / (18 * np.pi), atol=1e-6)
