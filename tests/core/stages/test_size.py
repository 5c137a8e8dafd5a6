from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from photon_triage.core.common.errors import RecipeError
from photon_triage.core.frames import Batch, FrameKey, Geometry
from photon_triage.core.radial import q_map, radial_profile, sphere_form_factor, sphere_profile
from photon_triage.core.recipe import Roi, SizeStage
from photon_triage.core.simulate.spi import NOMINAL, SpiRun
from photon_triage.core.stages.size import Size

TABLE = SizeStage(kind="size", min_diameter_nm=55, max_diameter_nm=84)
REGION = Roi(top=0, left=0, height=123, width=240)
GEOMETRY = Geometry(1700.0, 0.130, 75e-6, 120.0, -4.0)


def sphere_frame(diameter: float, photons: float, seed: int = 0, geometry: Geometry = GEOMETRY) -> torch.Tensor:
    y = torch.arange(123.0) + 4
    x = torch.arange(240.0) - 120
    q = q_map(geometry, torch.hypot(y[:, None], x[None, :]).double())
    assert q is not None
    rate = torch.from_numpy(sphere_form_factor(q.numpy(), diameter)) ** 2
    rate = torch.where(q < 0.07, 0.0, rate)
    rate = rate * photons / rate.sum() + 0.02
    return torch.poisson(rate, generator=torch.Generator().manual_seed(seed)).float()


def size_of(frames: torch.Tensor, geometry: Geometry = GEOMETRY) -> tuple[list[float], list[float], list[bool]]:
    keys = tuple(FrameKey("f", "", index) for index in range(len(frames)))
    valid = torch.ones(frames.shape[-2:], dtype=torch.bool)
    valid[:14, 106:135] = False
    result = Size(TABLE, REGION)(Batch(keys, frames, valid, geometry))
    return result.columns["diameter_nm"].tolist(), result.columns["size_quality"].tolist(), result.passed.tolist()


@pytest.mark.parametrize("diameter", [40.0, 55.5, 70.0, 83.0, 110.0])
def test_spheres_are_measured_to_a_nanometre(diameter: float) -> None:
    measured, quality, passed = size_of(sphere_frame(diameter, 20_000)[None])
    assert measured[0] == pytest.approx(diameter, abs=1.0)
    assert quality[0] > 0.9 and passed[0] == (55 <= diameter <= 84)


WIDE = replace(GEOMETRY, photon_energy_ev=400.0, detector_distance=0.012)
"""The region's corner is at 2θ = 47°, where q falls short of what small angles would have by a fifth."""


@pytest.mark.parametrize("diameter", [30.0, 50.0, 70.0])
def test_at_large_angles_the_size_is_that_of_the_radial_profile(diameter: float) -> None:
    frame = sphere_frame(diameter, 200_000, geometry=WIDE)
    measured, quality, _ = size_of(frame[None], WIDE)
    assert measured[0] == pytest.approx(diameter, abs=0.5) and quality[0] > 0.9
    valid = np.ones(frame.shape, bool)
    valid[:14, 106:135] = False
    profile = radial_profile(frame.numpy(), valid, 120.0, -4.0)
    q = q_map(WIDE, np.arange(len(profile.counts), dtype=np.float64))
    assert q is not None

    def misfit(tried: float) -> float:
        fitted = sphere_profile(profile, q, tried, 120)
        return float(np.sum(np.square(fitted - profile.means)[:120] * profile.pixels[:120]))

    assert min(np.arange(measured[0] - 5, measured[0] + 5, 0.5), key=misfit) == pytest.approx(measured[0], abs=1.0)


def test_weak_spheres_are_measured_with_less_quality() -> None:
    strong, weak = size_of(torch.stack([sphere_frame(70, 20_000), sphere_frame(70, 600)]))[1]
    assert 0.3 < weak < strong


def test_no_particle_has_no_quality() -> None:
    flat = torch.poisson(torch.full((1, 123, 240), 0.03), generator=torch.Generator().manual_seed(1))
    assert size_of(flat)[1][0] < 0.3


def test_simulated_singles_are_measured_to_their_diameter() -> None:
    run = SpiRun(11, 1, blanks=0.0, singles=1.0)
    frames, truths = zip(*(run.frame(index) for index in range(12)), strict=True)
    stack = torch.stack([torch.from_numpy(frame).float() for frame in frames])
    keys = tuple(FrameKey("f", "", index) for index in range(len(frames)))
    roi = Roi(top=0, left=392, height=123, width=240)
    found = replace(NOMINAL, beam_center_x=run.drift.center_x, beam_center_y=run.drift.center_y)
    result = Size(TABLE, roi)(Batch(keys, stack, torch.from_numpy(run.bad == 0), found))
    errors = [
        abs(measured - truth.diameter_nm)
        for measured, truth in zip(result.columns["diameter_nm"].tolist(), truths, strict=True)
        if truth.category == "single"
    ]
    assert len(errors) >= 10 and sorted(errors)[len(errors) // 2] < 3


def test_an_unknown_geometry_is_named() -> None:
    with pytest.raises(RecipeError, match="photon_energy_ev and detector_distance"):
        size_of(torch.zeros(1, 123, 240), Geometry(pixel_size=75e-6, beam_center_x=1.0, beam_center_y=1.0))
