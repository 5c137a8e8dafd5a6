"""Darknet networks: cfg text in, a torch module out, `.weights` files read and written."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from photon_triage.models.common.errors import ModelError
from photon_triage.models.common.registry import register
from photon_triage.models.darknet import weights
from photon_triage.models.darknet.builder import NetworkBuilder, Node
from photon_triage.models.darknet.cfg import NetConfig, parse_cfg, read_cfg, shipped_cfg, shipped_cfgs
from photon_triage.models.darknet.heads import HeadConfig
from photon_triage.models.darknet.layers import Convolution, Layer, NormForm, Shape, checked_form
from photon_triage.models.darknet.weights import Channels, WeightsReport

__all__ = ["Darknet", "LayerRow", "WeightsReport", "shipped_cfg", "shipped_cfgs"]


@dataclass(frozen=True)
class LayerRow:
    """One row of the layer table: shapes are (channels, height, width), `gmac` in 10⁹ multiply-accumulates."""

    index: int
    kind: str
    filters: int | None
    size: str
    sources: tuple[int, ...]
    input_shape: Shape
    output_shape: Shape
    gmac: float

    def __str__(self) -> str:
        source = " ".join(str(index) for index in self.sources) if self.kind in ("route", "shortcut") else ""
        (c, h, w), (oc, oh, ow) = self.input_shape, self.output_shape
        filters = "" if self.filters is None else str(self.filters)
        return (
            f"{self.index:4d} {self.kind:13s} {filters:>5s} {self.size or source:>9s} "
            f"{w:4d} x{h:4d} x{c:5d} -> {ow:4d} x{oh:4d} x{oc:5d} {2 * self.gmac:8.3f} BFLOPs"
        )


class Darknet(nn.Module):
    """A network built from a Darknet cfg.

    Made by `from_cfg`. `net` holds the `[net]` values, `heads` the detection heads in the order of the outputs,
    `layers` one module for each section after `[net]`. `seen`, the number of images it was trained on, is kept with
    the weights. `in_channels` is what the input must have, `classes` what replaced the cfg's classes, None for nothing,
    `size_multiple` that of which the input's height and width must be multiples. `norm_form` is batch-norm's: see
    `photon_triage.models.darknet.layers`.
    """

    images_seen: Tensor

    def __init__(
        self, cfg: str, in_channels: int | None = None, classes: int | None = None, norm_form: NormForm = "cpu"
    ) -> None:
        super().__init__()
        sections = parse_cfg(cfg)
        builder = NetworkBuilder(sections, in_channels, classes, checked_form(norm_form))
        builder.build()
        self.cfg = cfg
        self.net: NetConfig = builder.net
        self.in_channels = builder.in_channels
        self.classes = classes
        self.norm_form = builder.form
        self.size_multiple = builder.multiple
        self.heads: tuple[HeadConfig, ...] = tuple(builder.heads)
        self.layers = nn.ModuleList(builder.layers)
        self._nodes = tuple(builder.nodes)
        self._release = _last_uses(self._nodes)
        self.register_buffer("images_seen", torch.zeros((), dtype=torch.int64))

    @classmethod
    def from_cfg(
        cls,
        text_or_path: str | Path,
        in_channels: int | None = None,
        classes: int | None = None,
        norm_form: NormForm = "cpu",
    ) -> Darknet:
        """The network of a cfg text, a cfg file or a shipped cfg's name, with random weights.

        `in_channels` replaces the cfg's `channels`; `classes` replaces the classes of every head and the filters of
        the convolution before it, and the filters of a classifier's last convolution. Raises ModelError with the cfg's
        line where something cannot be built.
        """
        return cls(read_cfg(text_or_path), in_channels, classes, norm_form)

    @property
    def architecture(self) -> dict[str, str | int | None]:
        """What a checkpoint needs to build the same network again, through the registry."""
        return {
            "family": "darknet",
            "cfg": self.cfg,
            "in_channels": self.in_channels,
            "classes": self.classes,
            "norm_form": self.norm_form,
        }

    @property
    def input_size(self) -> tuple[int, int]:
        """(height, width) of the input in pixels, as the cfg gives it."""
        return self.net.height, self.net.width

    @property
    def seen(self) -> int:
        """Images the network was trained on so far."""
        return int(self.images_seen.item())

    @seen.setter
    def seen(self, images: int) -> None:
        self.images_seen.fill_(images)

    def forward(self, x: Tensor) -> list[Tensor]:
        """The raw tensors of the heads, before any activation.

        x: (batch, channels, height, width) float32, 0 to 1. Returns one tensor for each region or yolo section in the
        cfg's order, (batch, anchors · (5 + classes), rows, columns); for a classifier one tensor, the input of the
        final softmax. An output that no later layer reads is dropped at once.
        """
        self._require_input(tuple(x.shape))
        kept = {-1: x}
        outputs: list[Tensor] = []
        for index, (layer, node) in enumerate(zip(self.layers, self._nodes, strict=True)):
            kept[index] = layer(*(kept[source] for source in node.sources))
            if node.is_output:
                outputs.append(kept[index])
            for source in self._release[index]:
                del kept[source]
        return outputs

    def convolutions(self, cutoff: int | None = None) -> list[tuple[int, Convolution]]:
        """The convolutions with their layer numbers, of the layers 0 to `cutoff` - 1 where given."""
        numbered = [(index, layer) for index, layer in enumerate(self.layers) if isinstance(layer, Convolution)]
        return weights.first_layers(numbered, cutoff)

    def load_weights(
        self, path: str | Path, cutoff: int | None = None, file_channels: int | None = None
    ) -> WeightsReport:
        """Read a Darknet `.weights` file, as far as it goes, and say what it held.

        `cutoff`: read only the first that many layers, for transfer from a network with another head. A file that ends
        between two layers (`darknet53.conv.74`) is fine; one that ends within a layer, that goes on behind the last
        layer without `cutoff`, or whose numbers cannot be this network's raises ModelError with the layer's number, and
        changes nothing.

        `file_channels`: the input channels of the network that wrote the file, where they may differ from this one's;
        without it the file's size decides. Three channels are added into one, which gives what the file's network says
        of a grey image in all its channels; one channel becomes three of a third each.
        """
        report = weights.load(
            Path(path), self.convolutions(), Channels(self.in_channels, self.net.channels, file_channels), cutoff
        )
        self.seen = report.seen
        return report

    def save_weights(self, path: str | Path, cutoff: int | None = None) -> None:
        """Write a Darknet `.weights` file, of the layers 0 to `cutoff` - 1 where given; it appears whole or not at all.

        Raises ModelError where it cannot be written.
        """
        weights.save(Path(path), self.convolutions(cutoff), self.seen)

    def parameter_count(self) -> int:
        """Learnable numbers: weights, biases and batch-norm scales."""
        return sum(parameter.numel() for parameter in self.parameters())

    def gmac(self, height: int | None = None, width: int | None = None) -> float:
        """10⁹ multiply-accumulates of the convolutions for one image, at the cfg's size where none is given."""
        return sum(row.gmac for row in self.layer_table(height, width))

    def layer_table(self, height: int | None = None, width: int | None = None) -> list[LayerRow]:
        """One row a layer, like the table Darknet prints, for an input of `height` x `width` pixels."""
        size = (height or self.net.height, width or self.net.width)
        self._require_input((1, self.in_channels, *size))
        shapes = {-1: (self.in_channels, *size)}
        rows = []
        for index, (layer, node) in enumerate(zip(self.layers, self._nodes, strict=True)):
            assert isinstance(layer, Layer)
            inputs = [shapes[source] for source in node.sources]
            shapes[index] = layer.output_shape(*inputs)
            filters = layer.convolution.out_channels if isinstance(layer, Convolution) else None
            gmac = layer.macs(shapes[index]) / 1e9
            rows.append(
                LayerRow(index, node.kind, filters, layer.describe(), node.sources, inputs[0], shapes[index], gmac)
            )
        return rows

    def fused(self) -> Darknet:
        """A copy for inference with every batch-norm folded into its convolution; it cannot be trained or saved."""
        twin = copy.deepcopy(self).eval().requires_grad_(False)
        for _, convolution in twin.convolutions():
            convolution.fold_norm()
        return twin.requires_grad_(False)

    def _require_input(self, shape: tuple[int, ...]) -> None:
        """Raise ModelError for an input that the network cannot run on."""
        multiple = self.size_multiple
        fits = len(shape) == 4 and min(shape) > 0 and shape[1] == self.in_channels
        if fits and shape[2] % multiple == 0 and shape[3] % multiple == 0:
            return
        sizes = f", height and width multiples of {multiple}" if multiple > 1 else ""
        raise ModelError(
            f"Cannot run the network on an input of shape {shape}.",
            f"Expected (batch, {self.in_channels}, height, width){sizes}.",
        )


@register("darknet")
def _create(
    cfg: str, in_channels: int | None = None, classes: int | None = None, norm_form: NormForm = "cuda"
) -> Darknet:
    """A Darknet from cfg text, or the name of a shipped cfg; never from a file, because a checkpoint's metadata say it.

    A checkpoint that does not name a form was trained, and is run, with that of CUDA.
    """
    if not isinstance(cfg, str):
        raise ModelError(f"Cannot build a Darknet network: its cfg is a {type(cfg).__name__}.", "Expected a text.")
    return Darknet(shipped_cfg(cfg) if cfg in shipped_cfgs() else cfg, in_channels, classes, norm_form)


def _last_uses(nodes: tuple[Node, ...]) -> tuple[tuple[int, ...], ...]:
    """For each layer, whose outputs no later layer reads."""
    last = {index: index for index in range(len(nodes))}
    last[-1] = 0
    for index, node in enumerate(nodes):
        for source in node.sources:
            last[source] = index
    return tuple(tuple(source for source, user in last.items() if user == index) for index in range(len(nodes)))
