"""Single-hit classification: a Darknet network looks at the frame and says where, and how surely, a single hit is."""

from __future__ import annotations

import torch
from torch import Tensor

from photon_triage.core.frames import Batch
from photon_triage.core.prepare import Preparation
from photon_triage.core.recipe import ClassifyStage
from photon_triage.core.stages.stage import Found, StageResult
from photon_triage.models.darknet import Darknet
from photon_triage.models.runtime import prepare_for_inference
from photon_triage.models.yolo import decode, frame_score

CATEGORY = "single"
SHOWN_FROM = 0.05
"""Boxes below this score are not worth a place in the results."""


class Classify:
    """Scores frames by their best detection.

    size: frames the network looks at together at most.
    """

    name = "classify"
    columns = ()

    def __init__(
        self, table: ClassifyStage, model: Darknet, preparation: Preparation, device: torch.device, *, size: int = 32
    ) -> None:
        self._threshold, self._size, self._device = table.threshold, size, device
        self._heads = model.heads
        self._run = prepare_for_inference(model, device)
        self._prepare = preparation.to(device)

    def __call__(self, batch: Batch) -> StageResult:
        """Pass frames whose score reaches the recipe's threshold."""
        shape = (batch.frames.shape[-2], batch.frames.shape[-1])
        scores, boxes = self.score(batch.frames, batch.valid)
        detections = tuple(
            (Found(CATEGORY, score, self._prepare.to_frame((x, y, w, h), shape)),) if score >= SHOWN_FROM else ()
            for score, (x, y, w, h) in zip(scores.tolist(), boxes.tolist(), strict=True)
        )
        return StageResult(scores >= self._threshold, {}, scores, detections)

    @torch.inference_mode()
    def score(self, frames: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor]:
        """Scores (batch,) and best boxes (batch, 4), centre, width and height as parts of the input's size."""
        scores, boxes = [], []
        for start in range(0, len(frames), self._size):
            part = frames[start : start + self._size].to(self._device)
            best = frame_score(decode(self._run(self._prepare(part, valid)), self._heads))
            scores.append(best.scores)
            boxes.append(best.boxes)
        return torch.cat(scores), torch.cat(boxes)
