"""Checkpoints: weights as safetensors, with everything needed to build the model again and to judge it.

The metadata stands in the header of the safetensors file, so that one rename makes the checkpoint complete, and once
more, for people, in a `.json` beside it. No pickle is read or written.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as as_bytes
from torch import Tensor, nn

from photon_triage.models.common.errors import ModelError
from photon_triage.models.common.input_files import open_regular, parse_json, read_regular, require_size
from photon_triage.models.common.limits import LARGEST_FILE, LARGEST_HEADER
from photon_triage.models.common.output_files import atomic_path
from photon_triage.models.common.registry import create, outline

HEADER_KEY = "photon_triage"
"""The key of the metadata within the safetensors header."""

PICKLE_SUFFIXES = (".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin")

PICKLE_STARTS = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK\x03\x04")
"""How pickles and torch's zip files begin; a safetensors file may begin so too, and has a brace as its ninth byte."""

MISFITS_SHOWN = 4
"""Tensors that a message names where they do not fit; of the others it gives the number."""


def save(path: str | Path, model_or_state: nn.Module | Mapping[str, Tensor], metadata: Mapping[str, Any]) -> Path:
    """Write a checkpoint `path` (.safetensors) and its metadata beside it (.json); each appears whole or not at all.

    metadata: JSON values. `architecture` holds the registry's `family` and the arguments to build it with; where it is
    missing, the model's own `architecture` is taken. A model's learnable `parameters` are counted. Everything else is
    free: training data, scores, parent. Returns the path of the safetensors file. Raises ModelError where the metadata
    are not JSON or name no architecture.
    """
    target = Path(path)
    if target.suffix != ".safetensors":
        raise ModelError(f"Cannot save a checkpoint as {target}.", "Expected a name that ends in .safetensors.")
    complete = dict(metadata)
    if "architecture" not in complete and isinstance(model_or_state, nn.Module):
        complete["architecture"] = getattr(model_or_state, "architecture", None)
    _family(target, complete)
    if isinstance(model_or_state, nn.Module):
        complete.setdefault("parameters", sum(parameter.numel() for parameter in model_or_state.parameters()))
    try:
        text = json.dumps(complete, indent=2, ensure_ascii=False, allow_nan=False)
        if not _is_unicode(text):  # such as the name of a file whose bytes are no UTF-8
            text = json.dumps(complete, indent=2, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ModelError(f"Cannot save {target}: its metadata is not JSON: {error}.", "Use plain values.") from error
    state = model_or_state.state_dict() if isinstance(model_or_state, nn.Module) else model_or_state
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # Not safetensors' own writer: what that writes only its owner may read, and sessions are shared.
        data = as_bytes(tensors, {HEADER_KEY: text})
        with atomic_path(target) as partial:
            partial.write_bytes(data)
        with atomic_path(target.with_suffix(".json")) as partial:
            partial.write_text(text + "\n", encoding="utf-8")
    except (OSError, SafetensorError) as error:
        raise ModelError(f"Cannot save the checkpoint {target}: {error}.", "Check the folder and its space.") from error
    return target


def read_metadata(path: str | Path) -> dict[str, Any]:
    """The metadata of a checkpoint, without its tensors: those in its header, else those of the `.json` beside it."""
    source = _checked(path)
    try:
        with safe_open(source, framework="pt") as file:
            text = (file.metadata() or {}).get(HEADER_KEY)
        metadata = parse_json(text or read_regular(source.with_suffix(".json"), LARGEST_HEADER, os.O_NOFOLLOW))
    except FileNotFoundError as error:
        raise ModelError(
            f"Cannot load {source}: neither its header nor a .json beside it says what it is.",
            f"Import it: photon-triage models import {source} --family NAME --option KEY=VALUE -o OTHER.safetensors",
        ) from error
    except (OSError, SafetensorError, ValueError, MemoryError) as error:
        raise ModelError(f"Cannot load the checkpoint {source}: {error}.", "Copy the file again.") from error
    _family(source, metadata)
    return dict(metadata)


def load(path: str | Path) -> tuple[nn.Module, dict[str, Any]]:
    """The model of a checkpoint, in evaluation mode on the CPU, and its metadata.

    Raises ModelError for pickles, for damaged files, and where names, shapes or kinds of tensors differ from those of
    the architecture: nothing is copied then.
    """
    source = _checked(path)
    metadata = read_metadata(source)
    options = dict(metadata["architecture"])
    family = str(options.pop("family"))
    # Without memory first: a file that says it is of another size than it has costs none.
    try:
        tensors = described(source)
    except (OSError, SafetensorError, MemoryError) as error:
        raise ModelError(f"Cannot load the checkpoint {source}: {error}.", "Copy the file again.") from error
    require_fit(outline(family, **options), tensors, str(source))
    model = create(family, **options)
    load_state(model, _read_tensors(source), str(source))
    return model.eval(), metadata


def parameter_count(path: str | Path) -> int:
    """The learnable numbers of a checkpoint's model, whose tensors are not read. Raises ModelError."""
    options = dict(read_metadata(path)["architecture"])
    model = outline(str(options.pop("family")), **options)
    return sum(parameter.numel() for parameter in model.parameters())


def load_state(model: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Copy `state` into `model` after comparing names, shapes and kinds; `source` names it in messages.

    Raises ModelError with the first tensors that do not fit, and copies nothing then.
    """
    require_fit(model, state, source)
    model.load_state_dict(dict(state))


def require_fit(model: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Raise ModelError with the first tensors of `state` that are not as `model` needs them."""
    complaints = misfits(model, state)
    if complaints:
        more = len(complaints) - MISFITS_SHOWN
        shown = complaints[:MISFITS_SHOWN] + ([f"and {more} more"] if more > 0 else [])
        raise ModelError(
            f"Cannot load {source}: {'; '.join(shown)}.",
            "The file is of another architecture than is said, or of another version.",
        )


def misfits(model: nn.Module, state: Mapping[str, Tensor]) -> list[str]:
    """What is wrong with each tensor of `state` that is not as `model` needs it."""
    wanted = model.state_dict()
    found = []
    for name, tensor in wanted.items():
        given = state.get(name)
        if given is None:
            found.append(f"it lacks the tensor {name} {tuple(tensor.shape)}")
        elif given.shape != tensor.shape:
            found.append(f"expected {name} of shape {tuple(tensor.shape)}, got {tuple(given.shape)}")
        elif given.is_floating_point() != tensor.is_floating_point():
            found.append(f"expected {name} as {tensor.dtype}, got {given.dtype}")
    return found + [f"the architecture has no tensor {name}" for name in sorted(set(state) - set(wanted))]


def conversion_hint(path: Path) -> str:
    """How a pickle is made a checkpoint."""
    return (
        "Convert it, reading tensors alone (weights_only=True): "
        f"photon-triage models import {path} --family NAME --option KEY=VALUE -o {path.with_suffix('.safetensors')}"
    )


def _checked(path: str | Path) -> Path:
    """The path, if what is there can be a checkpoint at all."""
    source = Path(path)
    if source.suffix.lower() in PICKLE_SUFFIXES:
        raise ModelError(
            f"Cannot load {source}: it may hold a pickle, which can run code when read.", conversion_hint(source)
        )
    try:
        with open(open_regular(source), "rb") as file:  # noqa: PTH123 - a descriptor has no path
            require_size(file.fileno(), source, LARGEST_FILE)
            start = file.read(9)
    except OSError as error:
        raise ModelError(f"Cannot load {source}: {error.strerror or error}.", "Give a .safetensors file.") from error
    if start.startswith(PICKLE_STARTS) and start[8:9] != b"{":
        raise ModelError(
            f"Cannot load {source}: it is a pickle, which can run code when read.", conversion_hint(source)
        )
    if (length := int.from_bytes(start[:8], "little")) > LARGEST_HEADER and start[8:9] == b"{":
        raise ModelError(
            f"Cannot load {source}: its header is said to have {length:,} bytes, at most {LARGEST_HEADER:,} are read.",
            "Copy the file again, or ask where it comes from.",
        )
    if source.suffix == ".weights":
        raise ModelError(
            f"Cannot load {source}: it is a Darknet file, which does not say of which network.",
            f"Convert it: photon-triage models import {source} --cfg FILE.cfg -o {source.with_suffix('.safetensors')}",
        )
    return source


def described(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file by name as its header describes them, without memory.

    Raises OSError or SafetensorError.
    """
    with safe_open(path, framework="pt") as file:
        parts = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
        return {name: _without_memory(part.get_shape(), part.get_dtype()) for name, part in parts.items()}


def _without_memory(shape: Sequence[int], kind: str) -> Tensor:
    """A tensor of that shape and of a kind as safetensors names it: F32, BF16, I64, BOOL, ..."""
    floating = kind.startswith(("F", "BF"))
    return torch.empty(tuple(shape), dtype=torch.float32 if floating else torch.int64, device="meta")


def _read_tensors(source: Path) -> dict[str, Tensor]:
    try:
        with safe_open(source, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, MemoryError) as error:
        raise ModelError(f"Cannot load the checkpoint {source}: {error}.", "Copy the file again.") from error


def _family(path: Path, metadata: Mapping[str, Any]) -> str:
    """The registry's name of the architecture."""
    architecture = metadata.get("architecture") if isinstance(metadata, Mapping) else None
    if not isinstance(architecture, Mapping) or not isinstance(architecture.get("family"), str):
        raise ModelError(
            f"Cannot use the metadata of {path}: they name no architecture.",
            "Expected {'architecture': {'family': name, ...}}.",
        )
    return str(architecture["family"])


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
