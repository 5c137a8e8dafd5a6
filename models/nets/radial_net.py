"""A one-dimensional network on radial profiles: what is in the focus, from mean intensities in rings about the beam."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from photon_triage.models.common.checkpoint import load
from photon_triage.models.common.classes import class_names
from photon_triage.models.common.errors import ModelError
from photon_triage.models.common.registry import register

CHANNELS = 2
"""The logarithm of a ring's mean, and whether any of its pixels is usable."""

FLOOR = 0.01
"""Counts a pixel at which the logarithm levels off: below the weakest background there is nothing to tell apart."""


@register("radial")
class RadialNet(nn.Module):
    """Convolutions along q, each followed by batch-norm, ReLU and a pool of two, then two full layers.

    bins: rings of equal width from q = 0 to q_max (nm⁻¹). classes: outputs, the wanted class last. widths: channels of
    each convolution. kernel: its taps, odd. hidden: outputs of the first full layer. The output is raw: logits. Raises
    ModelError for a bad argument.
    """

    def __init__(
        self,
        bins: int = 96,
        q_max: float = 0.6,
        classes: int = 2,
        widths: Sequence[int] = (16, 32, 32),
        kernel: int = 7,
        hidden: int = 32,
    ) -> None:
        super().__init__()
        left = bins >> len(widths)
        if left < 1 or q_max <= 0 or classes < 2 or kernel % 2 == 0 or not widths or min(*widths, hidden, kernel) < 1:
            raise ModelError(
                f"Cannot build a radial network of {bins} rings to {q_max} nm⁻¹, {classes} classes, widths "
                f"{list(widths)}, {kernel} taps.",
                "Expected q_max > 0, at least 2 classes, an odd kernel, and at least two rings for every pool.",
            )
        self.in_channels = CHANNELS
        self.bins, self.q_max, self.classes = bins, q_max, classes
        self.widths, self.kernel, self.hidden = tuple(widths), kernel, hidden
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise((CHANNELS, *widths)):
            layers += [
                nn.Conv1d(inputs, outputs, kernel, padding=kernel // 2, bias=False),
                nn.BatchNorm1d(outputs),
                nn.ReLU(),
                nn.MaxPool1d(2),
            ]
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(
            nn.Flatten(), nn.Linear(widths[-1] * left, hidden), nn.ReLU(), nn.Linear(hidden, classes)
        )

    @property
    def architecture(self) -> dict[str, Any]:
        """What a checkpoint needs to build the same network again, through the registry."""
        return {
            "family": "radial",
            "bins": self.bins,
            "q_max": self.q_max,
            "classes": self.classes,
            "widths": list(self.widths),
            "kernel": self.kernel,
            "hidden": self.hidden,
        }

    def macs(self, bins: int) -> int:
        """Multiply-accumulates for one profile; raises TypeError for another number of rings than the network's."""
        if bins != self.bins:
            raise TypeError(f"the network has {self.bins} rings")
        channels = (CHANNELS, *self.widths)
        along = sum((bins >> n) * self.kernel * a * b for n, (a, b) in enumerate(pairwise(channels)))
        return along + self.hidden * (self.widths[-1] * (bins >> len(self.widths)) + self.classes)

    @property
    def representation_size(self) -> int:
        """Numbers of a representation: the outputs of the first full layer."""
        return self.hidden

    def representation(self, profiles: Tensor) -> Tensor:
        """What the last layer reads, (batch, representation_size), of profiles as for `forward`."""
        self._check(profiles)
        values: Tensor = self.head[:-1](self.features(profiles))
        return values

    def forward(self, profiles: Tensor) -> Tensor:
        """The logits (batch, classes) of profiles (batch, 2, bins), see `profile_input`; raises ModelError."""
        self._check(profiles)
        logits: Tensor = self.head(self.features(profiles))
        return logits

    def _check(self, profiles: Tensor) -> None:
        if tuple(profiles.shape[1:]) != (CHANNELS, self.bins):
            raise ModelError(
                f"Cannot classify profiles of shape {tuple(profiles.shape)}.",
                f"Expected (batch, {CHANNELS}, {self.bins}).",
            )


@dataclass(frozen=True)
class ProfileClassifier:
    """A network and the names of its classes, of which the last is the wanted one."""

    network: RadialNet
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        """Hold names and outputs together; raises ModelError where they differ."""
        if len(self.classes) != self.network.classes:
            raise ModelError(
                f"Cannot classify with this network: it has {self.network.classes} classes, the names given are "
                f"{', '.join(self.classes) or 'none'}.",
                "Give one name a class, the wanted one last.",
            )

    def scores(self, counts: Tensor, pixels: Tensor) -> Tensor:
        """The probability of the wanted class, (batch,), from sums over rings; see `profile_input`."""
        return torch.softmax(self.network(profile_input(counts, pixels)), 1)[:, -1]


def profile_input(counts: Tensor, pixels: Tensor) -> Tensor:
    """The network's input (batch, 2, bins): log10(1 + mean / FLOOR), and 1 where a ring has usable pixels.

    counts: (batch, bins), summed over each ring's usable pixels. pixels: (batch, bins) or (1, bins), how many those
    are. A ring without any is 0 in both.
    """
    means = counts / pixels.clamp_min(1)
    return torch.stack([torch.log10(1 + means / FLOOR), (pixels > 0).to(means).expand_as(means)], 1)


def load_profile_classifier(path: str | Path) -> ProfileClassifier:
    """The classifier of a checkpoint, in evaluation mode on the CPU; its metadata name the `classes`.

    Raises ModelError.
    """
    network, metadata = load(path)
    if not isinstance(network, RadialNet):
        raise ModelError(
            f"Cannot classify profiles with {path}: it holds a {type(network).__name__}.", "Use a radial network."
        )
    network.eval()
    return ProfileClassifier(network, class_names(metadata, f"classify with {path}"))
