"""Several processes that train one network: each takes its part of every batch, and all take the same step.

Each process draws the whole batch with the same random numbers, runs the network on its own part, and gathers what the
others computed, so that the loss is that of the whole batch in every process. Only the first process writes.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from photon_triage.core.common.errors import TrainingError
from photon_triage.models.darknet.layers import BatchNorm

WAIT = timedelta(hours=12)
"""How long a process waits for the others: a training may be paused. torchrun ends all when one of them dies."""


SAID_OF_OTHERS = ("gloo", "NCCL", "Connection", "Socket")
"""Words in what torch raises when another process cannot be reached."""


class OtherRankDone(Exception):
    """In every process but the first: the batches are done, and what follows is the first one's alone."""


def rank() -> int:
    """The number of this process among those that train together; 0 for one that trains alone."""
    return dist.get_rank() if dist.is_initialized() else 0


def ranks() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_first() -> bool:
    """Whether this process is the one that writes."""
    return rank() == 0


def wait_for_all() -> None:
    """Return when all processes have come here."""
    if ranks() > 1:
        dist.barrier()


@contextmanager
def joined(device: str | None = None) -> Iterator[None]:
    """Train with the other processes that torchrun started, if it did, while the block runs.

    On CUDA each process has the GPU of its local number, and they talk by NCCL; else by Gloo. Raises TrainingError
    where a device of its own was asked for, and where another process has ended.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) <= 1:
        yield
        return
    if device is not None and ":" in device:
        raise TrainingError(
            f"Could not train in several processes on {device} alone.", "Give --device cuda or cpu, or none."
        )
    told = signal.signal(signal.SIGTERM, _end)
    on_cuda = device in (None, "auto", "cuda") and torch.cuda.is_available()
    try:
        if on_cuda:
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        dist.init_process_group("nccl" if on_cuda else "gloo", timeout=WAIT)
        yield
    except RuntimeError as error:
        if not isinstance(error, dist.DistError) and not any(word in str(error) for word in SAID_OF_OTHERS):
            raise
        raise TrainingError(
            f"Could not go on training in process {os.environ.get('RANK', '?')} of {os.environ['WORLD_SIZE']}: another "
            f"one has ended or cannot be reached ({str(error).splitlines()[0]}).",
            "Look at what it said; the same command then goes on from the last state.",
        ) from error
    finally:
        signal.signal(signal.SIGTERM, told)
        if dist.is_initialized():
            dist.destroy_process_group()


def _end(signal_number: int, frame: object) -> None:
    raise TrainingError(
        f"Process {os.environ.get('RANK', '?')} of the training was ended, as another one has.",
        "Look at what that one said; the same command then goes on from the last state.",
    )


def spread(network: nn.Module) -> Callable[[Tensor], Any]:
    """The network as a function of a whole batch, of which this process computes its part; alone, the network itself.

    What the function returns is of the whole batch, in its order, and has gradients; batch-norm sees the whole batch
    too. Raises TrainingError for a batch that cannot be divided evenly.
    """
    if ranks() == 1:
        return network
    share_norms(network)
    device = next(network.parameters()).device
    parallel = DistributedDataParallel(network, device_ids=[device.index] if device.type == "cuda" else None)

    def whole(batch: Tensor) -> Any:
        return _gathered(parallel(batch[_own(len(batch))]))

    return whole


def _own(count: int) -> slice:
    part, left = divmod(count, ranks())
    if left:
        raise TrainingError(
            f"Could not divide a batch of {count} among {ranks()} processes.",
            f"Give --batch as a multiple of {ranks()}, or start as many processes as divide it.",
        )
    return slice(rank() * part, (rank() + 1) * part)


def _gathered(outputs: Any) -> Any:
    if isinstance(outputs, Tensor):
        return _Gather.apply(outputs)  # type: ignore[no-untyped-call]
    return [_gathered(each) for each in outputs]


class _Gather(torch.autograd.Function):
    """The outputs of all processes, in their order.

    All compute the same loss from them, so the gradient of a process's own part is known to it. DistributedDataParallel
    then divides by the number of processes, which is undone here.
    """

    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        parts = [torch.empty_like(own, memory_format=torch.contiguous_format) for _ in range(ranks())]
        dist.all_gather(parts, own.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0][_own(len(gradients[0]))] * ranks()


class _Sum(torch.autograd.Function):
    """The sum over all processes; so is its gradient."""

    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        total = own.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        dist.all_reduce(total)
        return total


def share_norms(network: nn.Module) -> None:
    """Let every batch-norm of the network take its statistics from the parts of all processes, in place.

    torch's own SyncBatchNorm runs on GPUs only; this runs everywhere, and is the same kind of norm still.
    """
    for module in network.modules():
        if type(module) is BatchNorm:
            module.__class__ = _SharedDarknetNorm
        elif type(module) is nn.BatchNorm2d:
            module.__class__ = _SharedNorm
        elif type(module) is nn.BatchNorm1d:
            module.__class__ = _SharedProfileNorm


class _SharedNorm(nn.BatchNorm2d):
    def forward(self, input: Tensor) -> Tensor:
        if not self.training or ranks() == 1:
            return super().forward(input)
        return _shared(self, input)


class _SharedDarknetNorm(BatchNorm):
    def forward(self, input: Tensor) -> Tensor:
        if not self.training or ranks() == 1:
            return super().forward(input)
        return _shared(self, input)


class _SharedProfileNorm(nn.BatchNorm1d):
    def forward(self, input: Tensor) -> Tensor:
        if not self.training or ranks() == 1:
            return super().forward(input)
        return _shared(self, input)


def _shared(norm: nn.BatchNorm1d | nn.BatchNorm2d, input: Tensor) -> Tensor:
    """Batch-norm of feature maps (part of the batch, filters, ...) by the mean and variance of all parts."""
    others = [axis for axis in range(input.dim()) if axis != 1]
    along = [-1 if axis == 1 else 1 for axis in range(input.dim())]
    count = input.numel() // input.shape[1] * ranks()
    mean = _total(input.sum(others)) / count
    centred = input - mean.view(along)
    variance = _total(centred.square().sum(others)) / count
    if norm.running_mean is not None and norm.running_var is not None and norm.momentum is not None:
        assert norm.num_batches_tracked is not None
        with torch.no_grad():
            norm.running_mean.lerp_(mean, norm.momentum)
            norm.running_var.lerp_(variance * (count / max(1, count - 1)), norm.momentum)
            norm.num_batches_tracked += 1
    output = centred * torch.rsqrt(variance + norm.eps).view(along)
    return output * norm.weight.view(along) + norm.bias.view(along)


def _total(own: Tensor) -> Tensor:
    total: Tensor = _Sum.apply(own)  # type: ignore[no-untyped-call]
    return total
