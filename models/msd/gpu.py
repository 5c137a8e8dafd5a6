"""Form of the network on a GPU: the Triton kernel where triton can be imported, else the form in torch."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from types import ModuleType

import torch
from torch import Tensor

from photon_triage.models.msd.layout import MsdLayout

ROWS = 16
"""Output channels that one step of the kernel computes at most: the height of a tensor core's tile."""

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
"""What the kernel computes in; its sums are float32."""


def gpu_kernel(weights: Tensor) -> ModuleType | None:
    """The module of the kernel for a network with these weights, None where the form in torch has to do."""
    return _kernel() if weights.is_cuda and weights.dtype in DTYPES else None


@cache
def _kernel() -> ModuleType | None:
    try:
        from photon_triage.models.msd import triton_kernel
    except ImportError:
        return None
    return triton_kernel


@dataclass(frozen=True)
class Step:
    """Add what the channels `first` to `last` - 1 contribute to some layers of one dilation.

    The first of `layers` is complete then. `begins`: the layers have no sums yet.
    """

    dilation: int
    first: int
    last: int
    layers: tuple[int, ...]
    begins: bool


def look_ahead(layout: MsdLayout, rows: int = ROWS) -> tuple[Step, ...]:
    """One step a layer: when its turn comes, the channels that are new add to it and to later layers of its dilation.

    No channel is read twice for the same layer, and one read serves up to `rows` output channels.
    """
    by_dilation: dict[int, list[int]] = defaultdict(list)
    for layer, dilation in enumerate(layout.dilations):
        by_dilation[dilation].append(layer)
    size = max(1, rows // layout.width)
    teams = [layers[i : i + size] for layers in by_dilation.values() for i in range(0, len(layers), size)]
    steps = {}
    for team in teams:
        known = 0
        for place, layer in enumerate(team):
            steps[layer] = Step(layout.dilations[layer], known, layout.inputs(layer), tuple(team[place:]), place == 0)
            known = layout.inputs(layer)
    return tuple(steps[layer] for layer in range(layout.depth))
