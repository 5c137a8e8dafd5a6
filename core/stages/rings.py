"""Sums of counts over rings of equal width in q, for networks that take radial profiles."""

from __future__ import annotations

from torch import Tensor

from photon_triage.core.common.errors import RecipeError
from photon_triage.core.frames import Batch
from photon_triage.core.radial import q_map, unknown_of
from photon_triage.core.recipe import Roi
from photon_triage.core.stages.cascade import counts_in, radius_map


class RingSums:
    """Sums over `bins` rings of equal width from q = 0 to q_max (nm⁻¹), in a region of interest.

    A pixel belongs to the ring of its own q, see `q_map`. What is masked, a gap, or beyond q_max is in no ring.
    """

    def __init__(self, bins: int, q_max: float, roi: Roi | None = None) -> None:
        self._bins, self._q_max, self._roi = bins, q_max, roi
        self._ring: Tensor | None = None
        self._for: tuple[object, ...] = ()

    def __call__(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Counts (batch, bins) float32, and usable pixels, (batch, bins) or (1, bins) where they are the same on all.

        Raises RecipeError where the geometry is not known.
        """
        ring = self._rings(batch)
        counts, usable = counts_in(batch, self._roi, required=False)
        return self._sums(counts, ring), self._sums(usable.float(), ring)

    def _sums(self, values: Tensor, ring: Tensor) -> Tensor:
        """Sums over rings; the last of bins + 1 takes the pixels that are in none."""
        flat = values.flatten(1)
        sums = flat.new_zeros(len(flat), self._bins + 1)
        return sums.index_add_(1, ring, flat)[:, : self._bins]

    def _rings(self, batch: Batch) -> Tensor:
        """The ring of each pixel of the region, (pixels,), made anew when shape or geometry change."""
        key = (batch.shape, batch.geometry, batch.frames.device)
        if self._ring is not None and key == self._for:
            return self._ring
        geometry, radius = batch.geometry, radius_map(batch, self._roi)
        q = None if radius is None else q_map(geometry, radius)
        if q is None:
            raise RecipeError(
                f"Could not take radial profiles: {unknown_of(geometry)} is known neither from the file nor from the "
                "recipe.",
                "Set it in the recipe's [geometry].",
            )
        ring = (q * (self._bins / self._q_max)).long().clamp_max(self._bins).flatten()
        self._ring, self._for = ring, key
        return ring
