"""Masks of doubtful quality: which of them were corrected, and which disagree most with what a network says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as Picture

from photon_triage.core.common.atomic import atomic_file
from photon_triage.core.common.errors import TrainingError
from photon_triage.core.session.session import Session
from photon_triage.core.training.data.classes import VOID
from photon_triage.core.training.data.images import SUFFIXES, MaskedImage, normalised, read_examples
from photon_triage.core.training.tasks.segmentation.segmentation import Mapped, whole_frame
from photon_triage.core.training.tasks.segmentation.segmenter_job import accepted_masks
from photon_triage.models.nets.segmenter import Segmenter

Place = tuple[str, int]
"""An image: its file, and its place in it."""


@dataclass(frozen=True, eq=False)
class Doubt:
    """How far a mask and the network are apart.

    disagreement: the mean of -log p(the class drawn) over the pixels that count. share: of these pixels, those of
    which the network says another class. said: the network's classes, (height, width) uint8. rejected: on the screen.
    """

    name: str
    disagreement: float
    share: float
    said: NDArray[np.uint8]
    rejected: bool = False


def mask_names(examples: Sequence[MaskedImage]) -> list[str]:
    """What a corrected mask of each image is called, without its ending: the image's name, and its place in a stack.

    Raises TrainingError where two images have one name.
    """
    files = [each.image.key.file for each in examples]
    names = [
        Path(each.image.key.file).stem + (f"-{each.image.key.index}" if files.count(each.image.key.file) > 1 else "")
        for each in examples
    ]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise TrainingError(
            f"Could not tell corrected masks apart: {names.count(twice[0])} images are called {twice[0]}.",
            "Give the images names of their own.",
        )
    return names


def with_corrections(examples: Sequence[MaskedImage], folder: Path) -> tuple[list[MaskedImage], list[str]]:
    """The examples with the masks of a folder in place of theirs, and the names of the corrected ones.

    A mask is a file named as `mask_names` says, with the values of the others. Raises TrainingError for a file that
    belongs to no image or does not fit, SourceError where one cannot be read.
    """
    files = {path.stem: path for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES}
    names = mask_names(examples)
    if strange := sorted(set(files) - set(names)):
        raise TrainingError(
            f"Could not use {files[strange[0]]}: no image is called {strange[0]}.",
            f"Call a corrected mask as its image, such as {names[0]}.png.",
        )
    found = []
    for name, example in zip(names, examples, strict=True):
        if name in files:
            mask = read_examples([files[name]])[0].image.pixels
            if mask.shape != example.image.shape:
                raise TrainingError(
                    f"Could not use the mask {files[name]}: it has {' x '.join(map(str, mask.shape))} pixels, its "
                    f"image {' x '.join(map(str, example.image.shape))}.",
                    "Draw it on the whole image.",
                )
            example = replace(example, mask=np.round(mask).astype(np.int64))
        found.append(example)
    return found, sorted(files)


def decided_on_screen(session: Session, classes: tuple[str, ...]) -> tuple[dict[Place, NDArray[np.uint8]], set[Place]]:
    """The masks that were accepted on the screen by the image's file and place, and the images whose was rejected.

    Accepted are only masks of whole frames with these classes.
    """
    labels = list(session.labels().labels.values())
    frames = [label for label in labels if not label.key.point]
    rejected = {(label.key.file, label.key.index) for label in frames if label.verdict == "rejected"}
    if sum(label.verdict == "accepted" for label in frames) < 2 or not session.results_path.exists():
        return {}, rejected
    try:
        mapped, names = accepted_masks(session, frames)
    except TrainingError:
        return {}, rejected
    if names != classes:
        return {}, rejected
    return {(each.image.key.file, each.image.key.index): each.classes for each in mapped}, rejected


@torch.inference_mode()
def doubts(
    segmenter: Segmenter, mapped: Mapping[str, Mapped], device: torch.device, rejected: Set[str] = frozenset()
) -> list[Doubt]:
    """The masks by how much the network disagrees, the most doubtful first; rejected ones before all others.

    A class counts by one over the root of how common it is, as in training. Disagreement is the loss of the mask that
    was drawn: what is wrong is learned late, so that its loss stays high (Northcutt et al. 2021 on self-confidence).
    """
    network = segmenter.network.to(device).eval()
    count = len(segmenter.classes)
    pixels = sum(
        (np.bincount(each.classes.ravel(), minlength=VOID + 1)[:count] for each in mapped.values()), np.zeros(count)
    )
    weights = np.maximum(pixels, 1.0) ** -0.5
    found = []
    for name, each in mapped.items():
        logits = whole_frame(network, normalised(each.image, segmenter.input)[None, None].to(device))[0]
        likely = torch.log_softmax(logits, 0).cpu().numpy()
        said = likely.argmax(0).astype(np.uint8)
        counted = each.classes != VOID
        drawn = each.classes[counted].astype(np.int64)
        if not len(drawn):
            continue
        of_drawn = likely[:, counted][drawn, np.arange(len(drawn))]
        disagreement = float(-(weights[drawn] * of_drawn).sum() / weights[drawn].sum())
        share = float((said[counted] != drawn).mean())
        found.append(Doubt(name, disagreement, share, said, name in rejected))
    return sorted(found, key=lambda each: (not each.rejected, -each.disagreement))


def write_proposals(folder: Path, worst: Sequence[Doubt], values: Sequence[int]) -> list[Path]:
    """The network's masks as PNG files, with the values of the masks that were given, to be corrected by hand.

    Raises TrainingError where the folder cannot be written.
    """
    dtype = np.uint8 if max(values) < 256 else np.uint16
    paths = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for each in worst:
            path = folder / f"{each.name}.png"
            with atomic_file(path) as file:
                Picture.fromarray(np.asarray(values, dtype)[each.said]).save(file, "PNG")
            paths.append(path)
    except OSError as error:
        raise TrainingError(
            f"Could not write masks to correct to {folder}: {error.strerror or error}.", "Make the folder writable."
        ) from error
    return paths


def values_of(examples: Sequence[MaskedImage], void: int | None) -> list[int]:
    """The masks' values in ascending order, without the void one."""
    found = {int(value) for each in examples if each.mask is not None for value in np.unique(each.mask)}
    return sorted(found - {void})
