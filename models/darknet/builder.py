"""Builder of networks: the sections of a cfg as layers that fit together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, lcm

from photon_triage.models.common.errors import ModelError
from photon_triage.models.common.limits import require_layers, require_map, require_numbers
from photon_triage.models.darknet.cfg import Section, read_net
from photon_triage.models.darknet.heads import BOX_VALUES, HeadConfig, read_head, read_mask
from photon_triage.models.darknet.layers import (
    ACTIVATIONS,
    Convolution,
    Layer,
    NormForm,
    Output,
    Reorg,
    Route,
    Shape,
    Shortcut,
    Upsample,
)
from photon_triage.models.darknet.pooling import Crop, Dropout, GlobalAverage, MaxPool, Softmax
from photon_triage.models.darknet.vocabulary import check_vocabulary

HEADS = ("region", "yolo")


def convolution_numbers(section: Section, shape: Shape, filters: int) -> int:
    """The weights of a convolution, biases and batch-norm aside."""
    return filters * shape[0] * section.integer("size", 1, minimum=1) ** 2 // section.integer("groups", 1, minimum=1)


def convolutional(section: Section, shape: Shape, filters: int, form: NormForm) -> Layer:
    """A convolution; `pad=1` means half the kernel size."""
    channels, groups = shape[0], section.integer("groups", 1, minimum=1)
    if channels % groups or filters % groups:
        raise ModelError(
            f"Cannot use groups={groups} of [convolutional] at line {section.line_of('groups')}: "
            f"{channels} channels and {filters} filters do not divide.",
            "Use a common divisor of both.",
        )
    size = section.integer("size", 1, minimum=1)
    padding = size // 2 if section.flag("pad") else section.integer("padding", 0, minimum=0)
    require_map((channels, *(extent + 2 * padding for extent in shape[1:])), f"{section.place} with its padding")
    return Convolution(
        channels,
        filters,
        size,
        section.integer("stride", 1, minimum=1),
        padding,
        groups,
        section.word("activation", "logistic", tuple(ACTIVATIONS)),
        section.flag("batch_normalize"),
        form,
    )


def maxpool(section: Section, shape: Shape) -> Layer:
    """A pooling; without `padding` Darknet pads size - 1 in all."""
    stride = section.integer("stride", 1, minimum=1)
    size = section.integer("size", stride, minimum=1)
    padding = section.integer("padding", size - 1, minimum=0)
    if padding > size:
        raise ModelError(
            f"Cannot use padding={padding} of [maxpool] at line {section.line_of('padding')}: "
            f"windows of {size} would stand outside the input.",
            f"Allowed: 0 to {size}.",
        )
    require_map((shape[0], *(extent + padding for extent in shape[1:])), f"{section.place} with its padding")
    return MaxPool(size, stride, padding)


def avgpool(section: Section, shape: Shape) -> Layer:
    """The mean over the map."""
    return GlobalAverage()


def crop(section: Section, shape: Shape) -> Layer:
    """A cut-out, no larger than its input."""
    shares = []
    for key, extent in (("crop_height", shape[1]), ("crop_width", shape[2])):
        wanted = section.integer(key, 1, minimum=1)
        if wanted > extent:
            raise ModelError(
                f"Cannot use {key}={wanted} of [crop] at line {section.line_of(key)}: the input has {extent}.",
                f"Allowed: 1 to {extent}.",
            )
        shares.append(Fraction(wanted, extent))
    return Crop(shares[0], shares[1], section.flag("flip"), not section.flag("noadjust"))


def reorg(section: Section, shape: Shape) -> Layer:
    """Darknet's reorg; rows, columns and channels must divide."""
    stride = section.integer("stride", 1, minimum=1)
    channels, height, width = shape
    if height % stride or width % stride or channels % stride**2:
        raise ModelError(
            f"Cannot build {section.place}: {width}x{height}x{channels} cannot be reorganised by {stride}.",
            f"Use rows and columns divisible by {stride} and channels divisible by {stride**2}.",
        )
    return Reorg(stride)


def upsample(section: Section, shape: Shape) -> Layer:
    """An enlargement."""
    return Upsample(section.integer("stride", 2, minimum=1), section.real("scale", 1.0))


def dropout(section: Section, shape: Shape) -> Layer:
    """A dropout."""
    probability = section.real("probability", 0.5, minimum=0.0)
    if probability >= 1:
        line = section.line_of("probability")
        raise ModelError(
            f"Cannot use probability={probability:g} of [dropout] at line {line}: nothing would be left.",
            "Allowed: 0 and above, below 1.",
        )
    return Dropout(probability)


def softmax(section: Section, shape: Shape) -> Layer:
    """A softmax."""
    groups = section.integer("groups", 1, minimum=1)
    if shape[0] % groups:
        raise ModelError(f"Cannot build {section.place}: its channels do not divide by {groups}.", "Use a divisor.")
    temperature = section.real("temperature", 1.0)
    if temperature <= 0:
        raise ModelError(
            f"Cannot use temperature={temperature:g} of [softmax] at line {section.line_of('temperature')}.",
            "Allowed: above 0.",
        )
    is_spatial = section.flag("spatial")
    if is_spatial and (groups, temperature) != (1, 1):
        raise ModelError(
            f"Cannot use spatial of [softmax] at line {section.line_of('spatial')} with groups and temperature: "
            "Darknet ignores them then.",
            "Remove groups= and temperature=, or spatial=.",
        )
    return Softmax(groups, temperature, is_spatial)


def cost(section: Section, shape: Shape) -> Layer:
    """A classifier's cost, which leaves its input as it is."""
    return Output()


MAKERS: dict[str, Callable[[Section, Shape], Layer]] = {
    "maxpool": maxpool,
    "avgpool": avgpool,
    "crop": crop,
    "reorg": reorg,
    "upsample": upsample,
    "dropout": dropout,
    "softmax": softmax,
    "cost": cost,
}
"""What makes the layers that need their section and their input's shape alone."""


@dataclass(frozen=True)
class Node:
    """One layer within the network: which layers it reads (-1 is the input) and whether its input is an output."""

    kind: str
    sources: tuple[int, ...]
    is_output: bool


class NetworkBuilder:
    """Turns sections into layers, keeping track of shapes.

    After `build`: `layers`, a `nodes` entry for each, `heads`, `shapes`, those of the outputs at the cfg's size, and
    `multiple`, of which the input's height and width must be multiples. Raises ModelError, with the cfg's line, where a
    section cannot be built.
    """

    def __init__(
        self, sections: tuple[Section, ...], in_channels: int | None, classes: int | None, form: NormForm
    ) -> None:
        for name, value in (("in_channels", in_channels), ("classes", classes)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise ModelError(
                    f"Cannot build a network with {name}={value!r}.", "Allowed: whole numbers, 1 and above."
                )
        check_vocabulary(sections)
        self.net_section, self.sections = sections[0], sections[1:]
        self.net = read_net(self.net_section)
        self.in_channels = in_channels or self.net.channels
        self.classes = classes
        self.form = form
        self.multiple = 1
        self.numbers = 0
        """Weights of the convolutions so far."""
        self.reductions: list[Fraction] = []
        self.layers: list[Layer] = []
        self.nodes: list[Node] = []
        self.shapes: list[Shape] = []
        self.heads: list[HeadConfig] = []

    @property
    def index(self) -> int:
        """The number of the layer being built."""
        return len(self.layers)

    def build(self) -> None:
        """Build every layer."""
        require_layers(len(self.sections), "the cfg")
        require_map(self.shape(-1), "an input")
        for section in self.sections:
            sources = self.sources(section)
            layer = self.layer(section)
            shape = layer.output_shape(*(self.shape(source) for source in sources))
            if min(shape) < 1:
                raise ModelError(
                    f"Cannot build {section.place}: nothing is left of a {self.shape(sources[0])} input.",
                    "Use a larger input or fewer strides.",
                )
            require_map(shape, section.place)
            self.layers.append(layer)
            self.nodes.append(Node(section.name, sources, section.name in HEADS))
            self.shapes.append(shape)
            self.reductions.append(self.reduction(sources[0]) * layer.reduction)
        if self.heads:
            self.require_multiple()
        else:
            self.mark_classifier_output()

    def require_multiple(self) -> None:
        """A network with heads needs whole cells: an input that every stride divides."""
        self.multiple = self.divisor()
        for key, extent in (("height", self.net.height), ("width", self.net.width)):
            if extent % self.multiple:
                raise ModelError(
                    f"Cannot use {key}={extent} of [net] at line {self.net_section.line_of(key)}: "
                    f"the network's strides do not divide it.",
                    f"Use a multiple of {self.multiple}.",
                )

    def divisor(self) -> int:
        """What an input must be a multiple of for the strides so far to leave no remainder."""
        return lcm(*(ceil(reduction) for reduction in self.reductions))

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

    def reduction(self, index: int) -> Fraction:
        """How many pixels of the input a cell of layer `index` is high and wide."""
        return Fraction(1) if index < 0 else self.reductions[index]

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

    def layer(self, section: Section) -> Layer:
        """The layer of a section."""
        if section.name == "route":
            return self.route(section)
        if section.name == "shortcut":
            return self.shortcut(section)
        if section.name in HEADS:
            return self.head(section)
        shape = self.shape(self.index - 1)
        if section.name == "convolutional":
            filters = self.filters(section)
            self.numbers += convolution_numbers(section, shape, filters)
            require_numbers(self.numbers, f"the network as far as {section.place}")
            return convolutional(section, shape, filters, self.form)
        if section.name not in MAKERS:
            raise ModelError(f"Cannot build {section.place}: it can only come first.", "Leave it out.")
        return MAKERS[section.name](section, shape)

    def filters(self, section: Section) -> int:
        """The filters of a convolution; where classes were given, those that a head or a classifier's end needs."""
        filters = section.integer("filters", 1, minimum=1)
        if self.classes is None:
            return filters
        following = self.sections[self.index + 1 :]
        if following and following[0].name in HEADS:
            anchors = read_mask(following[0], following[0].integer("num", 1, minimum=1))
            return len(anchors) * (BOX_VALUES + self.classes)
        is_last = all(later.name != "convolutional" for later in following)
        has_heads = any(any_section.name in HEADS for any_section in self.sections)
        return self.classes if is_last and not has_heads else filters

    def route(self, section: Section) -> Layer:
        """A concatenation; its sources must agree in height and width."""
        shapes = [self.shape(source) for source in self.sources(section)]
        if len({shape[1:] for shape in shapes}) > 1:
            raise ModelError(
                f"Cannot build [route] at line {section.line_of('layers')}: its layers differ in height or width, "
                f"{', '.join(f'{w}x{h}' for _, h, w in shapes)}.",
                f"Route layers of one size, or use an input whose height and width are multiples of {self.divisor()}.",
            )
        groups, group = section.integer("groups", 1, minimum=1), section.integer("group_id", 0, minimum=0)
        if group >= groups or any(shape[0] % groups for shape in shapes):
            raise ModelError(
                f"Cannot use group_id={group} of groups={groups} of {section.place}.",
                "Use groups that divide the channels, and a group_id below groups.",
            )
        return Route(groups, group)

    def shortcut(self, section: Section) -> Layer:
        """A sum; both sources must have one shape."""
        first, second = (self.shape(source) for source in self.sources(section))
        if first != second:
            raise ModelError(
                f"Cannot build [shortcut] at line {section.line_of('from')}: shapes {first} and {second} differ.",
                "Add layers of one shape.",
            )
        return Shortcut(section.word("activation", "linear", tuple(ACTIVATIONS)))

    def head(self, section: Section) -> Layer:
        """A detection head; the convolution before it must have its channels."""
        channels, rows, columns = self.shape(self.index - 1)
        stride = self.reduction(self.index - 1)
        if stride.denominator != 1:
            raise ModelError(
                f"Cannot build {section.place}: its cells would be {float(stride):g} pixels wide.",
                "Use strides that multiply to a whole number.",
            )
        extent = (self.net.height, self.net.width)
        head = read_head(section, self.index, int(stride), extent, (rows, columns), self.classes)
        if channels != head.channels:
            raise ModelError(
                f"Cannot build {section.place}: expected {head.channels} channels for {len(head.mask)} anchors and "
                f"{head.classes} classes, got {channels}.",
                f"Write filters={head.channels} in the convolution before it.",
            )
        if self.heads and head.classes != self.heads[0].classes:
            raise ModelError(
                f"Cannot use classes={head.classes} of [{section.name}] at line {section.line_of('classes')}: "
                f"the head at line {self.heads[0].line} has {self.heads[0].classes}.",
                "Give every head the same classes.",
            )
        self.heads.append(head)
        return Output()
