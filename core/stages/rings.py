"""Single-hit classification by radial profiles: a one-dimensional network looks at rings instead of pixels."""

from __future__ import annotations

import torch

from photon_triage.core.frames import Batch
from photon_triage.core.radial import Rings
from photon_triage.core.recipe import ClassifyStage, Roi
from photon_triage.core.stages.cascade import StageResult, require_usable
from photon_triage.models.nets.radial_net import ProfileClassifier


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
        self._rings = Rings(network.bins, network.q_max, roi)

    @torch.inference_mode()
    def __call__(self, batch: Batch) -> StageResult:
        """Pass frames whose score reaches the recipe's threshold."""
        counts, pixels = self._rings(batch)
        require_usable(pixels[..., None] > 0)
        scores = self._classifier.scores(counts.to(self._device), pixels.to(self._device)).float()
        return StageResult(scores >= self._threshold, {}, scores)
