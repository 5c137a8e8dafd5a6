"""The device that networks run on."""

from __future__ import annotations

import torch

from photon_triage.models.common.errors import ModelError

BACKENDS = ("cuda", "mps", "cpu")
"""The fastest first."""


def best_device(request: str | None = None) -> torch.device:
    """The device to run on: what `request` names, such as "cpu" or "cuda:1", else the fastest there is.

    Raises ModelError where the request names no device of this machine.
    """
    if request is None or request == "auto":
        return torch.device(next(backend for backend in BACKENDS if _device_count(backend)))
    hint = f"Available: auto, {', '.join(_available_devices())}."
    try:
        device = torch.device(request)
    except RuntimeError as error:
        raise ModelError(f"Cannot run on {request!r}: no such kind of device.", hint) from error
    if device.type not in BACKENDS or (device.index or 0) >= _device_count(device.type):
        raise ModelError(f"Cannot run on {request!r}: this machine or this torch has no such device.", hint)
    return device


def _device_count(backend: str) -> int:
    if backend == "cuda":
        return torch.cuda.device_count() if torch.cuda.is_available() else 0
    if backend == "mps":
        return int(torch.backends.mps.is_available())
    return 1


def _available_devices() -> list[str]:
    counts = {backend: _device_count(backend) for backend in BACKENDS}
    return [name for name, count in counts.items() if count == 1] + [
        f"{name}:{index}" for name, count in counts.items() if count > 1 for index in range(count)
    ]
