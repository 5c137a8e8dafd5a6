"""Images to train on, read from files and folders with the masks drawn for them, and their normalisation."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as Picture
from torch import Tensor

from photon_triage.core.common.errors import NotYetError, SourceError, TrainingError
from photon_triage.core.frames import FrameKey, as_counts
from photon_triage.core.sources import FrameReader
from photon_triage.core.sources.common.names import natural_order
from photon_triage.models.common.classes import Normalisation
from photon_triage.models.common.input_files import open_regular

PICTURES, ARRAYS = (".png",), (".npy",)
DETECTOR_FILES = (".tif", ".tiff", ".h5", ".hdf5", ".hdf", ".nxs", ".nx", ".cxi")
SUFFIXES = DETECTOR_FILES + PICTURES + ARRAYS
NAMED_AT_MOST = 5


@dataclass(frozen=True, eq=False)
class Image:
    """An image: its key, grey values (height, width) as they were measured, and which pixels are usable."""

    key: FrameKey
    pixels: NDArray[Any]
    usable: NDArray[np.bool_]
    simulated: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.pixels.shape[0], self.pixels.shape[1]

    @property
    def name(self) -> str:
        """The file's name, with the index where it is not the first one there."""
        return Path(self.key.file).name + (f"[{self.key.index}]" if self.key.index else "")


@dataclass(frozen=True, eq=False)
class MaskedImage:
    """An image with its mask as it was drawn, (height, width) of whole numbers, and where to search, bool."""

    image: Image
    mask: NDArray[Any] | None = None
    within: NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an image stands: a file, a data set in it, an index."""

    path: Path
    dataset: str
    index: int
    simulated: bool = False
    mask: NDArray[np.bool_] | None = None

    @property
    def name(self) -> str:
        return self.path.name + (f"[{self.index}]" if self.index else "")


def read_examples(
    images: Sequence[Path],
    masks: Sequence[Path] = (),
    within: Sequence[Path] = (),
    only: slice = slice(None),
) -> list[MaskedImage]:
    """The images of files and folders, each with its mask and with where to search, where such are given.

    A folder gives its TIFF, HDF5, PNG and .npy files. Images and masks are paired in the sorted order of their names,
    a stack's in their own; `only` is the slice of the pairs to read. Raises TrainingError that says what is missing or
    does not fit, SourceError for a file that cannot be read.
    """
    with FrameReader() as reader:
        places = _places(images, reader, "images")
        masks_of = _paired(places, _places(masks, reader, "masks"), "masks")[only]
        within_of = _paired(places, _places(within, reader, "masks to search within"), "masks to search within")[only]
        if not places[only]:
            raise TrainingError(
                f"Could not train: --only takes none of the {len(places)} images.", "Use a slice such as 0:14."
            )
        examples = []
        for place, mask_place, within_place in zip(places[only], masks_of, within_of, strict=True):
            image = _image(place, reader)
            mask = None if mask_place is None else _mask(mask_place, image, reader)
            region = None if within_place is None else _mask(within_place, image, reader) != 0
            examples.append(MaskedImage(image, mask, region))
    return examples


def _places(paths: Sequence[Path], reader: FrameReader, what: str) -> list[_Place]:
    """Every image of files and folders, in the sorted order of names."""
    files: list[Path] = []
    for given in paths:
        path = given.expanduser()
        if path.is_dir():
            inside = [
                each for each in path.iterdir() if each.suffix.lower() in SUFFIXES and not each.name.startswith(".")
            ]
            if not inside:
                raise TrainingError(
                    f"Could not read {what} from {path}: there are no image files in it.",
                    f"Files with these endings are read: {', '.join(SUFFIXES)}.",
                )
            files += inside
        elif path.exists():
            files.append(path)
        else:
            raise TrainingError(f"Could not read {what} from {path}: there is no such file or folder.", "Check it.")
    files.sort(key=lambda path: natural_order(str(path)))
    return [place for path in files for place in _in_file(path, reader)]


def _in_file(path: Path, reader: FrameReader) -> list[_Place]:
    suffix = path.suffix.lower()
    if suffix in PICTURES:
        return [_Place(path, "", 0)]
    if suffix in ARRAYS:
        shape = _array(path).shape
        return [_Place(path, "", index) for index in range(shape[0] if len(shape) == 3 else 1)]
    try:
        info = reader.inspect(path)
        mask = reader.mask(info)
    except NotYetError as error:
        raise TrainingError(error.message, "Train on files that nobody writes to any more.") from error
    return [_Place(path, info.dataset, index, info.simulated, mask) for index in range(info.available)]


def _paired(images: list[_Place], masks: list[_Place], what: str) -> list[_Place | None]:
    """A mask for every image, or None for each where no masks were given."""
    if not masks:
        return [None] * len(images)
    if len(masks) != len(images):
        stems = {place.path.stem for place in images}, {place.path.stem for place in masks}
        lacking = [place.name for place in images if place.path.stem not in stems[1]]
        surplus = [place.name for place in masks if place.path.stem not in stems[0]]
        told = "".join(
            f"; {problem}: {_some(names)}"
            for problem, names in (("without a mask of their name", lacking), ("without an image", surplus))
            if names and len(names) < max(len(images), len(masks))
        )
        raise TrainingError(
            f"Could not pair {len(images)} images with {len(masks)} {what}{told}.",
            "Give as many, in the same sorted order of names; name files one by one where a folder holds more.",
        )
    return list(masks)


def _image(place: _Place, reader: FrameReader) -> Image:
    pixels = as_counts(_pixels(place, reader))
    usable = np.isfinite(pixels) if pixels.dtype.kind == "f" else np.ones(pixels.shape, bool)
    if place.mask is not None:
        usable &= place.mask
    key = FrameKey(os.path.realpath(place.path), place.dataset, place.index)
    return Image(key, pixels, usable, place.simulated)


def _mask(place: _Place, image: Image, reader: FrameReader) -> NDArray[Any]:
    values = _pixels(place, reader)
    if values.shape != image.shape:
        raise TrainingError(
            f"Could not use the mask {place.path}: it has {values.shape[0]} x {values.shape[1]} pixels, its image "
            f"{image.name} has {image.shape[0]} x {image.shape[1]}.",
            "Images and masks are paired in the sorted order of their names.",
        )
    if values.dtype.kind == "f":
        if not np.array_equal(values, np.round(values)):
            raise TrainingError(
                f"Could not use the mask {place.path}: it holds fractions.", "A mask holds a whole number a class."
            )
        return values.astype(np.int64)
    return values.astype(np.uint8) if values.dtype == np.bool_ else values


def _pixels(place: _Place, reader: FrameReader) -> NDArray[Any]:
    """One image (height, width) in its file's dtype."""
    suffix = place.path.suffix.lower()
    if suffix in ARRAYS:
        array = _array(place.path)
        return np.array(array[place.index] if array.ndim == 3 else array)
    if suffix not in PICTURES:
        frame: NDArray[Any] = reader.read(place.path, place.dataset, place.index, place.index + 1)[0]
        return frame
    try:
        with (
            open(open_regular(place.path), "rb") as file,  # noqa: PTH123 - a descriptor has no path
            # PNG alone, whatever the file is: for other formats, such as EPS, Pillow runs other programs.
            Picture.open(file, formats=("PNG",)) as picture,
        ):
            values: NDArray[Any] = np.asarray(picture)
    except (OSError, SyntaxError, ValueError, Picture.DecompressionBombError) as error:
        raise SourceError(f"Reading {place.path}: {error}.", "It may be damaged, or no PNG.") from error
    if values.ndim != 2:
        raise TrainingError(
            f"Could not use {place.path}: it is a colour picture of {values.shape[-1]} channels.",
            "Save it with one channel: grey values, or a number a class.",
        )
    return values


def _array(path: Path) -> NDArray[Any]:
    try:
        os.close(open_regular(path))
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, MemoryError) as error:
        raise SourceError(f"Reading {path}: {error}.", "Give an array written by numpy.save.") from error
    if array.ndim not in (2, 3) or array.dtype.kind not in "biuf":
        raise TrainingError(
            f"Could not use {path}: it is an array of shape {array.shape} and type {array.dtype}.",
            "Expected numbers, (height, width) or (images, height, width).",
        )
    return array


def _some(names: Sequence[str]) -> str:
    more = len(names) - NAMED_AT_MOST
    return ", ".join(names[:NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")


def normalisation_from(images: Sequence[Image]) -> Normalisation:
    """Mean and deviation of all usable pixels of the images (Pelt & Sethian 2018).

    Raises TrainingError where they are all the same.
    """
    values = [image.pixels[image.usable].astype(np.float64) for image in images]
    count = sum(map(len, values))
    mean = sum(float(each.sum()) for each in values) / max(count, 1)
    variance = sum(float(((each - mean) ** 2).sum()) for each in values) / max(count, 1)
    if not variance > 0:
        raise TrainingError(
            f"Could not train on {len(images)} images: all of their pixels have the value {mean:g}.",
            "Check that the files are the images.",
        )
    return Normalisation(mean, math.sqrt(variance))


def normalised(image: Image, normalise: Normalisation) -> Tensor:
    """The network's input, (height, width) float32."""
    pixels = image.pixels if image.pixels.dtype.kind == "f" else image.pixels.astype(np.float32)
    return normalise(torch.from_numpy(pixels), torch.from_numpy(image.usable))
