"""Layers that do not learn: for few labels, or to keep what a feature extractor knows."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from photon_triage.core.common.errors import TrainingError
from photon_triage.models.darknet.darknet import Darknet


def freeze(network: nn.Module, what: str) -> int:
    """Keep layers of a network as they are, the statistics of their batch-norms too; returns how many numbers that are.

    what: the number of first layers of a Darknet network, or beginnings of parameters' names with commas between them.
    Raises TrainingError where that is nothing, or everything.
    """
    prefixes = _prefixes(network, what)
    parameters = dict(network.named_parameters())
    frozen = [parameter for name, parameter in parameters.items() if name.startswith(prefixes)]
    if not frozen or len(frozen) == len(parameters):
        layers = ", ".join(dict.fromkeys(name.rpartition(".")[0] or name for name in parameters))
        raise TrainingError(
            f"Could not freeze {what}: " + ("nothing would be left to learn." if frozen else "there is nothing of it."),
            f"Allowed: beginnings of {layers}.",
        )
    for parameter in frozen:
        parameter.requires_grad_(False)
    for name, module in network.named_modules():
        if isinstance(module, _BatchNorm) and f"{name}.".startswith(prefixes):
            module.register_forward_pre_hook(_as_in_use)
    return sum(parameter.numel() for parameter in frozen)


def _prefixes(network: nn.Module, what: str) -> tuple[str, ...]:
    if not what.isdecimal():
        return tuple(prefix.strip() for prefix in what.split(",") if prefix.strip())
    count = int(what)
    if not isinstance(network, Darknet):
        raise TrainingError(
            f"Could not freeze the first {count} layers: only Darknet networks number theirs.",
            "Give the beginning of parameters' names instead, such as "
            f"{next(iter(dict(network.named_parameters()))).rpartition('.')[0]}.",
        )
    if not 0 < count < len(network.layers):
        raise TrainingError(
            f"Could not freeze the first {count} layers.", f"Allowed: 1 to {len(network.layers) - 1} for this network."
        )
    return tuple(f"layers.{index}." for index in range(count))


def _as_in_use(module: nn.Module, inputs: Any) -> None:
    """Normalise with the kept statistics whatever the rest of the network does."""
    module.eval()
