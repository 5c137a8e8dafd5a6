"""Darknet networks: cfg text in, a torch module out, `.weights` files read and written."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from photon_triage.models import weights
from photon_triage.models.cfg import NetConfig, Section, parse_cfg, read_cfg, read_net, shipped_cfg, shipped_cfgs
from photon_triage.models.errors import ModelError
from photon_triage.models.heads import BOX_VALUES, HeadConfig, read_head
from photon_triage.models.layers import (
    ACTIVATIONS,
    Convolution,
    Dropout,
    GlobalAverage,
    Layer,
    MaxPool,
    Output,
    Reorg,
    Route,
    Shape,
    Shortcut,
    Softmax,
    Upsample,
)
from photon_triage.models.registry import register
from photon_triage.models.weights import WeightsReport

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


@dataclass(frozen=True)
class _Node:
    """One layer within the network: which layers it reads (-1 is the input) and whether its input is an output."""

    kind: str
    sources: tuple[int, ...]
    is_output: bool


class Darknet(nn.Module):
    """A network built from a Darknet cfg.

    Made by `from_cfg`. `net` holds the `[net]` values, `heads` the detection heads in the order of the outputs,
    `layers` one module for each section after `[net]`. `seen`, the number of images it was trained on, is kept with
    the weights. `in_channels` is what the input must have, `classes` what replaced the cfg's classes, None for nothing.
    """

    images_seen: Tensor

    def __init__(self, cfg: str, in_channels: int | None = None, classes: int | None = None) -> None:
        super().__init__()
        sections = parse_cfg(cfg)
        builder = _Builder(sections, in_channels, classes)
        builder.build()
        self.cfg = cfg
        self.net: NetConfig = builder.net
        self.in_channels = builder.in_channels
        self.classes = classes
        self.heads: tuple[HeadConfig, ...] = tuple(builder.heads)
        self.layers = nn.ModuleList(builder.layers)
        self._nodes = tuple(builder.nodes)
        self._release = _last_uses(self._nodes)
        self.register_buffer("images_seen", torch.zeros((), dtype=torch.int64))

    @classmethod
    def from_cfg(cls, text_or_path: str | Path, in_channels: int | None = None, classes: int | None = None) -> Darknet:
        """The network of a cfg text or file, with random weights.

        `in_channels` replaces the cfg's `channels`; `classes` replaces the classes of every head, and the filters of
        the convolution before it. Raises ModelError with the cfg's line where something cannot be built.
        """
        return cls(read_cfg(text_or_path), in_channels, classes)

    @property
    def architecture(self) -> dict[str, str | int | None]:
        """What a checkpoint needs to build the same network again, through the registry."""
        return {"family": "darknet", "cfg": self.cfg, "in_channels": self.in_channels, "classes": self.classes}

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
        if x.ndim != 4 or x.shape[1] != self.in_channels:
            raise ModelError(
                f"Cannot run the network on an input of shape {tuple(x.shape)}.",
                f"Expected (batch, {self.in_channels}, height, width).",
            )
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
        """The convolutions with their layer numbers, of the first `cutoff` layers where given."""
        numbered = enumerate(self.layers)
        return [(i, m) for i, m in numbered if isinstance(m, Convolution) and (cutoff is None or i < cutoff)]

    def load_weights(self, path: str | Path, cutoff: int | None = None) -> WeightsReport:
        """Read a Darknet `.weights` file, as far as it goes, and say what it held.

        `cutoff`: read only the first that many layers, for transfer from a network with another head. A file that ends
        between two layers (`darknet53.conv.74`) is fine; one that ends within a layer, or that goes on behind the last
        layer without `cutoff`, raises ModelError and changes nothing.
        """
        report = weights.load(Path(path), self.convolutions(), cutoff)
        self.seen = report.seen
        return report

    def save_weights(self, path: str | Path, cutoff: int | None = None) -> None:
        """Write a Darknet `.weights` file, of the first `cutoff` layers where given; it appears whole or not at all."""
        weights.save(Path(path), self.convolutions(cutoff), self.seen)

    def parameter_count(self) -> int:
        """Learnable numbers: weights, biases and batch-norm scales."""
        return sum(parameter.numel() for parameter in self.parameters())

    def gmac(self, height: int | None = None, width: int | None = None) -> float:
        """10⁹ multiply-accumulates of the convolutions for one image, at the cfg's size where none is given."""
        return sum(row.gmac for row in self.layer_table(height, width))

    def layer_table(self, height: int | None = None, width: int | None = None) -> list[LayerRow]:
        """One row a layer, like the table Darknet prints, for an input of `height` x `width` pixels."""
        shapes = {-1: (self.in_channels, height or self.net.height, width or self.net.width)}
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


@register("darknet")
def _create(cfg: str | Path, in_channels: int | None = None, classes: int | None = None) -> Darknet:
    """A Darknet from cfg text, a file, or the name of a shipped cfg."""
    return Darknet.from_cfg(shipped_cfg(cfg) if cfg in shipped_cfgs() else cfg, in_channels, classes)


def _last_uses(nodes: tuple[_Node, ...]) -> tuple[tuple[int, ...], ...]:
    """For each layer, whose outputs no later layer reads."""
    last = {index: index for index in range(len(nodes))}
    last[-1] = 0
    for index, node in enumerate(nodes):
        for source in node.sources:
            last[source] = index
    return tuple(tuple(source for source, user in last.items() if user == index) for index in range(len(nodes)))


class _Builder:
    """Turns sections into layers, keeping track of shapes."""

    def __init__(self, sections: tuple[Section, ...], in_channels: int | None, classes: int | None) -> None:
        for name, value in (("in_channels", in_channels), ("classes", classes)):
            if value is not None and value < 1:
                raise ModelError(f"Cannot build a network with {name}={value}.", "Allowed: 1 and above.")
        self.net = read_net(sections[0])
        self.sections = sections[1:]
        self.in_channels = in_channels or self.net.channels
        self.classes = classes
        self.layers: list[Layer] = []
        self.nodes: list[_Node] = []
        self.shapes: list[Shape] = []
        self.heads: list[HeadConfig] = []
        self.makers: dict[str, Callable[[Section], Layer]] = {
            "convolutional": self.convolutional,
            "maxpool": self.maxpool,
            "avgpool": self.avgpool,
            "route": self.route,
            "reorg": self.reorg,
            "shortcut": self.shortcut,
            "upsample": self.upsample,
            "dropout": self.dropout,
            "softmax": self.softmax,
            "cost": self.cost,
            "region": self.head,
            "yolo": self.head,
        }

    @property
    def index(self) -> int:
        """The number of the layer being built."""
        return len(self.layers)

    def build(self) -> None:
        """Build every layer."""
        for section in self.sections:
            maker = self.makers.get(section.name)
            if maker is None:
                raise ModelError(f"Cannot build {section.place}: no such layer.", f"Known: {', '.join(self.makers)}.")
            sources = self.sources(section)
            layer = maker(section)
            shape = layer.output_shape(*(self.shape(source) for source in sources))
            if min(shape) < 1:
                raise ModelError(
                    f"Cannot build {section.place}: nothing is left of a {self.shape(sources[0])} input.",
                    "Use a larger input or fewer strides.",
                )
            self.layers.append(layer)
            self.nodes.append(_Node(section.name, sources, section.name in ("region", "yolo")))
            self.shapes.append(shape)
        if not self.heads:
            self.mark_classifier_output()

    def mark_classifier_output(self) -> None:
        """Without a detection head, the output is the last layer's, or what the final softmax would read."""
        last = self.index - 1
        while last > 0 and self.nodes[last].kind in ("softmax", "cost"):
            self.layers[last] = Output()
            last -= 1
        self.nodes[-1] = _Node(self.nodes[-1].kind, self.nodes[-1].sources, True)

    def shape(self, index: int) -> Shape:
        """The output shape of layer `index`, -1 being the input."""
        return (self.in_channels, self.net.height, self.net.width) if index < 0 else self.shapes[index]

    def sources(self, section: Section) -> tuple[int, ...]:
        """The layers that a section reads, as absolute numbers."""
        if section.name == "route":
            references = section.integers("layers")
            if not references:
                raise ModelError(f"Cannot build {section.place}: it names no layers.", "Add layers=, such as -1,-4.")
            return tuple(self.resolve(section, "layers", reference) for reference in references)
        if section.name == "shortcut":
            return self.index - 1, self.resolve(section, "from", section.integer("from"))
        return (self.index - 1,)

    def resolve(self, section: Section, key: str, reference: int) -> int:
        """A layer number from one that counts from the first layer, or backwards where negative."""
        absolute = reference + self.index if reference < 0 else reference
        if not 0 <= absolute < self.index:
            raise ModelError(
                f"Cannot build [{section.name}] at line {section.line_of(key)}: "
                f"{key} names layer {reference}, which is not before layer {self.index}.",
                f"Allowed: 0 to {self.index - 1}, or -1 to -{self.index}.",
            )
        return absolute

    def convolutional(self, section: Section) -> Layer:
        """A convolution; `pad=1` means half the kernel size."""
        section.warn_of_unknown_keys(
            ("filters", "size", "stride", "pad", "padding", "groups", "activation", "batch_normalize")
        )
        channels = self.shape(self.index - 1)[0]
        filters, groups = section.integer("filters", 1, minimum=1), section.integer("groups", 1, minimum=1)
        if self.classes is not None:
            filters = self.filters_before_head(filters)
        if channels % groups or filters % groups:
            raise ModelError(
                f"Cannot use groups={groups} of [convolutional] at line {section.line_of('groups')}: "
                f"{channels} channels and {filters} filters do not divide.",
                "Use a common divisor of both.",
            )
        size = section.integer("size", 1, minimum=1)
        return Convolution(
            channels,
            filters,
            size,
            section.integer("stride", 1, minimum=1),
            size // 2 if section.flag("pad") else section.integer("padding", 0, minimum=0),
            groups,
            section.word("activation", "logistic", tuple(ACTIVATIONS)),
            section.flag("batch_normalize"),
        )

    def filters_before_head(self, filters: int) -> int:
        """The filters that a head with the replaced classes needs, where the next section is a head."""
        following = self.sections[self.index + 1] if self.index + 1 < len(self.sections) else None
        if following is None or following.name not in ("region", "yolo"):
            return filters
        anchors = len(following.integers("mask")) or following.integer("num", 1, minimum=1)
        return anchors * (BOX_VALUES + (self.classes or 0))

    def maxpool(self, section: Section) -> Layer:
        """A pooling; without `padding` Darknet pads size - 1 in all."""
        section.warn_of_unknown_keys(("size", "stride", "padding"))
        stride = section.integer("stride", 1, minimum=1)
        size = section.integer("size", stride, minimum=1)
        padding = section.integer("padding", size - 1, minimum=0)
        if padding > size:
            raise ModelError(
                f"Cannot use padding={padding} of [maxpool] at line {section.line_of('padding')}: "
                f"windows of {size} would stand outside the input.",
                f"Allowed: 0 to {size}.",
            )
        return MaxPool(size, stride, padding)

    def avgpool(self, section: Section) -> Layer:
        """The mean over the map."""
        section.warn_of_unknown_keys(())
        return GlobalAverage()

    def route(self, section: Section) -> Layer:
        """A concatenation; its sources must agree in height and width."""
        section.warn_of_unknown_keys(("layers", "groups", "group_id"))
        shapes = [self.shape(source) for source in self.sources(section)]
        if len({shape[1:] for shape in shapes}) > 1:
            raise ModelError(
                f"Cannot build [route] at line {section.line_of('layers')}: its layers differ in height or width, "
                f"{', '.join(f'{w}x{h}' for _, h, w in shapes)}.",
                "Route layers of one size.",
            )
        groups, group = section.integer("groups", 1, minimum=1), section.integer("group_id", 0, minimum=0)
        if group >= groups or any(shape[0] % groups for shape in shapes):
            raise ModelError(
                f"Cannot use group_id={group} of groups={groups} of {section.place}.",
                "Use groups that divide the channels, and a group_id below groups.",
            )
        return Route(groups, group)

    def reorg(self, section: Section) -> Layer:
        """Darknet's reorg; rows, columns and channels must divide."""
        section.warn_of_unknown_keys(("stride",))
        stride = section.integer("stride", 1, minimum=1)
        channels, height, width = self.shape(self.index - 1)
        if height % stride or width % stride or channels % stride**2:
            raise ModelError(
                f"Cannot build {section.place}: {width}x{height}x{channels} cannot be reorganised by {stride}.",
                f"Use rows and columns divisible by {stride} and channels divisible by {stride**2}.",
            )
        return Reorg(stride)

    def shortcut(self, section: Section) -> Layer:
        """A sum; both sources must have one shape."""
        section.warn_of_unknown_keys(("from", "activation"))
        first, second = (self.shape(source) for source in self.sources(section))
        if first != second:
            raise ModelError(
                f"Cannot build [shortcut] at line {section.line_of('from')}: shapes {first} and {second} differ.",
                "Add layers of one shape.",
            )
        return Shortcut(section.word("activation", "linear", tuple(ACTIVATIONS)))

    def upsample(self, section: Section) -> Layer:
        """An enlargement."""
        section.warn_of_unknown_keys(("stride", "scale"))
        return Upsample(section.integer("stride", 2, minimum=1), section.real("scale", 1.0))

    def dropout(self, section: Section) -> Layer:
        """A dropout."""
        section.warn_of_unknown_keys(("probability",))
        probability = section.real("probability", 0.5, minimum=0.0)
        if probability >= 1:
            line = section.line_of("probability")
            raise ModelError(
                f"Cannot use probability={probability:g} of [dropout] at line {line}: nothing would be left.",
                "Allowed: 0 and above, below 1.",
            )
        return Dropout(probability)

    def softmax(self, section: Section) -> Layer:
        """A softmax."""
        section.warn_of_unknown_keys(("groups", "temperature"))
        groups = section.integer("groups", 1, minimum=1)
        if self.shape(self.index - 1)[0] % groups:
            raise ModelError(f"Cannot build {section.place}: its channels do not divide by {groups}.", "Use a divisor.")
        return Softmax(groups, section.real("temperature", 1.0))

    def cost(self, section: Section) -> Layer:
        """A classifier's cost, which leaves its input as it is."""
        section.warn_of_unknown_keys(("type",))
        return Output()

    def head(self, section: Section) -> Layer:
        """A detection head; the convolution before it must have its channels."""
        channels, _, width = self.shape(self.index - 1)
        stride = max(1, round(self.net.width / width))
        head = read_head(section, self.index, stride, (self.net.height, self.net.width), self.classes)
        if channels != head.channels:
            raise ModelError(
                f"Cannot build {section.place}: expected {head.channels} channels for {len(head.mask)} anchors and "
                f"{head.classes} classes, got {channels}.",
                f"Write filters={head.channels} in the convolution before it.",
            )
        self.heads.append(head)
        return Output()
