"""A network from whatever names one: a checkpoint, a cfg, or a registered architecture with options."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from photon_triage.models.common.checkpoint import load
from photon_triage.models.common.errors import ModelError, ModelWarning
from photon_triage.models.common.registry import available, create
from photon_triage.models.darknet.cfg import shipped_cfgs
from photon_triage.models.darknet.darknet import Darknet
from photon_triage.models.files.pytorch_import import fit_tensors, read_tensors


@dataclass(frozen=True)
class Opened:
    """A network, its metadata as far as there are any, and notes on how it came to be."""

    model: nn.Module
    metadata: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def open_network(what: str, options: Mapping[str, Any] | None = None, weights: Path | None = None) -> Opened:
    """The network that `what` names: a .safetensors checkpoint, a cfg file or shipped cfg, an architecture.

    options: the builder's arguments of a cfg or an architecture. weights: Darknet's .weights for a cfg. Without weights
    they are random. Raises ModelError where there is no such thing, or where it cannot be built.
    """
    given, path = dict(options or {}), Path(what).expanduser()
    if what in shipped_cfgs() or path.suffix == ".cfg":
        return open_cfg(what if what in shipped_cfgs() else str(path), given, weights)
    if weights is not None:
        raise ModelError(
            f"Cannot read {weights} into {what}: only a network of a cfg has such weights.", "Name a .cfg."
        )
    if what in available():
        return Opened(create(what, **given), notes=("random weights",))
    if path.suffix or path.exists():
        if given:
            raise ModelError(f"Cannot give options to {what}: a checkpoint says itself how it is built.", "Leave them.")
        model, metadata = load(path)
        return Opened(model, metadata)
    raise ModelError(
        f"Cannot find a network named {what!r}.",
        f"Give a .safetensors or .cfg file, a shipped cfg ({', '.join(shipped_cfgs())}) or an architecture "
        f"({', '.join(available())}).",
    )


def open_cfg(cfg: str, options: Mapping[str, Any], weights: Path | None) -> Opened:
    """The Darknet network of a cfg file or a shipped cfg's name, with the numbers of a .weights file.

    What the cfg's reader warns of is among the notes.
    """
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always", ModelWarning)
            network = Darknet.from_cfg(cfg, **options)
    except TypeError as error:
        raise ModelError(
            f"Cannot build {cfg}: {error}.", "Options of a cfg: in_channels, classes, norm_form."
        ) from error
    notes = tuple(str(warning.message) for warning in warned)
    if weights is None:
        return Opened(network, notes=(*notes, "random weights"))
    return Opened(network, {"source": str(weights)}, (*notes, str(network.load_weights(weights))))


def open_foreign(path: Path, family: str, options: Mapping[str, Any], *, by_order: bool = False) -> Opened:
    """A new network of an architecture with the tensors of a .pt, .pth or .safetensors file."""
    model = create(family, **options)
    tensors = read_tensors(path)
    kept = fit_tensors(model, tensors, str(path), by_order=by_order)
    notes = [f"{path}: {len(tensors)} tensors loaded"]
    if kept:
        notes.append(f"not in the file, left as built: {', '.join(kept)}")
    return Opened(model, {"source": str(path)}, tuple(notes))
