"""Weights that others saved: PyTorch's .pt and .pth read without running their code, and bare .safetensors."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from photon_triage.models.checkpoint import load_state
from photon_triage.models.errors import ModelError

NESTS = ("state_dict", "model_state_dict", "model", "network", "net", "weights", "params")
"""The keys under which training scripts keep the tensors."""

WRAPPERS = ("module.", "_orig_mod.", "model.")
"""What DataParallel, torch.compile and Lightning put before the names."""


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a .pt, .pth or .safetensors file by name, on the CPU.

    A pickle is read with weights_only=True: what is not plain data is refused, and no code of the file runs. Wrapping
    keys and prefixes are taken off. Raises ModelError.
    """
    source = Path(path)
    loaded = _read_safetensors(source) if source.suffix.lower() == ".safetensors" else _read_pickle(source)
    if not isinstance(loaded, Mapping):
        raise ModelError(f"Cannot import {source}: it holds a {type(loaded).__name__}, no tensors by name.", _SAVE_HINT)
    for key in NESTS:
        if isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
            break
    tensors = {str(name): value for name, value in loaded.items() if isinstance(value, Tensor)}
    if not tensors:
        raise ModelError(f"Cannot import {source}: it holds no tensors.", _SAVE_HINT)
    for prefix in WRAPPERS:
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors


def fit_tensors(model: nn.Module, tensors: Mapping[str, Tensor], source: str, *, by_order: bool = False) -> list[str]:
    """Copy `tensors` into `model`; returns the buffers that were not among them and stay as built.

    by_order: the first tensor for the model's first, and so on, whatever their names; their shapes must agree. Raises
    ModelError with the tensors that do not fit, and copies nothing then.
    """
    own = model.state_dict()
    buffers = {name for name, _ in model.named_buffers()}
    if by_order:
        targets = list(own) if len(tensors) == len(own) else [name for name in own if name not in buffers]
        if len(tensors) != len(targets):
            raise ModelError(
                f"Cannot import {source} by order: it has {len(tensors)} tensors, the network {len(targets)}.",
                "Import it by names, or choose the options of the network that was saved.",
            )
        tensors = dict(zip(targets, tensors.values(), strict=True))
    kept = [name for name in own if name in buffers and name not in tensors]
    load_state(model, {**{name: own[name] for name in kept}, **tensors}, source)
    return kept


_SAVE_HINT = "Expected what torch.save(model.state_dict(), path) writes."


def _read_safetensors(source: Path) -> dict[str, Tensor]:
    try:
        return load_file(source)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"Cannot import {source}: {error}.", "Copy the file again.") from error


def _read_pickle(source: Path) -> object:
    try:
        return torch.load(source, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"Cannot import {source}: it holds more than tensors and plain values, and reading that could run code.",
            f"Ask who made it for the tensors alone. {_SAVE_HINT}",
        ) from error
    except OSError as error:
        raise ModelError(f"Cannot import {source}: {error.strerror or error}.", "Give a .pt or .pth file.") from error
    except (RuntimeError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ModelError(f"Cannot import {source}: it is damaged, or no file of PyTorch's.", _SAVE_HINT) from error
