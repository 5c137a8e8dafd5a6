"""A data set to train YOLO networks on: 8-bit images, boxes as text, and data.yaml.

Layout: images/<part>/NAME.png with labels/<part>/NAME.txt, `class cx cy w h` a line, as parts of the image's width and
height (pjreddie.com/darknet/yolo, and the data sets of Ultralytics). An image whose text is empty holds no object.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from photon_triage.core.common.errors import ExportError
from photon_triage.core.export.list_content import SIMULATED, ListContent, looked_at, pixels, stem_of
from photon_triage.core.frames import Box, FrameKey
from photon_triage.core.sources import FrameReader

CANDIDATE = "candidate"
VALIDATION_EVERY = 5
"""Every fifth image is for validation."""
GREY_PERCENTILES = (1.0, 99.0)
"""Of an image's grey values, what becomes black and white."""


@dataclass(frozen=True, slots=True)
class YoloExample:
    """A frame with its boxes and their classes, in pixels of the whole frame."""

    key: FrameKey
    boxes: tuple[tuple[str, Box], ...]


def write(content: ListContent, path: Path) -> dict[str, Any]:
    """Images of the selected frames with their boxes, and of rejected ones without any, in a folder.

    Frames: the best box that the network found, with the label's class where it has one. Candidates: a box about each
    selected one. Raises ExportError where no frame has a box, or a frame cannot be read.
    """
    examples = _of_candidates(content) if content.recipe.unit == "candidates" else _of_frames(content)
    classes = sorted({name for example in examples for name, _ in example.boxes})
    if not classes:
        raise ExportError(
            "Could not write a YOLO data set: no selected frame has a box.",
            "Accept frames that the network has found something on, or lower the threshold.",
        )
    for kind in ("images", "labels"):
        for part in ("train", "val"):
            (path / kind / part).mkdir(parents=True)
    counts = {"train": 0, "val": 0}
    for number, (example, image) in enumerate(_images(content, examples)):
        part = "val" if number % VALIDATION_EVERY == VALIDATION_EVERY - 1 else "train"
        name = f"{number:06d}-{_safe(stem_of(example.key.file))}-{example.key.index}"
        Image.fromarray(image).save(path / "images" / part / f"{name}.png")
        lines = [_line(classes.index(category), box, image.shape) for category, box in example.boxes]
        (path / "labels" / part / f"{name}.txt").write_text("".join(lines), encoding="ascii")
        counts[part] += 1
    (path / "data.yaml").write_text(_yaml(classes, content.simulated), encoding="utf-8")
    return {"classes": classes, "images": counts, "boxes": sum(len(example.boxes) for example in examples)}


def _of_frames(content: ListContent) -> list[YoloExample]:
    examples = []
    selected = {row.frame.key for row in content.rows}
    for row in content.every:
        rejected = row.label is not None and row.label.verdict == "rejected"
        if row.frame.key in selected and not rejected:
            found = content.results.detections(row.frame.frame_id)[:1]
            label = row.label.category if row.label else ""
            if found:
                examples.append(YoloExample(row.frame.key, tuple((label or each.category, each.box) for each in found)))
        elif rejected:
            examples.append(YoloExample(row.frame.key, ()))
    return examples


def _of_candidates(content: ListContent) -> list[YoloExample]:
    boxes: dict[FrameKey, list[tuple[str, Box]]] = defaultdict(list)
    size = content.box_size
    for row in content.rows:
        if row.frame.key.point and not (row.label is not None and row.label.verdict == "rejected"):
            x, y = row.frame.key.point
            category = (row.label.category if row.label else "") or CANDIDATE
            boxes[row.frame.key.frame].append((category, Box(x + 0.5 - size / 2, y + 0.5 - size / 2, size, size)))
    return [YoloExample(key, tuple(found)) for key, found in sorted(boxes.items())]


def _images(content: ListContent, examples: Sequence[YoloExample]) -> Iterator[tuple[YoloExample, NDArray[np.uint8]]]:
    by_file: dict[str, list[YoloExample]] = defaultdict(list)
    for example in examples:
        by_file[example.key.file].append(example)
    table = content.recipe.prepare
    with FrameReader(roots=content.recipe.source.roots) as reader:
        for path, some in by_file.items():
            file = content.files[path]
            _, mask = looked_at(reader, file)
            frames = (frame for block in pixels(reader, file, [each.key.index for each in some]) for frame in block)
            for example, frame in zip(some, frames, strict=True):
                if content.recipe.reads_images:
                    yield example, grey(frame, mask)
                else:
                    yield example, counts_as_grey(frame, mask, table.scale == "log", table.full_scale)


def grey(frame: NDArray[Any], valid: NDArray[np.bool_] | None) -> NDArray[np.uint8]:
    """An image (height, width) between two of its percentiles as 8 bit; pixels that are not usable are black."""
    usable = np.isfinite(frame) if valid is None else np.isfinite(frame) & valid
    values = frame.astype(np.float32)
    black, white = np.percentile(values[usable], GREY_PERCENTILES) if usable.any() else (0.0, 1.0)
    scaled = (np.where(usable, values, black) - black) / max(float(white - black), 1e-12)
    return np.round(scaled.clip(0, 1) * 255).astype(np.uint8)


def counts_as_grey(
    frame: NDArray[Any], valid: NDArray[np.bool_] | None, log: bool, full_scale: float | None
) -> NDArray[np.uint8]:
    """Counts (height, width) as 8 bit in the scale that the recipe gives its network; gaps are black."""
    largest = np.iinfo(frame.dtype).max if frame.dtype.kind == "u" and frame.dtype.itemsize > 1 else None
    values = np.where(frame == largest, 0, frame) if largest is not None else frame
    counts = np.nan_to_num(values.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0).clip(min=0)
    if valid is not None:
        counts = np.where(valid, counts, 0)
    top = full_scale or max(float(counts.max(initial=0)), 1.0)
    scaled = np.log1p(counts) / np.log1p(top) if log else counts / top
    return np.round(scaled.clip(0, 1) * 255).astype(np.uint8)


def _line(number: int, box: Box, shape: tuple[int, ...]) -> str:
    """A box, cut to the image, as parts of its width and height."""
    height, width = shape
    left, right = (min(max(edge, 0.0), width) for edge in (box.x, box.x + box.width))
    top, bottom = (min(max(edge, 0.0), height) for edge in (box.y, box.y + box.height))
    parts = ((left + right) / 2 / width, (top + bottom) / 2 / height, (right - left) / width, (bottom - top) / height)
    return f"{number} " + " ".join(f"{part:.6f}" for part in parts) + "\n"


def _yaml(classes: Sequence[str], simulated: bool) -> str:
    """JSON strings are YAML strings, so any name can stand in it. Without `path`, the file's own folder is the root."""
    head = [f"# {SIMULATED}"] if simulated else []
    names = [f"  {number}: {json.dumps(name)}" for number, name in enumerate(classes)]
    return "\n".join([*head, "train: images/train", "val: images/val", "names:", *names]) + "\n"


def _safe(stem: str) -> str:
    return "".join(character if character.isascii() and character.isalnum() else "_" for character in stem)[:80]
