"""From the sections of a cfg to layers that fit together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from photon_triage.models.cfg import Section, read_net
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


@dataclass(frozen=True)
class Node:
    """One layer within the network: which layers it reads (-1 is the input) and whether its input is an output."""

    kind: str
    sources: tuple[int, ...]
    is_output: bool


class NetworkBuilder:
    """Turns sections into layers, keeping track of shapes.

    After `build`: `layers`, a `nodes` entry for each, `heads`, and `shapes`, those of the outputs at the cfg's size.
    Raises ModelError, with the cfg's line, where a section cannot be built.
    """

    def __init__(self, sections: tuple[Section, ...], in_channels: int | None, classes: int | None) -> None:
        for name, value in (("in_channels", in_channels), ("classes", classes)):
            if value is not None and value < 1:
                raise ModelError(f"Cannot build a network with {name}={value}.", "Allowed: 1 and above.")
        self.net = read_net(sections[0])
        self.sections = sections[1:]
        self.in_channels = in_channels or self.net.channels
        self.classes = classes
        self.layers: list[Layer] = []
        self.nodes: list[Node] = []
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
            self.nodes.append(Node(section.name, sources, section.name in ("region", "yolo")))
            self.shapes.append(shape)
        if not self.heads:
            self.mark_classifier_output()

    def mark_classifier_output(self) -> None:
        """Without a detection head, the output is the last layer's, or what the final softmax would read."""
        last = self.index - 1
        while last > 0 and self.nodes[last].kind in ("softmax", "cost"):
            self.layers[last] = Output()
            last -= 1
        self.nodes[-1] = Node(self.nodes[-1].kind, self.nodes[-1].sources, True)

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
