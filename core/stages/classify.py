"""Single-hit classification by a network.

A Darknet network looks at the frame and says where, and how surely, a single hit is; a radial network looks at the
frame's radial profile.
"""

from __future__ import annotations

import torch
from torch import Tensor

from photon_triage.core.frames import Batch
from photon_triage.core.prepare import Preparation
from photon_triage.core.recipe import ClassifyStage, Roi
from photon_triage.core.stages.cascade import Found, StageResult, require_usable
from photon_triage.core.stages.rings import RingSums
from photon_triage.models.darknet.detector import Detector, best_of_class
from photon_triage.models.inference.runtime import prepare_for_inference
from photon_triage.models.nets.radial_net import ProfileClassifier

WANTED = "single"
"""The class whose score is the frame's."""

SHOWN_FROM = 0.05
"""Boxes below this score are not worth a place in the results."""


class ClassifyProfile:
    """Scores frames by what a network makes of their radial profile; it takes the place of the classify stage."""

    name = "classify"
    is_network = True
    columns = ()

    def __init__(
        self, table: ClassifyStage, classifier: ProfileClassifier, device: torch.device, roi: Roi | None = None
    ) -> None:
        self._threshold, self._device = table.threshold, device
        network = classifier.network.to(device).eval()
        self._classifier = ProfileClassifier(network, classifier.classes)
        self._rings = RingSums(network.bins, network.q_max, roi)

    @torch.inference_mode()
    def __call__(self, batch: Batch) -> StageResult:
        """Pass frames whose score reaches the recipe's threshold."""
        counts, pixels = self._rings(batch)
        require_usable(pixels[..., None] > 0)
        scores = self._classifier.scores(counts.to(self._device), pixels.to(self._device)).float()
        return StageResult(scores >= self._threshold, {}, scores)


class Classify:
    """Scores frames by what their best box says of a single hit.

    size: frames the network looks at together at most.
    """

    name = "classify"
    is_network = True
    columns = ()

    def __init__(
        self,
        table: ClassifyStage,
        detector: Detector,
        preparation: Preparation,
        device: torch.device,
        *,
        size: int = 32,
    ) -> None:
        self._threshold, self._size, self._device = table.threshold, size, device
        self._detector, self._index = detector, detector.index(WANTED)
        self._run = prepare_for_inference(detector.network, device, decide=self._passes, batch_size="auto")
        self._prepare = preparation.to(device)

    @torch.inference_mode()
    def __call__(self, batch: Batch) -> StageResult:
        """Pass frames whose score reaches the recipe's threshold."""
        scores: list[Tensor] = []
        detections: list[tuple[Found, ...]] = []
        for start in range(0, len(batch), self._size):
            counts, usable = self._prepare.counts(batch, self._device, start, start + self._size)
            require_usable(usable)
            best = best_of_class(self._run(self._prepare.fit(counts)), self._detector, self._index)
            scores.append(best.scores)
            columns = (best.likeliest.tolist(), best.likeliest_scores.tolist(), best.boxes.tolist())
            for category, score, (x, y, w, h) in zip(*columns, strict=True):
                box = self._prepare.to_frame((x, y, w, h), batch.shape)
                found = Found(self._detector.classes[category], score, box)
                detections.append((found,) if score >= SHOWN_FROM else ())
        every = torch.cat(scores)
        return StageResult(every >= self._threshold, {}, every, tuple(detections))

    def _passes(self, outputs: list[Tensor]) -> Tensor:
        """Which frames pass, (batch,) bool: what a faster precision must leave as it is."""
        return best_of_class(outputs, self._detector, self._index).scores >= self._threshold
