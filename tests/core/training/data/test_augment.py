"""Augmentation keeps to the physics: photons are moved, lost or thinned, never made."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from photon_triage.core.common.errors import TrainingError
from photon_triage.core.training.data.augment import (
    AUGMENTATIONS,
    GAIN,
    augment,
    checked_augmentations,
    inverted,
    rotated,
)

HALF = np.array([20.0, -4.0], np.float32)
"""A beam beside the region, as on a half-plane detector."""
SHAPE = (24, 41)
BOX = np.array([0.3, 0.4, 0.2, 0.1], np.float32)
ANGLES = [0.3, 1.2, 2.0, math.pi, 3.9, 5.5]


def steps(center: NDArray[np.float32], shape: tuple[int, int] = SHAPE) -> tuple[NDArray[np.float64], ...]:
    """x and y of all pixels from the beam."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
    return x - center[0], y - center[1]


def pattern(x: NDArray[np.float64], y: NDArray[np.float64], angle: float = 0.0) -> NDArray[np.float32]:
    """A smooth pattern that obeys Friedel's law, turned by an angle."""
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    return np.asarray(200 + 100 * np.cos(along / 8) * np.cos(across / 15), np.float32)


@pytest.mark.parametrize("angle", ANGLES)
@pytest.mark.parametrize("center", [HALF, np.array([20.0, 12.0], np.float32)])
def test_turning_moves_each_photon_to_one_place(angle: float, center: NDArray[np.float32]) -> None:
    numbered = np.arange(1, 24 * 41 + 1, dtype=np.float32).reshape(SHAPE)
    turned = rotated(numbered, center, angle)
    used = turned[turned > 0]
    # About a beam within the frame, pixels out to the nearest edge have their mates on it.
    if center is not HALF:
        used = turned[np.hypot(*steps(center)) < 9]
    assert len(np.unique(used)) == len(used) > 200 and (used > 0).all()


@pytest.mark.parametrize("angle", ANGLES)
def test_a_turned_half_is_what_the_turned_particle_would_scatter(angle: float) -> None:
    x, y = steps(HALF)
    turned = rotated(pattern(x, y), HALF, angle)
    known = turned > 0
    assert known.mean() > 0.6, "Friedel's law fills what was not measured, but the gap and the far corners"
    # A slope of at most 100 / 8 counts a pixel in x and 100 / 15 in y, and pixels are found to about one and a half.
    assert np.abs(turned - pattern(x, y, angle))[known].max() < 1.6 * 100 * math.hypot(1 / 8, 1 / 15)


def test_half_a_turn_is_the_inversion() -> None:
    center = np.array([20.0, 12.0], np.float32)
    numbered = np.arange(1, 24 * 41 + 1, dtype=np.float32).reshape(SHAPE)
    turned, box = inverted(numbered, BOX, center)
    assert np.array_equal(turned[1:], numbered[1:][::-1, ::-1]) and not turned[0].any(), "row 0 has no mates"
    assert np.array_equal(rotated(numbered, center, math.pi)[1:], turned[1:])
    assert np.allclose(box, [0.7, 25 / 24 - 0.4, 0.2, 0.1])


def test_half_a_detector_is_mirrored_at_the_beam() -> None:
    numbered = np.arange(1, 24 * 41 + 1, dtype=np.float32).reshape(SHAPE)
    turned, box = inverted(numbered, BOX, np.array([22.0, -4.0], np.float32))
    assert np.array_equal(turned[:, 4:], numbered[:, 4:][:, ::-1]) and not turned[:, :4].any()
    assert np.allclose(box, [45 / 41 - 0.3, 0.4, 0.2, 0.1])


def test_frames_without_a_beam_are_not_turned() -> None:
    counts = np.random.default_rng(0).poisson(3, (20, *SHAPE)).astype(np.int16)
    boxes = np.tile(BOX, (20, 1))
    for centers in (None, np.full((20, 2), np.nan, np.float32)):
        turned, moved = augment(counts, boxes, np.random.default_rng(1), ("rotate", "friedel"), centers)
        assert np.array_equal(turned, counts) and np.array_equal(moved, boxes)


@pytest.mark.parametrize("name", ["rotate", "friedel", "mirror", "thin", "gaps"])
def test_photons_stay_whole_and_are_never_made(name: str) -> None:
    counts = np.random.default_rng(0).poisson(3, (20, *SHAPE)).astype(np.int16)
    given = counts.copy()
    turned, _ = augment(counts, np.tile(BOX, (20, 1)), np.random.default_rng(1), (name,), np.tile(HALF, (20, 1)))
    assert np.array_equal(counts, given) and np.array_equal(turned, turned.round()) and turned.dtype == np.float32
    changed = (turned != counts).any((1, 2))
    assert 3 < changed.sum() < 17, "half of them"
    for before, after in zip(counts[changed], turned[changed], strict=True):
        assert after.max() <= before.max() and after.sum() <= before.sum() * 1.05


def test_thinned_counts_are_those_of_a_weaker_pulse() -> None:
    counts = np.random.default_rng(0).poisson(20, (400, 30, 30)).astype(np.int16)
    thinned, _ = augment(counts, np.zeros((400, 4), np.float32), np.random.default_rng(0), ("thin",))
    mean, variance = thinned.mean((1, 2)), thinned.var((1, 2))
    assert np.corrcoef(mean, variance)[0, 1] > 0.95 and abs(np.mean(variance / mean) - 1) < 0.02, "Poisson's law holds"


def test_gaps_are_blind_and_the_rest_is_as_it_was() -> None:
    counts = np.ones((200, *SHAPE), np.int16)
    blinded, _ = augment(counts, np.zeros((200, 4), np.float32), np.random.default_rng(0), ("gaps",))
    blind = (blinded == 0).mean((1, 2))
    assert set(np.unique(blinded).tolist()) == {0, 1} and 0.4 < np.mean(blind > 0) < 0.6 and blind.max() < 0.12


def test_a_gain_is_one_factor_a_frame() -> None:
    counts = np.random.default_rng(0).poisson(9, (100, *SHAPE)).astype(np.int16) + np.int16(1)
    scaled, _ = augment(counts, np.zeros((100, 4), np.float32), np.random.default_rng(0), ("gain",))
    factors = scaled / counts
    assert np.allclose(factors.std((1, 2)), 0, atol=1e-5)
    assert factors.min() >= 1 / GAIN - 1e-6 and factors.max() <= GAIN + 1e-6 and np.mean(factors == 1) > 0.3


def test_names_of_augmentations() -> None:
    assert checked_augmentations("all") == AUGMENTATIONS and checked_augmentations("none") == ()
    assert checked_augmentations("thin, mirror") == ("mirror", "thin") == checked_augmentations(None)
    with pytest.raises(TrainingError, match="blur") as caught:
        checked_augmentations("thin,blur")
    assert all(name in str(caught.value.hint) for name in (*AUGMENTATIONS, "all", "none"))
