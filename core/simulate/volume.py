"""What simulated volumes share: random fields that change smoothly from slice to slice, and the truth of a slice."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]

_KEPT_PLANES = 3


@dataclass(frozen=True)
class SliceTruth:
    """What a slice shows.

    classes: (height, width) uint8, each pixel's place among `names`. points: (x, y) in pixels of the objects to find.
    """

    classes: NDArray[np.uint8]
    names: tuple[str, ...]
    points: tuple[tuple[int, int], ...] = ()


def frequencies(size: int) -> tuple[Image, Image]:
    """Spatial frequencies in cycles a pixel of a real FFT: down the rows (size, 1), along them (1, size // 2 + 1)."""
    rows, columns = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :]
    return rows.astype(np.float32), columns.astype(np.float32)


def gaussian_transfer(size: int, sigma: float) -> Image:
    """The transfer function of a Gaussian blur of that width in pixels: (size, size // 2 + 1)."""
    rows, columns = frequencies(size)
    return np.asarray(np.exp(-2 * (math.pi * sigma) ** 2 * (rows**2 + columns**2)), np.float32)


def filtered(*parts: tuple[Image, Image]) -> Image:
    """The sum of images (size, size), each after its transfer function (size, size // 2 + 1); borders wrap round."""
    spectrum = sum(np.fft.rfft2(image) * transfer for image, transfer in parts)
    return np.asarray(np.fft.irfft2(spectrum, s=parts[0][0].shape), np.float32)


class SmoothNoise:
    """A Gaussian random field of mean 0 and variance 1 in three dimensions, endless in z.

    key: what seeds it. length: correlation length within a slice in pixels. depth: distance in z between the planes
    that are drawn independently; between two of them the field is a cos, sin mixture, so that its variance stays 1.
    """

    def __init__(self, key: tuple[int, ...], size: int, length: float, depth: float) -> None:
        self._key, self._size, self._depth = key, size, depth
        self._transfer = gaussian_transfer(size, length)
        self._planes: OrderedDict[int, Image] = OrderedDict()

    def at(self, z: float) -> Image:
        """The slice at z >= 0: (size, size)."""
        place = z / self._depth
        below = math.floor(place)
        angle = (place - below) * math.pi / 2
        lower, upper = self._plane(below), self._plane(below + 1)
        return np.float32(math.cos(angle)) * lower + np.float32(math.sin(angle)) * upper

    def _plane(self, number: int) -> Image:
        plane = self._planes.pop(number, None)
        if plane is None:
            rng = np.random.default_rng([*self._key, number])
            plane = filtered((rng.standard_normal((self._size, self._size), np.float32), self._transfer))
            plane = (plane - plane.mean()) / plane.std()
        self._planes[number] = plane
        while len(self._planes) > _KEPT_PLANES:
            self._planes.popitem(last=False)
        return plane
