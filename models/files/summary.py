"""Summary of a network: its input, its learnable numbers, its work, and its layers."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import nn

from photon_triage.models.common.errors import ModelError
from photon_triage.models.darknet.darknet import Darknet
from photon_triage.models.msd import MSDNet
from photon_triage.models.nets.patch_classifier import PatchClassifier
from photon_triage.models.nets.radial_net import RadialNet

USUAL_SIZE = (512, 512)
"""Pixels for which the work of a network is counted that takes frames of any size."""

DARKNET_HEADING = "layer kind          filters    size             input ->           output       work"

Row = tuple[str, str, str]
"""A layer's name, what it is, and its learnable numbers."""


@dataclass(frozen=True)
class Summary:
    """What a network is made of.

    input: (channels, height, width), (channels, depth, height, width) or (channels, rings). gmac: 10⁹ multiplications
    with addition for one such input, None where the network does not count them. layers: lines of a table under
    `heading`.
    """

    family: str
    input: tuple[int, ...]
    parameters: int
    gmac: float | None
    heading: str
    layers: tuple[str, ...]


def summarise(model: nn.Module, size: tuple[int, ...] | None = None) -> Summary:
    """The summary of a network for frames of `size` (height, width); where None, of its own or the usual size.

    Raises ModelError for a size that the network cannot take.
    """
    extents = size or input_size(model)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    family = str(getattr(model, "architecture", {}).get("family", type(model).__name__))
    heading, layers = _layers(model, extents)
    shape = (int(getattr(model, "in_channels", 1)), *extents)
    return Summary(family, shape, parameters, _gmac(model, extents), heading, layers)


def input_size(model: nn.Module) -> tuple[int, ...]:
    """The extents of the input that the network is made for, or else the usual ones."""
    if isinstance(model, Darknet):
        return model.input_size
    if isinstance(model, PatchClassifier):
        return tuple(model.options.patch)
    if isinstance(model, RadialNet):
        return (model.bins,)
    return USUAL_SIZE


def _gmac(model: nn.Module, extents: tuple[int, ...]) -> float | None:
    if isinstance(model, Darknet):
        return model.gmac(*extents)
    count = getattr(model, "macs", None)
    if count is None:
        return None
    try:
        return float(count(*extents)) / 1e9
    except TypeError as error:
        raise ModelError(f"Cannot count the work for {'x'.join(map(str, extents))}: {error}.") from error


def _layers(model: nn.Module, extents: tuple[int, ...]) -> tuple[str, tuple[str, ...]]:
    if isinstance(model, Darknet):
        return DARKNET_HEADING, tuple(map(str, model.layer_table(*extents)))
    rows = _msd_rows(model) if isinstance(model, MSDNet) else _module_rows(model)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [f"{name:{widths[0]}}  {kind:{widths[1]}}  {count:>{widths[2]}}".rstrip() for name, kind, count in rows]
    return lines[0], tuple(lines[1:])


def _module_rows(model: nn.Module) -> list[Row]:
    """A row for each module that has no modules within."""
    rows: list[Row] = [("module", "kind", "parameters")]
    for name, module in model.named_modules():
        if next(module.children(), None) is None:
            own = sum(parameter.numel() for parameter in module.parameters())
            rows.append((name or "(all)", str(module), f"{own:,}" if own else ""))
    return rows


def _msd_rows(model: MSDNet) -> list[Row]:
    """A row for each layer, which reads all channels before it."""
    rows: list[Row] = [("layer", "kind", "parameters")]
    for number, (weight, dilation) in enumerate(zip(model.layer_weights(), model.layout.dilations, strict=True)):
        kind = f"3x3, dilation {dilation}, {weight.shape[1]} -> {weight.shape[0]} channels"
        rows.append((str(number), kind, f"{weight.numel() + weight.shape[0]:,}"))
    outputs, channels = model.final_weight.shape
    rows.append(("final", f"1x1, {channels} -> {outputs} channels", f"{math.prod((outputs, channels + 1)):,}"))
    return rows
