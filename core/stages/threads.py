"""How many threads the cheap stages take: the cores are the readers' as well."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

FEW_PIXELS = 2**21
"""Of a batch, for which torch's threads wait for each other longer than they work."""


@contextmanager
def few_threads(pixels: int) -> Iterator[None]:
    """Have torch compute in one thread inside the block where a batch has few pixels."""
    before = torch.get_num_threads()
    if pixels > FEW_PIXELS or before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
