"""Segmentation: an MS-D network or a U-Net says of every pixel what is there."""

from __future__ import annotations

import torch
from torch import Tensor

from photon_triage.core.common.errors import RecipeError
from photon_triage.core.frames import Batch
from photon_triage.core.recipe import Roi, SegmentStage
from photon_triage.core.stages.cascade import StageResult, image_in
from photon_triage.models.inference.runtime import prepare_for_inference
from photon_triage.models.nets.segmenter import Segmenter


class Segment:
    """Gives every pixel its likeliest class.

    The score is the certainty: the mean over the pixels of the likeliest class's probability.
    """

    name = "segment"
    is_network = True
    columns = ("foreground", "certainty")

    def __init__(
        self, table: SegmentStage, segmenter: Segmenter, device: torch.device, default_roi: Roi | None = None
    ) -> None:
        network = segmenter.network
        if network.in_channels != 1:
            raise RecipeError(
                f"Could not segment frames with {table.model}: it takes {network.in_channels} neighbouring slices.",
                "Use a network with in_channels = 1; frames are segmented one by one.",
            )
        self._table, self._segmenter, self._roi, self._device = table, segmenter, default_roi, device
        self._run = prepare_for_inference(network, device, decide=self._objects)

    @torch.inference_mode()
    def __call__(self, batch: Batch) -> StageResult:
        """Pass frames with enough of anything but background."""
        images, usable = image_in(batch, self._roi)
        normalised = self._segmenter.input(images.to(self._device), usable.to(self._device))
        pairs = [self._segment(image, good) for image, good in zip(normalised, usable, strict=True)]
        every = torch.stack([classes for classes, _ in pairs])
        foreground = (every != self._segmenter.background).float().mean((-2, -1))
        certainty = torch.stack([certainty for _, certainty in pairs])
        return StageResult(
            foreground >= self._table.min_foreground,
            {"foreground": foreground, "certainty": certainty},
            score=certainty,
            classes=every,
            class_names=self._segmenter.classes,
        )

    def _segment(self, image: Tensor, usable: Tensor) -> tuple[Tensor, Tensor]:
        """The class of every pixel (rows, columns) uint8, background where a pixel is not usable; the certainty."""
        logits = self._logits(image[None, None])[0]
        largest, classes = torch.softmax(logits.float(), 0).max(0)
        good = usable.to(classes.device)
        certainty = (largest * good).sum() / good.sum().clamp_min(1)
        return torch.where(good, classes, self._segmenter.background).to(torch.uint8), certainty

    def _objects(self, outputs: list[Tensor]) -> Tensor:
        """What is decided of every pixel, (batch, rows, columns): 0 for background, another number for each class."""
        classes = outputs[0].argmax(1)
        return torch.where(classes == self._segmenter.background, 0, classes + 1)

    def _logits(self, frames: Tensor) -> Tensor:
        if self._table.tile is None:
            return self._run(frames)[0]
        tiled: Tensor = self._segmenter.network.in_tiles(frames, self._table.tile)
        return tiled
