"""Examples to train on: labelled frames that reach the network, and where the pattern lies on them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from photon_triage.core.common.errors import TrainingError
from photon_triage.core.frames import Box, FrameKey, Geometry, as_counts
from photon_triage.core.prepare import Preparation
from photon_triage.core.radial import radius_at
from photon_triage.core.recipe import Recipe
from photon_triage.core.session.decisions.labels import Label
from photon_triage.core.session.session import Session
from photon_triage.core.session.store.frames import FramePixels, read_pixels
from photon_triage.core.sources import FrameReader

FOURTH_MINIMUM = 14.0662
"""Where x of the sphere's form factor, q d/2, has its fourth zero: tan x = x."""

TYPICAL_DIAMETER_NM = 70.0
FRAMES_AT_ONCE = 64


@dataclass(frozen=True)
class Examples:
    """Labelled frames in memory.

    counts: (n, rows, columns), the preparation's region, int16 where whole counts fit, else float32. positive: (n,)
    bool. categories: (n,) the classes that were given, "" where none was. boxes: (n, 4) float32, where the pattern of
    one particle lies: centre x, centre y, width, height as parts of the network's input. runs: (n,) names.
    unreachable: labelled frames that earlier stages keep from the network. unreadable: labelled frames whose file
    cannot be read any more. centers: (n, 2) float32, x and y of the beam in pixels of the region, NaN where unknown.
    """

    keys: tuple[FrameKey, ...]
    counts: NDArray[Any]
    positive: NDArray[np.bool_]
    categories: NDArray[np.str_]
    boxes: NDArray[np.float32]
    runs: NDArray[np.str_]
    unreachable: int
    unreadable: int
    centers: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.keys)

    def take(self, where: NDArray[np.bool_]) -> Examples:
        """Those where `where` ((n,) bool) is true."""
        keys = tuple(key for key, wanted in zip(self.keys, where.tolist(), strict=True) if wanted)
        return Examples(
            keys, self.counts[where], self.positive[where], self.categories[where], self.boxes[where],
            self.runs[where], self.unreachable, self.unreadable, None if self.centers is None else self.centers[where],
        )  # fmt: skip


def joined(parts: Sequence[Examples]) -> Examples:
    """All examples of parts whose regions are alike; there is at least one part."""
    centers = [np.full((len(part), 2), np.nan, np.float32) if part.centers is None else part.centers for part in parts]
    return Examples(
        tuple(key for part in parts for key in part.keys),
        np.concatenate([part.counts for part in parts]),
        np.concatenate([part.positive for part in parts]),
        np.concatenate([part.categories for part in parts]),
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.runs for part in parts]),
        sum(part.unreachable for part in parts),
        sum(part.unreadable for part in parts),
        np.concatenate(centers),
    )


def gather(session: Session, preparation: Preparation, labels: Iterable[Label] | None = None) -> Examples:
    """Read the labelled frames of a session that its network sees; skipped frames are left out.

    labels: those of the session's journals when None. Raises TrainingError when there are none.
    """
    recipe = session.recipe()
    chosen = [
        label
        for label in (session.labels().labels.values() if labels is None else labels)
        if label.verdict != "skipped"
    ]
    reader = session.results()
    try:
        rows = reader.frames().rows(label.key for label in chosen)
        files = {file.path: file for file in reader.files()}
    finally:
        reader.close()
    reached = recipe.stages_before_network
    seen = {label.key: label for label in chosen if label.key in rows and rows[label.key].passed >= reached}
    unreachable = len(chosen) - len(seen)
    if not seen:
        raise TrainingError(
            f"Could not train on {session.path}: of its {len(chosen)} labels none is of a frame that the network sees.",
            "Accept and reject candidates on a screen first, or import labels with `photon-triage labels import`.",
        )
    parts, keys, boxes, runs, centers = [], list[FrameKey](), [], [], []
    with FrameReader(roots=recipe.source.roots) as frames:
        for part in read_pixels(frames, sorted(seen), at_once=FRAMES_AT_ONCE, failed=lambda keys, error: None):
            file = files[part.keys[0].file]
            for key in part.keys:
                diameter = rows[key].measures.get("diameter_nm")
                box = pattern_box(file.geometry, diameter, recipe, (file.height, file.width))
                keys.append(key)
                boxes.append(preparation.from_frame(box, (file.height, file.width)))
                runs.append(file.run)
                centers.append(beam_in_region(file.geometry, recipe))
            parts.append(_region(part, preparation))
    unreadable, chosen_labels = len(seen) - len(keys), [seen[key] for key in keys]
    if not parts:
        raise TrainingError(
            f"Could not train on {session.path}: none of the {unreadable} labelled frames can be read any more.",
            "Mount the data where it was when the session saw it.",
        )
    return Examples(
        tuple(keys), np.concatenate(parts), np.array([label.verdict == "accepted" for label in chosen_labels]),
        np.array([label.category for label in chosen_labels]), np.array(boxes, np.float32), np.array(runs),
        unreachable, unreadable, np.array(centers, np.float32),
    )  # fmt: skip


def beam_in_region(geometry: Geometry, recipe: Recipe) -> tuple[float, float]:
    """Where the beam hits, x and y in pixels of the region of interest, which it may lie beside; NaN where unknown."""
    roi, x, y = recipe.prepare.roi, geometry.beam_center_x, geometry.beam_center_y
    if x is None or y is None:
        return math.nan, math.nan
    return (x - roi.left, y - roi.top) if roi else (x, y)


def pattern_box(geometry: Geometry, diameter_nm: float | None, recipe: Recipe, shape: tuple[int, int]) -> Box:
    """Where the pattern of a single particle lies: out to the fourth minimum of its size's sphere, within the region.

    Without a known geometry it is the whole region of interest.
    """
    roi = recipe.prepare.roi
    top, left = (roi.top, roi.left) if roi else (0, 0)
    height, width = (roi.height, roi.width) if roi else shape
    radius = radius_at(geometry, FOURTH_MINIMUM * 2 / (diameter_nm or TYPICAL_DIAMETER_NM))
    x, y = geometry.beam_center_x, geometry.beam_center_y
    if radius is None or x is None or y is None:
        return Box(left, top, width, height)
    x0, x1 = max(x - radius, left), min(x + radius, left + width)
    y0, y1 = max(y - radius, top), min(y + radius, top + height)
    if x1 - x0 < 1 or y1 - y0 < 1:
        return Box(left, top, width, height)
    return Box(x0, y0, x1 - x0, y1 - y0)


def _region(part: FramePixels, preparation: Preparation) -> NDArray[Any]:
    """The preparation's region of some frames of a file."""
    mask = None if part.valid is None else torch.from_numpy(part.valid)
    counts = preparation.region(torch.from_numpy(as_counts(part.pixels, part.valid)), mask).numpy()
    whole = part.pixels.dtype.kind in "iu" and preparation.dark is None and counts.max() <= np.iinfo(np.int16).max
    return counts.astype(np.int16) if whole else counts
