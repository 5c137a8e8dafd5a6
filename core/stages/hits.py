"""Hit finding: is there anything on the frame at all?"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, max_pool2d

from photon_triage.core.errors import RecipeError
from photon_triage.core.frames import Batch
from photon_triage.core.recipe import LitPixelsStage, Roi, SpotsStage
from photon_triage.core.stages.stage import StageResult, counts_in, radius_map


class LitPixels:
    """Counts lit pixels and photons, for single particles."""

    name = "lit-pixels"
    columns = ("lit_pixels", "photons", "excess_photons")

    def __init__(self, table: LitPixelsStage, default_roi: Roi | None = None) -> None:
        self._table = table
        self._roi = table.roi or default_roi

    def __call__(self, batch: Batch) -> StageResult:
        """Pass frames with enough of everything that the recipe asks for."""
        table = self._table
        counts, usable = counts_in(batch, self._roi)
        lit = (counts >= table.photon_threshold).flatten(1).sum(1)
        photons = counts.flatten(1).sum(1)
        passed = (lit >= table.min_lit_pixels) & (photons >= table.min_photons)
        columns = {"lit_pixels": lit.float(), "photons": photons}
        if table.signal_radius is not None:
            columns["excess_photons"] = excess = self._excess(batch, counts, usable, table.signal_radius)
            passed &= excess >= table.min_excess_photons
        return StageResult(passed, columns)

    def _excess(self, batch: Batch, counts: Tensor, usable: Tensor, signal_radius: float) -> Tensor:
        """Photons within signal_radius above the mean of the rest of the region, (batch,)."""
        radius = radius_map(batch, self._roi)
        if radius is None:
            raise RecipeError(
                "Could not count photons within signal_radius: neither the file nor the recipe tells the beam centre.",
                "Set beam_center_x and beam_center_y in the recipe's [geometry].",
            )
        near = (radius < signal_radius).flatten().float()
        flat, good = counts.flatten(1), usable.flatten(1).float()
        inside, area = flat @ near, good @ near
        outside, rest = flat @ (1 - near), good @ (1 - near)
        return inside - area * outside / rest.clamp_min(1)


class Spots:
    """Counts Bragg spots above the local background, for crystals.

    A strong pixel exceeds the mean of its window by min_snr deviations (not less than Poisson's) and has min_counts; a
    spot is a local maximum of strong pixels with min_pixels of them within the 3x3 about it.
    The score is n / (n + min_spots): one half at the threshold.
    """

    name = "spots"
    columns = ("spots",)

    def __init__(self, table: SpotsStage) -> None:
        self._table = table

    def __call__(self, batch: Batch) -> StageResult:
        """Pass frames with at least min_spots spots."""
        counts, usable = counts_in(batch, None)
        spots = torch.stack([self._count(c, u) for c, u in zip(counts, usable, strict=True)]).float()
        limit = self._table.min_spots
        return StageResult(spots >= limit, {"spots": spots}, score=spots / (spots + limit))

    def _count(self, counts: Tensor, usable: Tensor) -> Tensor:
        table = self._table
        image, good = counts[None, None], usable.float()[None, None]
        area = self._window_mean(good).clamp_min(1e-6)
        # A spot must not raise its own background: what is far above the frame's mean is cut off first.
        ceiling = 10 * image.sum() / good.sum().clamp_min(1) + 10
        low = image.clamp_max(ceiling)
        mean = self._window_mean(low) / area
        variance = (self._window_mean(low.square()) / area - mean.square()).clamp_min(0)
        deviation = torch.maximum(variance, mean).sqrt()
        strong = (image > mean + table.min_snr * deviation) & (image >= table.min_counts) & (good > 0)
        shining = torch.where(strong, image, 0.0)
        # Equal neighbours would be two maxima: the later pixel gets the greater share of one ulp-sized tilt.
        peak = (
            strong
            & (max_pool2d(shining, 5, 1, 2) == shining)
            & (9 * avg_pool2d(strong.float(), 3, 1, 1) + 0.5 > table.min_pixels)
        )
        return (peak & ~_has_equal_before(shining, peak)).sum()

    def _window_mean(self, image: Tensor) -> Tensor:
        side = self._table.window | 1
        return avg_pool2d(image, side, 1, side // 2, count_include_pad=True)


def _has_equal_before(shining: Tensor, peak: Tensor) -> Tensor:
    """Whether an equally bright peak stands above or to the left within one pixel: (1, 1, h, w) bool."""
    padded = torch.nn.functional.pad(torch.where(peak, shining, -1.0), (1, 1, 1, 0), value=-1.0)
    height, width = shining.shape[-2:]
    before = [padded[..., :height, d : d + width] for d in range(3)] + [padded[..., 1 : height + 1, :width]]
    return torch.stack([shining == b for b in before]).any(0)
