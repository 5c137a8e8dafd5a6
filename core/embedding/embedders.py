"""What a network of any family makes of frames, as numbers by which they are compared."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from photon_triage.core.frames import Batch
from photon_triage.core.prepare import preparation_for
from photon_triage.core.recipe import Recipe, Roi
from photon_triage.core.session.models.catalog import ModelEntry
from photon_triage.core.session.session import Session
from photon_triage.core.stages.cascade import image_in
from photon_triage.core.stages.rings import RingSums
from photon_triage.models.common.checkpoint import load
from photon_triage.models.common.classes import Normalisation
from photon_triage.models.common.errors import ModelError
from photon_triage.models.darknet.darknet import Darknet
from photon_triage.models.darknet.representation import Features, Representation
from photon_triage.models.inference.precision import best_device
from photon_triage.models.inference.runtime import prepare_for_inference
from photon_triage.models.nets.patch_finder import load_patch_finder
from photon_triage.models.nets.radial_net import RadialNet, load_profile_classifier, profile_input
from photon_triage.models.nets.segmenter import load_segmenter


class FrameFeatures(Protocol):
    """A function from frames to features. size: how many a frame has."""

    size: int

    def __call__(self, batch: Batch) -> Tensor:
        """The features of some frames, (batch, size) float32."""
        ...


def features_by(session: Session, entry: ModelEntry, device: str | None = None) -> FrameFeatures:
    """The features of a session's frames by a model, from what the stage that it serves would show it.

    Raises ModelError where the model cannot be loaded, or is of a family that has no features.
    """
    recipe, chosen = session.recipe(), best_device(device)
    roi = recipe.prepare.roi
    match entry.stage:
        case "segment":
            segmenter = load_segmenter(entry.path)
            return OfImages(Representation(segmenter.network), segmenter.input, roi, chosen)
        case "patches":
            finder = load_patch_finder(entry.path)
            return OfImages(Representation(finder.network), finder.input, roi, chosen)
        case _ if entry.family == "radial":
            return OfProfiles(load_profile_classifier(entry.path).network, roi, chosen)
    network, _ = load(entry.path)
    if not isinstance(network, Darknet):
        raise ModelError(
            f"Cannot take features of frames with {entry.name}: it holds a {type(network).__name__}.",
            "Use a detector, a segmenter, a patch finder or a radial network.",
        )
    return OfDetector(network, recipe, chosen)


class OfDetector:
    """What a detector's last convolutions read, the mean over the grid."""

    def __init__(self, network: Darknet, recipe: Recipe, device: torch.device) -> None:
        features = Features(network)
        self.size, self._device = features.size, device
        self._preparation = preparation_for(recipe, network.input_size, network.in_channels).to(device)
        self._run = prepare_for_inference(features, device)

    @torch.inference_mode()
    def __call__(self, batch: Batch) -> Tensor:
        """The features of some frames, (batch, size) float32."""
        return self._run(self._preparation.batch(batch, self._device, 0, len(batch)))[0]


class OfImages:
    """What the last layer of a segmenter or the full layers of a patch finder read, the mean over the frame."""

    def __init__(
        self, network: Representation, normalise: Normalisation, roi: Roi | None, device: torch.device
    ) -> None:
        self.size, self._normalise, self._roi, self._device = network.size, normalise, roi, device
        self._run = prepare_for_inference(network, device)

    @torch.inference_mode()
    def __call__(self, batch: Batch) -> Tensor:
        """The features of some frames, (batch, size) float32."""
        images, usable = image_in(batch, self._roi, required=False)
        # One by one: the feature maps of large frames take much memory.
        pairs = zip(torch.split(images, 1), torch.split(usable, 1), strict=True)
        normalised = (self._normalise(image.to(self._device), good.to(self._device)) for image, good in pairs)
        return torch.cat([self._run(image[:, None])[0] for image in normalised])


class OfProfiles:
    """What the last layer of a radial network reads."""

    def __init__(self, network: RadialNet, roi: Roi | None, device: torch.device) -> None:
        representation = Representation(network)
        self.size, self._device = representation.size, device
        self._rings = RingSums(network.bins, network.q_max, roi)
        self._run = prepare_for_inference(representation, device)

    @torch.inference_mode()
    def __call__(self, batch: Batch) -> Tensor:
        """The features of some frames, (batch, size) float32."""
        counts, pixels = self._rings(batch)
        return self._run(profile_input(counts.to(self._device), pixels.to(self._device)))[0]
