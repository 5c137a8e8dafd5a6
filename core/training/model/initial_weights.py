"""Initial weights of a network, random or from a model, and the layers that stay frozen."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from photon_triage.core.common.errors import TrainingError
from photon_triage.core.session.models.catalog import find_model
from photon_triage.models.common.checkpoint import load
from photon_triage.models.common.classes import named_classes
from photon_triage.models.common.errors import ModelError
from photon_triage.models.darknet.darknet import Darknet

WEIGHTS = ".weights"
SEEN = "images_seen"
"""What a network's loss follows from its past; a network that is partly new begins at 0."""


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


def initialise(network: nn.Module, init: str, models: Path) -> dict[str, Any]:
    """Copy into a new network what fits of `init`: a model's name, a .safetensors file, or a Darknet .weights file.

    models: the folder of the session's models. Returns what was loaded, as JSON values: `text` says it in words, and
    `whole` tells whether nothing of the network stayed random. Raises TrainingError where nothing fits.
    """
    if Path(init).suffix == WEIGHTS:
        return _from_darknet_file(network, Path(init).expanduser())
    entry = find_model(init, models)
    model, metadata = load(entry.path)
    loaded, wanted = copy_fitting(network, model.state_dict())
    if not loaded:
        raise TrainingError(
            f"Could not begin with {entry.name}: none of its tensors has the name and the shape of one of the network.",
            "Begin with a model of the same family, or leave --init out.",
        )
    whole = len(loaded) == wanted
    if whole and isinstance(network, Darknet) and isinstance(model, Darknet):
        network.seen = model.seen
    left = "" if whole else "; the others begin at random"
    return {
        "from": entry.name,
        "file": entry.path.name,
        "loaded": len(loaded),
        "of": wanted,
        "whole": whole,
        "classes": list(named_classes(metadata)),
        "text": f"{len(loaded)} of {wanted} tensors are those of {entry.name}{left}",
    }


def copy_fitting(network: nn.Module, state: Mapping[str, Tensor]) -> tuple[list[str], int]:
    """Copy the tensors whose name, shape and kind are the network's; returns their names, and how many it has."""
    wanted = {name: tensor for name, tensor in network.state_dict().items() if name != SEEN}
    fitting = {
        name: state[name]
        for name, tensor in wanted.items()
        if name in state
        and state[name].shape == tensor.shape
        and state[name].is_floating_point() == tensor.is_floating_point()
    }
    network.load_state_dict(fitting, strict=False)
    return list(fitting), len(wanted)


def _from_darknet_file(network: nn.Module, path: Path) -> dict[str, Any]:
    """The file as far as it goes; where it is another network's, up to the convolution before the first head."""
    if not isinstance(network, Darknet):
        raise TrainingError(
            f"Could not begin with {path}: it is a file of a Darknet network.",
            "Give the name of a model or a .safetensors file.",
        )
    cutoff = None
    try:
        report = network.load_weights(path)
    except ModelError as error:
        cutoff = _before_the_heads(network)
        try:
            report = network.load_weights(path, cutoff)
        except ModelError:
            raise error from None
    whole = not report.missing
    if not whole:
        network.seen = 0
    return {
        "from": path.name,
        "file": str(path),
        "loaded": len(report.loaded),
        "of": len(report.loaded) + len(report.missing),
        "whole": whole,
        "seen": report.seen,
        "cutoff": cutoff,
        "missing": list(report.missing),
        "text": str(report),
    }


def _before_the_heads(network: Darknet) -> int:
    """The number of the convolution that makes what the first head reads."""
    convolutions = [index for index, _ in network.convolutions()]
    with torch.device("meta"):
        heads = [row.index for row in network.layer_table() if row.kind in ("region", "yolo")]
    return max((index for index in convolutions if index < heads[0]), default=0)
