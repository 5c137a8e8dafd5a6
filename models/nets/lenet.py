"""LeNet-5 (LeCun 1998) for patches of frames and boxes of volumes, in any size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from photon_triage.models.common.registry import register
from photon_triage.models.nets.patch_classifier import PatchClassifier, PatchOptions


@register("lenet")
class LeNetPatch(PatchClassifier):
    """LeNet-5 for square patches, in any size.

    patch: pixels a side. widths, kernels: channels and kernel size of each convolution; a 2x2 pool follows each, which
    drops an odd row and column. hidden: outputs of the full layers before the last. activation: "relu" or "tanh".
    pooling: "max" or "average". The output is raw: logits. Raises ModelError for a bad argument.
    """

    family = "lenet"
    dimensions = 2

    def __init__(
        self,
        in_channels: int = 1,
        classes: int = 2,
        patch: int = 50,
        widths: Sequence[int] = (6, 16),
        kernels: Sequence[int] = (5, 5),
        hidden: Sequence[int] = (120, 84),
        activation: str = "relu",
        pooling: str = "max",
    ) -> None:
        sides = (patch, patch)
        super().__init__(PatchOptions(in_channels, classes, sides, widths, kernels, hidden, activation, pooling))
        self.patch = patch

    @property
    def architecture(self) -> dict[str, Any]:
        """What a checkpoint needs to build the same network again, through the registry."""
        return {**super().architecture, "patch": self.patch}


@register("lenet3d")
class LeNetPatch3d(PatchClassifier):
    """LeNet-5 for boxes of a volume, such as a tomogram: the same with 3-D convolutions and 2x2x2 pools.

    patch: voxels a side, or (depth, height, width). Everything else is as in LeNetPatch; the default boxes are smaller,
    as the work grows with their volume.
    """

    family = "lenet3d"
    dimensions = 3

    def __init__(
        self,
        in_channels: int = 1,
        classes: int = 2,
        patch: int | Sequence[int] = 32,
        widths: Sequence[int] = (6, 16),
        kernels: Sequence[int] = (5, 5),
        hidden: Sequence[int] = (120, 84),
        activation: str = "relu",
        pooling: str = "max",
    ) -> None:
        sides = (patch,) * 3 if isinstance(patch, int) else patch
        super().__init__(PatchOptions(in_channels, classes, sides, widths, kernels, hidden, activation, pooling))
        self.patch = tuple(self.options.patch)
