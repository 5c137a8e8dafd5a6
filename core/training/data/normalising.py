"""Grey values on their way into a network: with mean 0 and deviation 1, over the training set or each frame."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from photon_triage.core.common.errors import TrainingError
from photon_triage.core.training.data.images import Image
from photon_triage.models.common.normalise import Normalisation


def normalisation_from(images: Sequence[Image]) -> Normalisation:
    """Mean and deviation of all usable pixels of the images (Pelt & Sethian 2018).

    Raises TrainingError where they are all the same.
    """
    values = [image.pixels[image.usable].astype(np.float64) for image in images]
    count = sum(map(len, values))
    mean = sum(float(each.sum()) for each in values) / max(count, 1)
    variance = sum(float(((each - mean) ** 2).sum()) for each in values) / max(count, 1)
    if not variance > 0:
        raise TrainingError(
            f"Could not train on {len(images)} images: all of their pixels have the value {mean:g}.",
            "Check that the files are the images.",
        )
    return Normalisation(mean, math.sqrt(variance))


def normalised(image: Image, normalise: Normalisation) -> Tensor:
    """The network's input, (height, width) float32."""
    pixels = image.pixels if image.pixels.dtype.kind == "f" else image.pixels.astype(np.float32)
    return normalise(torch.from_numpy(pixels), torch.from_numpy(image.usable))
