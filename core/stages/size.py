"""Size filtering: the diameter of the sphere whose form factor fits the radial profile best."""

from __future__ import annotations

import torch
from torch import Tensor

from photon_triage.core.common.errors import RecipeError
from photon_triage.core.frames import Batch, Geometry
from photon_triage.core.recipe import Roi, SizeStage
from photon_triage.core.stages.cascade import StageResult, counts_in, radius_map

DIAMETERS_NM = torch.arange(20.0, 160.5, 0.5)


class Size:
    """Fits a · F²(q, d) + b to the radial mean for each diameter d, by least squares with Poisson weights.

    F is the sphere's form factor 3 (sin x - x cos x)/x³ with x = q d/2 (Rayleigh 1911). The quality is the part of the
    weighted variance about the best smooth fall-off a · q⁻⁴ + b (Porod) that the sphere explains: 0 none, 1 all.
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
        step = batch.geometry.q_per_pixel
        if radius is None or step is None:
            raise RecipeError(
                f"Could not fit sizes: {_missing(batch.geometry)} is known neither from the file nor from the recipe.",
                "Set it in the recipe's [geometry].",
            )
        bins = radius.round().long().flatten()
        reach = int(min(max(radius.shape) // 2, int(bins.max())))
        rings = torch.nn.functional.one_hot(bins.clamp_max(reach), reach + 1)[:, :reach].float()
        self._rings = rings
        self._models = sphere_models(torch.arange(reach, device=radius.device) * step)
        self._for = key


def sphere_models(q: Tensor) -> Tensor:
    """F² of DIAMETERS_NM at q (radii,) in nm⁻¹, and Porod's q⁻⁴ as the last row: (diameters + 1, radii) float32.

    Each is the mean over one pixel's width, since that is what a ring holds.
    """
    q64 = q.double()
    step = float(q64[1] - q64[0])
    fine = q64[:, None] + torch.linspace(-0.4, 0.4, 5, dtype=torch.float64, device=q.device) * step
    fine = fine.clamp_min(step / 10)
    x = fine[None] * DIAMETERS_NM.double().to(q.device)[:, None, None] / 2
    form = (3 * (x.sin() - x * x.cos()) / x**3).square().mean(-1)
    porod = (step / fine).pow(4).mean(-1)
    models = torch.cat([form, porod[None]])
    return (models / models[:, 10:].amax(1, keepdim=True)).float()


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
    return DIAMETERS_NM.to(models.device)[place], quality.clamp(0, 1)


def _missing(geometry: Geometry) -> str:
    names = {
        "photon_energy_ev": geometry.photon_energy_ev,
        "detector_distance": geometry.detector_distance,
        "pixel_size": geometry.pixel_size,
        "beam_center_x": geometry.beam_center_x,
        "beam_center_y": geometry.beam_center_y,
    }
    return " and ".join(name for name, value in names.items() if value is None)
