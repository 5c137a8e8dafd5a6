"""Segmenters: networks that tell each pixel's class, and the names of the classes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from photon_triage.models.common.checkpoint import load
from photon_triage.models.common.classes import EACH_FRAME, Normalisation, background_of, class_names, normalisation_of
from photon_triage.models.common.errors import ModelError
from photon_triage.models.msd import MSDNet
from photon_triage.models.nets.unet import UNet


@dataclass(frozen=True)
class Segmenter:
    """A network, the names of its classes in the order of its outputs, and how grey values are normalised for it."""

    network: MSDNet | UNet
    classes: tuple[str, ...]
    input: Normalisation = EACH_FRAME

    def __post_init__(self) -> None:
        """Hold names and outputs together; raises ModelError where they differ."""
        if len(self.classes) != self.network.out_channels or len(set(self.classes)) != len(self.classes):
            raise ModelError(
                f"Cannot segment with this network: it has {self.network.out_channels} outputs, "
                f"the class names given are {', '.join(self.classes) or 'none'}.",
                "Give one name an output, each once.",
            )

    @property
    def background(self) -> int:
        """The place of the class that is no object."""
        return background_of(self.classes)


def load_segmenter(path: str | Path) -> Segmenter:
    """The segmenter of a checkpoint; its metadata name the `classes`.

    Raises ModelError.
    """
    network, metadata = load(path)
    if not isinstance(network, MSDNet | UNet):
        raise ModelError(
            f"Cannot segment with {path}: it holds a {type(network).__name__}.", "Use an MS-D network or a U-Net."
        )
    return Segmenter(network, class_names(metadata, f"segment with {path}"), normalisation_of(metadata, str(path)))
