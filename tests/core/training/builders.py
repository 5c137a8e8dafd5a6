"""Images with bright discs and faint rings, as files; and the sessions to train in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image as Picture

from photon_triage.core.frames import FrameKey
from photon_triage.core.recipe import recipe_text
from photon_triage.core.session.session import Session
from photon_triage.core.training.data.images import Image

SIDE = 96
RADIUS = 6

FINDING_RECIPE = """name = "discs"
[[stages]]
kind = "patches"
model = "none-yet"
min_distance = 12
"""


@dataclass(frozen=True, eq=False)
class Scene:
    """A simulated image (96, 96) uint8, where its discs are, (96, 96) bool, and their centres (x, y)."""

    pixels: NDArray[np.uint8]
    discs: NDArray[np.bool_]
    centres: tuple[tuple[int, int], ...]

    def image(self, name: str = "scene.tif") -> Image:
        return Image(FrameKey(f"/data/{name}", "", 0), self.pixels, np.ones(self.pixels.shape, bool))


def scene(seed: int, discs: int = 3, rings: int = 3) -> Scene:
    """Bright discs, and rings as bright, on noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE]
    cells = rng.permutation(9)[: discs + rings]
    pixels, found, centres = rng.normal(100, 8, (SIDE, SIDE)), np.zeros((SIDE, SIDE), bool), []
    for number, cell in enumerate(cells.tolist()):
        row, column = (16 + 32 * part + int(rng.integers(-6, 7)) for part in divmod(cell, 3))
        away = np.hypot(y - row, x - column)
        if number < discs:
            found |= away < RADIUS
            pixels[away < RADIUS] += 60
            centres.append((column, row))
        else:
            pixels[(away > RADIUS - 2) & (away < RADIUS + 2)] += 60
    return Scene(pixels.clip(0, 255).astype(np.uint8), found, tuple(centres))


def write_scenes(folder: Path, count: int, first: int = 0) -> list[Scene]:
    """Scenes as folder/images/00.tif and folder/masks/00.png (0 and 255), and so on."""
    scenes = [scene(first + number) for number in range(count)]
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for number, each in enumerate(scenes):
        tifffile.imwrite(folder / "images" / f"{number:02}.tif", each.pixels)
        write_mask(folder / "masks" / f"{number:02}.png", each.discs * np.uint8(255))
    return scenes


def write_mask(path: Path, mask: NDArray[Any]) -> None:
    Picture.fromarray(mask).save(path)


def new_session(folder: Path, recipe: str = FINDING_RECIPE) -> Session:
    text = recipe if "\n" in recipe else recipe_text(recipe)
    return Session.create(folder, text, "recipe")
