from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from photon_triage.core.common.errors import RecipeError
from photon_triage.core.frames import Batch, FrameKey, Geometry
from photon_triage.core.radial import q_map, sphere_form_factor
from photon_triage.core.recipe import ClassifyStage
from photon_triage.core.simulate.spi import NOMINAL
from photon_triage.core.stages.classify import ClassifyProfile
from photon_triage.core.stages.rings import RingSums
from photon_triage.models.nets.radial_net import ProfileClassifier, RadialNet, profile_input

BINS, Q_MAX, HEIGHT, WIDTH = 40, 0.4, 96, 192
HERE = replace(NOMINAL, beam_center_x=96.0, beam_center_y=-4.0)


def batch_of(frames: torch.Tensor, valid: torch.Tensor | None = None, geometry: Geometry = HERE) -> Batch:
    return Batch(tuple(FrameKey("f", "d", place) for place in range(len(frames))), frames, valid, geometry)


def q_of_pixels() -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(HEIGHT) + 4.0, torch.arange(WIDTH) - 96.0, indexing="ij")
    q = q_map(HERE, torch.hypot(y, x).double())
    assert q is not None
    return q


def sphere(diameter: float = 70.0) -> torch.Tensor:
    intensity = 1e4 * np.square(sphere_form_factor(q_of_pixels().numpy(), diameter))
    return torch.from_numpy(intensity).float()[None]


def test_the_profile_of_a_sphere_is_its_form_factor() -> None:
    counts, pixels = RingSums(BINS, Q_MAX)(batch_of(sphere()))
    q, step = q_of_pixels(), Q_MAX / BINS
    for ring in range(5, BINS):
        fine = np.linspace(ring * step, (ring + 1) * step, 101)
        values = 1e4 * np.square(sphere_form_factor(fine, 70.0))
        mean = float(counts[0, ring] / pixels[0, ring])
        assert values.min() * 0.999 <= mean <= values.max() * 1.001
        assert pixels[0, ring] == ((q >= ring * step) & (q < (ring + 1) * step)).sum()


def test_masks_and_gaps_do_not_move_the_mean() -> None:
    flat = torch.full((1, HEIGHT, WIDTH), 3.0)
    valid = torch.ones(HEIGHT, WIDTH, dtype=torch.bool)
    valid[:, ::3] = False
    gap = flat.clone()
    gap[:, 10:20] = -1
    whole, all_pixels = RingSums(BINS, Q_MAX)(batch_of(flat))
    for frames, mask in ((flat, valid), (gap, None), (gap, valid)):
        counts, pixels = RingSums(BINS, Q_MAX)(batch_of(frames, mask))
        assert pixels.sum() < all_pixels.sum() and torch.equal(counts, 3 * pixels)
    assert torch.equal(whole, 3 * all_pixels)


def test_without_a_geometry_it_says_what_is_not_known() -> None:
    with pytest.raises(RecipeError, match="photon energy"):
        RingSums(BINS, Q_MAX)(batch_of(sphere(), geometry=replace(HERE, photon_energy_ev=None)))


def test_the_stage_scores_by_the_network() -> None:
    torch.manual_seed(0)
    network = RadialNet(BINS, Q_MAX).eval()
    classifier = ProfileClassifier(network, ("other", "single"))
    frames = torch.cat([sphere(60.0), sphere(75.0), 0 * sphere()])
    result = ClassifyProfile(
        ClassifyStage(kind="classify", model="any", threshold=0.5), classifier, torch.device("cpu")
    )(batch_of(frames))
    counts, pixels = RingSums(BINS, Q_MAX)(batch_of(frames))
    expected = torch.softmax(network(profile_input(counts, pixels)), 1)[:, 1]
    assert result.score is not None and torch.allclose(result.score, expected)
    assert torch.equal(result.passed, expected >= 0.5)
