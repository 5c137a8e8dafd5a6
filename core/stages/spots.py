"""Hit finding: is there anything on the frame at all?"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from photon_triage.core.common.errors import RecipeError
from photon_triage.core.frames import Batch
from photon_triage.core.recipe import LitPixelsStage, Roi, SpotsStage
from photon_triage.core.stages.cascade import StageResult, counts_in, radius_map

LEAST_DEVIATION = 0.5
"""Counts: below about a quarter of a photon a pixel, Poisson's deviation no longer tells a spot from a photon."""


class LitPixels:
    """Counts lit pixels and photons, for single particles."""

    name = "lit-pixels"
    is_network = False
    columns = ("lit_pixels", "photons", "excess_photons")

    def __init__(self, table: LitPixelsStage, default_roi: Roi | None = None) -> None:
        self._table = table
        self._roi = table.roi or default_roi

    def __call__(self, batch: Batch) -> StageResult:
        """Pass frames with enough of everything that the recipe asks for."""
        table = self._table
        counts, usable = counts_in(batch, self._roi)
        lit = torch.ge(counts, table.photon_threshold, out=torch.empty_like(counts)).flatten(1).sum(1)
        photons = _total(counts)
        passed = (lit >= table.min_lit_pixels) & (photons >= table.min_photons)
        columns = {"lit_pixels": lit, "photons": photons}
        if table.signal_radius is not None:
            excess = self._excess(batch, counts, photons, usable, table.signal_radius)
            columns["excess_photons"] = excess
            passed &= excess >= table.min_excess_photons
        return StageResult(passed, columns)

    def _excess(self, batch: Batch, counts: Tensor, photons: Tensor, usable: Tensor, signal_radius: float) -> Tensor:
        """Photons within signal_radius above the mean of the rest of the region, (batch,)."""
        radius = radius_map(batch, self._roi)
        if radius is None:
            raise RecipeError(
                "Could not count photons within signal_radius: neither the file nor the recipe tells the beam centre.",
                "Set beam_center_x and beam_center_y in the recipe's [geometry].",
            )
        near = (radius < signal_radius).flatten().float()
        good = usable.flatten(1).float()
        inside, area = counts.flatten(1) @ near, good @ near
        return inside - area * (photons - inside) / (good.sum(1) - area).clamp_min(1)


def _total(counts: Tensor) -> Tensor:
    """The sum of each frame, (batch,): row by row, then in double precision, where single loses what exceeds 2^24."""
    rows = counts.sum(2)
    return rows.sum(1) if rows.device.type == "mps" else rows.double().sum(1)


class Spots:
    """Counts Bragg spots above the local background, for crystals.

    A strong pixel exceeds the mean of its window by min_snr deviations and has min_counts; the background is taken
    twice, the second time without what was strong at first. The deviation is the window's own, or Poisson's where that
    is greater. A spot is the brightest of its 3x3 neighbourhood, of which min_pixels are strong.
    The score is n / (n + min_spots): one half at the threshold.
    """

    name = "spots"
    is_network = False
    columns = ("spots",)

    def __init__(self, table: SpotsStage) -> None:
        self._table = table

    def __call__(self, batch: Batch) -> StageResult:
        """Pass frames with at least min_spots spots."""
        counts, usable = counts_in(batch, None)
        spots = torch.stack([self._count(c, u) for c, u in zip(counts, usable.expand_as(counts), strict=True)]).float()
        limit = self._table.min_spots
        return StageResult(spots >= limit, {"spots": spots}, score=spots / (spots + limit))

    def _count(self, image: Tensor, usable: Tensor) -> Tensor:
        table = self._table
        calm = usable.float()
        mean, _ = self._background(image, calm)
        strong = image > mean + table.min_snr * mean.sqrt().clamp_min(LEAST_DEVIATION)
        mean, variance = self._background(image, calm * ~strong)
        deviation = torch.maximum(variance, mean).sqrt().clamp_min(LEAST_DEVIATION)
        strong = (image > mean + table.min_snr * deviation) & (image >= table.min_counts) & usable
        return count_spots(torch.where(strong, image, 0.0), table.min_pixels)

    def _background(self, image: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of the window about each pixel, (height, width) each, over pixels of weight 1."""
        side = self._table.window | 1
        area = window_sum(weight, side).clamp_min(1)
        weighted = image * weight
        mean = window_sum(weighted, side) / area
        variance = window_sum(weighted * image, side) / area - mean.square()
        return mean, variance.clamp_min(0)


def count_spots(shining: Tensor, min_pixels: int) -> Tensor:
    """Spots of an image (height, width) that is 0 where a pixel is not strong, as a scalar.

    Of equally bright neighbours the first in reading order is the spot.
    """
    rows, columns = shining.nonzero(as_tuple=True)
    bordered = pad(shining, (1, 1, 1, 1))
    steps = [(y, x) for y in range(3) for x in range(3)]
    around = torch.stack([bordered[rows + y, columns + x] for y, x in steps])
    center = around[4]
    brightest = (around[:4] < center).all(0) & (around[5:] <= center).all(0)
    return (brightest & ((around > 0).sum(0) >= min_pixels)).sum()


def window_sum(image: Tensor, side: int) -> Tensor:
    """Sum over the side x side window about each pixel (side odd), zeros beyond the edge, same shape.

    Windows of doubled length are added up, so the work grows with the side's logarithm.
    """
    # By torch, not SciPy: frames and sums stay on the device, and counts that are whole numbers are summed exactly.
    half = side // 2
    padded = pad(image, (half, half, half, half))
    return _running_sum(_running_sum(padded, side, 0), side, 1)


def _running_sum(image: Tensor, side: int, dim: int) -> Tensor:
    """Sums of `side` neighbours along an axis, which becomes shorter by side - 1."""
    length = image.shape[dim] - side + 1
    total, offset, width, block = None, 0, 1, image
    while True:
        if side & width:
            part = block.narrow(dim, offset, length)
            total = part if total is None else total + part
            offset += width
        if 2 * width > side:
            assert total is not None
            return total
        block = block.narrow(dim, 0, block.shape[dim] - width) + block.narrow(dim, width, block.shape[dim] - width)
        width *= 2
