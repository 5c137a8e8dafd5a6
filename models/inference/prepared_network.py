"""A copy of a network that is made for inference on one device, in one precision."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from photon_triage.models.cpu.packing import pack_convolutions


class Network:
    """A copy of a model that runs on a device, in a precision."""

    def __init__(self, model: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
        fuse = getattr(model, "fused", None)
        twin: nn.Module = copy.deepcopy(model) if fuse is None else fuse()
        twin = twin.eval().requires_grad_(False).to(device=device, dtype=dtype)
        self.channels_last = device.type in ("cpu", "cuda") and getattr(model, "channels_last", True)
        if self.channels_last:
            for parameter in twin.parameters():
                # Module.to() cannot where weights of 3-D convolutions are among them.
                if parameter.ndim == 4:
                    parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        if device.type == "cpu":
            pack_convolutions(twin)
        self.module, self.device, self.dtype = twin, device, dtype

    @torch.inference_mode()
    def __call__(self, batch: Tensor) -> list[Tensor]:
        """The raw outputs in float32."""
        moved = batch.to(device=self.device, dtype=self.dtype, non_blocking=True)
        if self.channels_last and moved.ndim == 4:
            moved = moved.contiguous(memory_format=torch.channels_last)
        outputs = self.module(moved)
        return [output.float() for output in ([outputs] if isinstance(outputs, Tensor) else outputs)]

    @property
    def bytes(self) -> int:
        """Memory of the weights."""
        tensors = [*self.module.parameters(), *self.module.buffers()]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
