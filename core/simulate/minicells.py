"""Minicells in a tomogram: two membranes whose outline changes slowly with z, and what sits on and in them.

All lengths are in pixels; one pixel is 1.2 nm. Needle complexes of the type III secretion system: a base of some 26 nm
spans both membranes, a needle stands out (Hu et al., PNAS 114, 2017).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from photon_triage.core.simulate.volume import Image

MEMBRANE_HALF = 4.0
"""Half the thickness of a membrane."""

REACH = 44
"""Half the side of the window that an object on a membrane is drawn in."""

BASE_RADIUS = 12.0
"""Half the extent in z of what sits on a membrane."""

_ANGLES = 2048
"""Directions that an outline is computed in."""

_BLOCK = 24.0
_SLOT = 50.0
_LABELLED_FROM = 0.5

_SHARES = (("particle", 0.3), ("blob", 0.3), ("filament", 0.15))

Kind = Literal["particle", "blob", "filament"]


@dataclass(frozen=True)
class Site:
    """An object on a membrane: where on the outline, at which z, and how it looks.

    tilt: of its axis against the membrane's normal, in radians. length: of what stands out.
    """

    kind: Kind
    angle: float
    z: float
    tilt: float
    length: float
    side: float

    def share(self, z: float) -> float:
        """How much of it a slice shows, 0 to 1: the chord of a cylinder that lies across the slices."""
        return math.sqrt(max(0.0, 1 - ((z - self.z) / BASE_RADIUS) ** 2))

    def is_object(self, z: float) -> bool:
        """Whether it is one of the objects to find, and shown well enough to be told."""
        return self.kind == "particle" and self.share(z) >= _LABELLED_FROM


class Minicell:
    """A cell as a tube of changing outline along z, so that a volume has no end.

    center: (y, x); radius: mean radius of the outer membrane; gap: mean distance between the membranes' middles.
    """

    def __init__(self, key: tuple[int, ...], center: tuple[float, float], radius: float, gap: float) -> None:
        rng = np.random.default_rng([*key, 0xCE11])
        self._key, self._center, self.radius, self.gap = key, center, radius, gap
        self._orders = np.arange(2, 6)
        self._amplitudes = rng.uniform(0.3, 1.0, 4) * np.array([0.12, 0.05, 0.03, 0.02])
        self._phases, self._turns = rng.uniform(0, 2 * math.pi, 4), rng.normal(0, 1 / 160, 4)
        self._breath = rng.uniform(0, 2 * math.pi, 4)
        self._slots = max(4, int(math.pi * radius / _SLOT) * 2)

    def center(self, z: float) -> tuple[float, float]:
        """(y, x) of the cell's middle in the slice at z."""
        y, x = self._center
        return y + 5 * math.sin(z / 110 + self._breath[0]), x + 5 * math.sin(z / 90 + self._breath[1])

    def depths(self, y: Image, x: Image, z: float) -> tuple[Image, Image]:
        """Distances of pixels outward from the outer and from the inner membrane's middle."""
        middle_y, middle_x = self.center(z)
        down, right = y - np.float32(middle_y), x - np.float32(middle_x)
        at = (np.arctan2(down, right) * np.float32(_ANGLES / (2 * math.pi))).astype(np.intp) % _ANGLES
        radius, slope, gap = self._outline(z)
        outer = (np.hypot(down, right) - radius[at]) / np.sqrt(1 + (slope / radius) ** 2)[at]
        return outer, outer + gap[at]

    def place(self, site: Site, z: float) -> tuple[float, float, float]:
        """Where a site is in the slice at z: y and x of the outer membrane, direction of its outward normal."""
        at = int(site.angle / (2 * math.pi) * _ANGLES) % _ANGLES
        radius, slope = (float(values[at]) for values in self._outline(z)[:2])
        cos, sin = math.cos(site.angle), math.sin(site.angle)
        y, x = self.center(z)
        normal = math.atan2(radius * sin - slope * cos, radius * cos + slope * sin)
        return y + radius * sin, x + radius * cos, normal

    def sites(self, z: float) -> Iterator[Site]:
        """What sits on the membranes and reaches into the slice at z."""
        first, last = (max(-1, math.floor((z + reach) / _BLOCK)) for reach in (-BASE_RADIUS, BASE_RADIUS))
        for block in range(first, last + 1):
            yield from (site for site in self._drawn(block) if site.share(z) > 0)

    def blobs(self, z: float) -> list[tuple[float, float, float]]:
        """(y, x, radius in the slice at z) of the ribosomes in the cytoplasm."""
        found = []
        for block in range(max(-1, math.floor((z - 9) / 18)), math.floor((z + 9) / 18) + 1):
            for y, x, height, size in self._ribosomes(block):
                inside = size**2 - (z - height) ** 2
                if inside > 0:
                    found.append((float(y), float(x), math.sqrt(inside)))
        return found

    @lru_cache(maxsize=2)  # noqa: B019 - a cell lives as long as its run
    def _outline(self, z: float) -> tuple[Image, Image, Image]:
        """By angle, (_ANGLES,) each: radius of the outer membrane, its derivative, distance of the inner membrane."""
        angle = np.arange(_ANGLES) * (2 * math.pi / _ANGLES)
        waves = self._orders[:, None] * angle + (self._phases + self._turns * z)[:, None]
        mean = self.radius * (1 + 0.07 * math.sin(z / 75 + self._breath[2]))
        radius = mean * (1 + self._amplitudes @ np.cos(waves))
        slope = -mean * (self._amplitudes * self._orders) @ np.sin(waves)
        gap = self.gap * (1 + 0.12 * np.cos(2 * angle + self._breath[3]))
        return radius.astype(np.float32), slope.astype(np.float32), gap.astype(np.float32)

    @lru_cache(maxsize=8)  # noqa: B019 - a cell lives as long as its run
    def _drawn(self, block: int) -> tuple[Site, ...]:
        """The sites of one stretch of z. Neighbouring stretches use every other slot, so that objects keep apart."""
        rng = np.random.default_rng([*self._key, 1, block + 1])
        sites = []
        for slot in range(block % 2, self._slots, 2):
            draw, offset, height, tilt, length, side = rng.random(6)
            for kind, share in _SHARES:
                if draw < share:
                    angle = 2 * math.pi * (slot + 0.5 + 0.5 * (offset - 0.5)) / self._slots
                    z = (block + height) * _BLOCK
                    sites.append(Site(kind, angle, z, 0.3 * (tilt - 0.5), 16 + 18 * length, side))  # type: ignore[arg-type]
                    break
                draw -= share
        return tuple(sites)

    @lru_cache(maxsize=8)  # noqa: B019 - a cell lives as long as its run
    def _ribosomes(self, block: int) -> NDArray[np.float64]:
        """y, x, z and radius of one stretch's ribosomes, (n, 4); they keep a little off the inner membrane."""
        rng = np.random.default_rng([*self._key, 2, block + 1])
        count = rng.poisson(14 * (self.radius / 110) ** 2)
        at, place = rng.integers(0, _ANGLES, count), np.sqrt(rng.random(count))
        middle = (block + 0.5) * 18
        radius, _, gap = self._outline(middle)
        away, angle = place * np.maximum(radius - gap - 18, 0)[at], at * (2 * math.pi / _ANGLES)
        y, x = self.center(middle)
        height, size = (block + rng.random(count)) * 18, rng.uniform(6.5, 9, count)
        return np.stack([y + away * np.sin(angle), x + away * np.cos(angle), height, size], axis=1)


def membrane(depth: Image) -> Image:
    """Density across a membrane: two leaflets."""
    return np.asarray(np.exp(-((np.abs(depth) - 2.2) ** 2) / 2.4), np.float32)


def density(site: Site, across: Image, outward: Image, gap: float, share: float) -> Image:
    """Density of a site's object in its own frame: pixels along the membrane and outward from the outer one."""
    cos, sin = math.cos(site.tilt), math.sin(site.tilt)
    u, v = cos * across + sin * outward, cos * outward - sin * across
    if site.kind == "particle":
        return _needle_complex(u, v, gap, site.length, share)
    if site.kind == "blob":
        middle = 9.0 if site.side < 0.4 else (-gap / 2 if site.side < 0.7 else -gap - 9)
        size = 5 + 0.15 * site.length
        return np.asarray(1.7 * share * _ellipse(u, v - np.float32(middle), 1.3 * size, size))
    bent = u - 0.004 * (site.side - 0.5) * v**2
    return np.asarray(1.7 * share * _box(bent, 0, 2.2) * _box(v, site.length * 0.6 + 2, site.length * 0.6))


def _needle_complex(u: Image, v: Image, gap: float, length: float, share: float) -> Image:
    width = share
    rings = _box(u, 0, 9 * width) * _box(v, 0, 4) + _box(u, 0, 12 * width) * _box(v, -gap, 4)
    neck = (_box(u, -4.5 * width, 2) + _box(u, 4.5 * width, 2)) * _box(v, -gap / 2, gap / 2)
    pods = (_box(u, -8 * width, 2.5) + _box(u, 8 * width, 2.5) + _box(u, 0, 2.5)) * _box(v, -gap - 11, 3)
    # The needle is thinner than the base: slices off its axis miss it.
    needle = _box(u, 0, 2.8) * _box(v, length / 2 + 3, length / 2) * float(np.clip(3 * share - 1.9, 0, 1))
    return np.asarray(1.7 * (rings + neck + pods + needle) * float(np.clip(2 * share - 0.4, 0, 1)), np.float32)


def _box(along: NDArray[np.floating[Any]], middle: float, half: float) -> Image:
    """1 within `half` of `middle`, 0 beyond, with an edge of one pixel."""
    return np.asarray(np.clip(half + 0.5 - np.abs(along - middle), 0, 1), np.float32)


def _ellipse(u: Image, v: Image, half_u: float, half_v: float) -> Image:
    """1 inside an ellipse, 0 outside, with an edge of about a pixel."""
    inside = 1 - np.hypot(u / half_u, v / half_v)
    return np.asarray(np.clip(inside * min(half_u, half_v) + 0.5, 0, 1), np.float32)
