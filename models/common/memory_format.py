"""How feature maps lie in memory."""

from __future__ import annotations

import torch
from torch import Tensor


def channels_last(maps: Tensor) -> Tensor:
    """The same values with channels last in memory, which convolutions and pools prefer.

    maps: (batch, channels, *2 or 3 extents). They are always copied: where there is one channel torch cannot see the
    layout otherwise, and what it computes from them would have channels first.
    """
    layout = torch.channels_last if maps.ndim == 4 else torch.channels_last_3d
    return torch.empty_like(maps, memory_format=layout).copy_(maps)
