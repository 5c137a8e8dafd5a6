"""Where a network runs and in which layout: decided here and nowhere else."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from photon_triage.models.darknet import Darknet
from photon_triage.models.errors import ModelError

InferenceCall = Callable[[Tensor], list[Tensor]]
"""A batch (batch, channels, height, width) on any device in, raw outputs on the model's device out."""

BACKENDS = ("cuda", "mps", "cpu")


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


def prepare_for_inference(model: nn.Module, device: torch.device) -> InferenceCall:
    """A function from a batch to the model's raw outputs, with a copy of the model that is made for speed.

    The copy is in evaluation mode and float32, has batch-norm folded into the convolutions where the model can do that,
    and keeps channels last, which the convolutions of CPUs and GPUs prefer. The model itself stays as it is.
    """
    twin = model.fused() if isinstance(model, Darknet) else copy.deepcopy(model).eval().requires_grad_(False)
    twin = twin.to(device=device, dtype=torch.float32)
    has_channels_last = device.type in ("cpu", "cuda")
    if has_channels_last:
        twin = twin.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.inference_mode()
    def run(batch: Tensor) -> list[Tensor]:
        moved = batch.to(device=device, dtype=torch.float32, non_blocking=True)
        if has_channels_last and moved.ndim == 4:
            moved = moved.contiguous(memory_format=torch.channels_last)
        outputs = twin(moved)
        return [outputs] if isinstance(outputs, Tensor) else list(outputs)

    return run


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
