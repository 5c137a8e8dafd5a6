"""The eight rotations and flips of a square: none of them changes what an image without a direction shows."""

from __future__ import annotations

import torch
from torch import Tensor

SYMMETRIES = 8


def turned(images: Tensor, which: int) -> Tensor:
    """Images (..., n, n) turned by `which` quarters of a circle, from 4 on mirrored first."""
    mirrored = images.flip(-1) if which >= 4 else images
    return torch.rot90(mirrored, which % 4, (-2, -1))
