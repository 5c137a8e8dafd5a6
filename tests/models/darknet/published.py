"""The published networks as cfg text, from their layer tables.

`thin` divides the filters of all layers but those before the heads, so that a whole network runs in a moment.
"""

from __future__ import annotations

COCO = 80

V3_ANCHORS = "10,13, 16,30, 33,23, 30,61, 62,45, 59,119, 116,90, 156,198, 373,326"
TINY_ANCHORS = "10,14, 23,27, 37,58, 81,82, 135,169, 344,319"
V2_ANCHORS = "0.57273,0.677385, 1.87446,2.06253, 3.33843,5.47434, 7.88282,3.52778, 9.77052,9.16828"


class Writer:
    """Cfg text, section by section; filters are divided by `thin`."""

    def __init__(self, width: int, height: int, thin: int = 1) -> None:
        self.text = f"[net]\nwidth={width}\nheight={height}\nchannels=3\n"
        self.thin = thin

    def add(self, section: str, **options: object) -> None:
        self.text += f"[{section}]\n" + "".join(f"{key.rstrip('_')}={value}\n" for key, value in options.items())

    def conv(self, filters: int, size: int = 3, stride: int = 1) -> None:
        filters = max(filters // self.thin, 4)
        options = {"size": size, "stride": stride, "pad": 1, "activation": "leaky"}
        self.add("convolutional", batch_normalize=1, filters=filters, **options)

    def convs(self, *filters: int) -> None:
        """3x3 and 1x1 convolutions in turn, as in all Darknet backbones: the larger ones are 3x3."""
        for number in filters:
            self.conv(number, 3 if number >= max(filters) else 1)

    def linear(self, filters: int) -> None:
        self.add("convolutional", filters=filters, size=1, stride=1, pad=1, activation="linear")

    def pool(self) -> None:
        self.add("maxpool", size=2, stride=2)

    def residual(self, filters: int, count: int) -> None:
        """A convolution of stride 2, and `count` blocks that add to it."""
        self.conv(filters, 3, 2)
        for _ in range(count):
            self.convs(filters // 2, filters)
            self.add("shortcut", from_=-3, activation="linear")

    def darknet19(self) -> None:
        self.conv(32)
        self.pool()
        self.conv(64)
        for filters in ((128, 64, 128), (256, 128, 256), (512, 256, 512, 256, 512), (1024, 512, 1024, 512, 1024)):
            self.pool()
            self.convs(*filters)

    def darknet53(self) -> None:
        self.conv(32)
        for filters, count in ((64, 1), (128, 2), (256, 8), (512, 8), (1024, 4)):
            self.residual(filters, count)

    def region(self, classes: int) -> None:
        self.linear(5 * (5 + classes))
        self.add("region", anchors=V2_ANCHORS, bias_match=1, classes=classes, coords=4, num=5, softmax=1)

    def yolo(self, classes: int, mask: str, anchors: str, num: int) -> None:
        self.linear(3 * (5 + classes))
        self.add("yolo", mask=mask, anchors=anchors, classes=classes, num=num, ignore_thresh=0.7, truth_thresh=1)

    def branch(self, filters: int, layer: int) -> None:
        """To the next finer head: back before the last head's convolutions, up, and beside an earlier layer."""
        self.add("route", layers=-4)
        self.conv(filters, 1)
        self.add("upsample", stride=2)
        self.add("route", layers=f"-1,{layer}")


def yolov2(width: int, height: int, classes: int = COCO, thin: int = 1) -> str:
    net = Writer(width, height, thin)
    net.darknet19()
    net.convs(1024, 1024)
    net.add("route", layers=-9)
    net.conv(64, 1)
    net.add("reorg", stride=2)
    net.add("route", layers="-1,-4")
    net.conv(1024)
    net.region(classes)
    return net.text


def yolov2_tiny(width: int, height: int, last: int, classes: int, thin: int = 1) -> str:
    net = Writer(width, height, thin)
    for filters in (16, 32, 64, 128, 256):
        net.conv(filters)
        net.pool()
    net.conv(512)
    net.add("maxpool", size=2, stride=1)
    net.conv(1024)
    net.conv(last)
    net.region(classes)
    return net.text


def yolov3(width: int, height: int, classes: int = COCO, thin: int = 1, *, pyramid: bool = False) -> str:
    """YOLOv3, with a pyramid of poolings its spp form."""
    net = Writer(width, height, thin)
    net.darknet53()
    if pyramid:
        net.convs(512, 1024)
        net.conv(512, 1)
        for size, back in ((5, -2), (9, -4)):
            net.add("maxpool", stride=1, size=size)
            net.add("route", layers=back)
        net.add("maxpool", stride=1, size=13)
        net.add("route", layers="-1,-3,-5,-6")
        for filters in (512, 1024, 512, 1024):
            net.conv(filters, 1 if filters == 512 else 3)
    else:
        net.convs(512, 1024, 512, 1024, 512, 1024)
    net.yolo(classes, "6,7,8", V3_ANCHORS, 9)
    for filters, mask, layer in ((256, "3,4,5", 61), (128, "0,1,2", 36)):
        net.branch(filters, layer)
        net.convs(*[filters, 2 * filters] * 3)
        net.yolo(classes, mask, V3_ANCHORS, 9)
    return net.text


def yolov3_tiny(width: int, height: int, classes: int = COCO, thin: int = 1) -> str:
    net = Writer(width, height, thin)
    for filters in (16, 32, 64, 128, 256):
        net.conv(filters)
        net.pool()
    net.conv(512)
    net.add("maxpool", size=2, stride=1)
    net.conv(1024)
    net.conv(256, 1)
    net.conv(512)
    net.yolo(classes, "3,4,5", TINY_ANCHORS, 6)
    net.branch(128, 8)
    net.conv(256)
    net.yolo(classes, "0,1,2", TINY_ANCHORS, 6)
    return net.text


def darknet19(width: int, height: int, classes: int = 1000, thin: int = 1) -> str:
    net = Writer(width, height, thin)
    net.darknet19()
    net.linear(classes)
    net.add("avgpool")
    net.add("softmax", groups=1)
    net.add("cost", type="sse")
    return net.text


def darknet53(width: int, height: int, classes: int = 1000, thin: int = 1) -> str:
    net = Writer(width, height, thin)
    net.darknet53()
    net.add("avgpool")
    net.linear(classes)
    net.add("softmax", groups=1)
    return net.text
