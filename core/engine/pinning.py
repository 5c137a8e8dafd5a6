"""Pinned memory: what a GPU copies by itself while the engine goes on."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch

from photon_triage.core.sources.process.arena import Pin

log = logging.getLogger("photon_triage.engine")


def pin_for(device: torch.device) -> Pin | None:
    """What pins the memory that frames land in for a device, None where it need not be pinned."""
    return _pin if device.type == "cuda" else None


def _pin(address: int, size: int) -> Callable[[], object] | None:
    """Register memory with CUDA; copies are slower, and wait, where that is refused."""
    runtime: Any = torch.cuda.cudart()  # type: ignore[no-untyped-call]
    error = int(runtime.cudaHostRegister(address, size, 0))
    if error:
        log.warning("frames are copied to the GPU from memory that is not pinned (CUDA error %d)", error)
        return None
    return lambda: runtime.cudaHostUnregister(address)
