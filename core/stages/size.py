"""Size filtering: the diameter of the sphere whose form factor fits the radial profile best."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from photon_triage.core.common.errors import RecipeError
from photon_triage.core.frames import Batch, Geometry
from photon_triage.core.radial import q_map, sphere_form_factor
from photon_triage.core.recipe import Roi, SizeStage
from photon_triage.core.stages.cascade import StageResult, counts_in, radius_map

DIAMETERS_NM = np.arange(20.0, 160.5, 0.5)
RING_POINTS = np.linspace(-0.4, 0.4, 5)
"""Radii in a ring over which a model is averaged, about the ring's middle in pixels."""
LEAST_RADIUS = 0.1


class Size:
    """Fits a · F²(q, d) + b to the radial mean for each diameter d, by least squares with Poisson weights.

    F is the sphere's form factor. The quality is the part of the weighted variance about the best smooth fall-off
    a · q⁻⁴ + b (Porod) that the sphere explains: 0 none, 1 all.
    """

    name = "size"
    is_network = False
    columns = ("diameter_nm", "size_quality")

    def __init__(self, table: SizeStage, default_roi: Roi | None = None) -> None:
        self._table = table
        self._roi = table.roi or default_roi
        self._rings: Tensor | None = None
        self._models: Tensor | None = None
        self._for: tuple[object, ...] = ()

    def __call__(self, batch: Batch) -> StageResult:
        """Pass frames whose diameter lies in the window with at least min_quality."""
        self._set_up(batch)
        assert self._rings is not None and self._models is not None
        counts, usable = counts_in(batch, self._roi)
        pixels = usable.flatten(1).float() @ self._rings
        photons = counts.flatten(1) @ self._rings
        diameter, quality = fit_spheres(photons, pixels, self._models)
        table = self._table
        passed = (diameter >= table.min_diameter_nm) & (diameter <= table.max_diameter_nm)
        passed &= quality >= table.min_quality
        return StageResult(passed, {"diameter_nm": diameter, "size_quality": quality})

    def _set_up(self, batch: Batch) -> None:
        """Rings (pixels, radii) one-hot and models (diameters + 1, radii), made anew when shape or geometry change."""
        key = (batch.shape, batch.geometry, batch.frames.device)
        if key == self._for:
            return
        radius = radius_map(batch, self._roi)
        if radius is None or q_map(batch.geometry, 1.0) is None:
            raise RecipeError(
                f"Could not fit sizes: {_missing(batch.geometry)} is known neither from the file nor from the recipe.",
                "Set it in the recipe's [geometry].",
            )
        bins = radius.round().long().flatten()
        reach = int(min(max(radius.shape) // 2, int(bins.max())))
        rings = torch.nn.functional.one_hot(bins.clamp_max(reach), reach + 1)[:, :reach].float()
        self._rings = rings
        self._models = torch.from_numpy(sphere_models(batch.geometry, reach)).to(radius.device)
        self._for = key


def sphere_models(geometry: Geometry, reach: int) -> NDArray[np.float32]:
    """F² of DIAMETERS_NM over the rings below `reach`, and Porod's q⁻⁴ as the last row: (diameters + 1, reach).

    Each is the mean over one pixel's width, since that is what a ring holds. Made once for a geometry, by NumPy.
    """
    q = q_map(geometry, np.maximum(np.arange(reach)[:, None] + RING_POINTS, LEAST_RADIUS))
    assert q is not None
    form = np.square(sphere_form_factor(q, DIAMETERS_NM[:, None, None])).mean(-1)
    porod = ((q[-1, -1] / q) ** 4).mean(-1)
    models = np.concatenate([form, porod[None]])
    scaled: NDArray[np.float32] = (models / models[:, 10:].max(1, keepdims=True)).astype(np.float32)
    return scaled


def fit_spheres(photons: Tensor, pixels: Tensor, models: Tensor) -> tuple[Tensor, Tensor]:
    """Best diameter in nm and its quality in [0, 1], (batch,) each.

    photons, pixels: (batch, radii), sums over rings. models: from `sphere_models`.
    """
    mean = photons / pixels.clamp_min(1)
    smooth = torch.nn.functional.avg_pool1d(torch.nn.functional.pad(photons[:, None], (3, 3), mode="replicate"), 7, 1)
    spread = torch.nn.functional.avg_pool1d(torch.nn.functional.pad(pixels[:, None], (3, 3), mode="replicate"), 7, 1)
    variance = (smooth + 1 / 7)[:, 0] / spread[:, 0].clamp_min(1)
    weight = pixels / variance.clamp_min(1e-6)
    w, wy = weight.sum(1, keepdim=True), (weight * mean).sum(1, keepdim=True)
    wm, wmm = weight @ models.T, weight @ models.square().T
    wmy = (weight * mean) @ models.T
    wyy = (weight * mean.square()).sum(1, keepdim=True)
    covariance, spread_of_model = wmy - wm * wy / w, (wmm - wm.square() / w).clamp_min(1e-12)
    slope = (covariance / spread_of_model).clamp_min(0)
    residual = (wyy - wy.square() / w) - 2 * slope * covariance + slope.square() * spread_of_model
    best, place = residual[:, :-1].min(1)
    quality = 1 - best / residual[:, -1].clamp_min(1e-12)
    diameters = torch.from_numpy(DIAMETERS_NM).to(models.device, torch.float32)
    return diameters[place], quality.clamp(0, 1)


def _missing(geometry: Geometry) -> str:
    names = {
        "photon_energy_ev": geometry.photon_energy_ev,
        "detector_distance": geometry.detector_distance,
        "pixel_size": geometry.pixel_size,
        "beam_center_x": geometry.beam_center_x,
        "beam_center_y": geometry.beam_center_y,
    }
    return " and ".join(name for name, value in names.items() if value is None)
