"""The search for small objects: a LeNet scores the patch about every pixel, and the score's peaks are candidates."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import pad

from photon_triage.core.candidates import Candidate, peaks
from photon_triage.core.common.errors import RecipeError
from photon_triage.core.frames import Batch
from photon_triage.core.prepare import grow
from photon_triage.core.recipe import PatchesStage, Roi
from photon_triage.core.stages.cascade import StageResult, image_in
from photon_triage.models.nets.patch_finder import PatchFinder, log_odds


class Patches:
    """Lists the peaks of the score map, where the recipe says so only within one class of the segmentation.

    The frame's score is that of its best candidate.
    """

    name = "patches"
    is_network = True
    columns = ("candidates",)

    def __init__(
        self, table: PatchesStage, finder: PatchFinder, device: torch.device, default_roi: Roi | None = None
    ) -> None:
        if finder.network.in_channels != 1:
            raise RecipeError(
                f"Could not search frames with {table.model}: it takes {finder.network.in_channels} channels.",
                "Use a network with in_channels = 1.",
            )
        self._table, self._roi, self._device = table, default_roi, device
        self._normalise, self._network = finder.input, finder.network.fused().to(device)
        self._patch = finder.network.patch
        self._least = math.log(table.listed_from / (1 - table.listed_from)) if table.listed_from < 1 else math.inf

    @torch.inference_mode()
    def __call__(self, batch: Batch) -> StageResult:
        """Pass frames with a candidate whose score reaches the recipe's threshold."""
        images, usable = image_in(batch, self._roi)
        normalised = self._normalise(images.to(self._device), usable.to(self._device))
        where = self._search_region(batch)
        found = tuple(
            self._candidates(image, None if where is None else where[place]) for place, image in enumerate(normalised)
        )
        best = torch.tensor([max((each.score for each in some), default=0.0) for some in found])
        threshold = self._table.threshold
        counts = torch.tensor([float(sum(each.score >= threshold for each in some)) for some in found])
        return StageResult(counts > 0, {"candidates": counts}, score=best, candidates=found)

    def _search_region(self, batch: Batch) -> Tensor | None:
        """Where to search, (batch, rows, columns) bool, or None for everywhere."""
        within, margin = self._table.within, self._table.margin
        if within is None:
            return None
        if batch.classes is None or within not in batch.class_names:
            raise RecipeError(
                f"Could not search within {within!r}: the segmentation's classes are {', '.join(batch.class_names)}.",
                "Set `within` of the patches stage to one of them.",
            )
        region = batch.classes == batch.class_names.index(within)
        return grow(region, margin).to(self._device)

    def _candidates(self, image: Tensor, region: Tensor | None) -> tuple[Candidate, ...]:
        """The candidates of one image (rows, columns), in pixels of the whole frame."""
        table, patch = self._table, self._patch
        before, after = patch // 2, patch - 1 - patch // 2
        if min(image.shape) <= before:
            raise RecipeError(
                f"Could not search images of {image.shape[0]} x {image.shape[1]} pixels with patches of {patch}.",
                "Use a network with smaller patches, or a larger region of interest.",
            )
        # Mirrored at the border, so that every pixel has a patch about it.
        mirrored = pad(image[None, None], (before, after, before, after), mode="reflect")
        odds = log_odds(self._network.dense(mirrored, None if region is None else region[None]))[0]
        found = peaks(
            odds.float().cpu().numpy(), least=self._least, min_distance=table.min_distance, most=table.max_candidates
        )
        left, top = (self._roi.left, self._roi.top) if self._roi else (0, 0)
        return tuple(
            replace(each, x=each.x + left, y=each.y + top, score=1 / (1 + math.exp(-each.score))) for each in found
        )
