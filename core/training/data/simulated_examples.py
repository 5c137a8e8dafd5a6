"""Simulated frames to learn from, as the session's detector would have measured them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from photon_triage.core.common.atomic import atomic_file
from photon_triage.core.common.errors import TrainingError
from photon_triage.core.frames import Batch, FrameKey, Geometry
from photon_triage.core.prepare import Preparation
from photon_triage.core.radial import q_map
from photon_triage.core.recipe import LitPixelsStage, Recipe, SizeStage, SpotsStage
from photon_triage.core.session.session import Session
from photon_triage.core.simulate.spi import BEAM_X, BEAM_Y, HEIGHT, NOMINAL, WIDTH, FocusTruth, SpiRun
from photon_triage.core.stages.cascade import Stage, run_cascade
from photon_triage.core.stages.size import Size
from photon_triage.core.stages.spots import LitPixels, Spots
from photon_triage.core.training.data.examples import Examples, beam_in_region, pattern_box
from photon_triage.core.training.loop.runs import TrainingRun

FRAMES = 2000
FRAMES_A_RUN, FRAMES_AT_ONCE = 200, 32
SINGLES = 0.25
"""Share of single particles among the hits: many, so that few frames teach what they look like. None is blank."""

SEED_OFFSET = 0x7472_6169_6E << 16
"""Added to the seed, so that no beamtime that was simulated with a small one has the same frames."""

NEAR_PIXELS = 10.0
CACHE = "simulated.npz"
PLACE = "simulated:"
"""How the files of such frames begin, which are not on disk."""


def simulated_examples(session: Session, preparation: Preparation, run: TrainingRun, count: int, seed: int) -> Examples:
    """So many simulated frames, those of them that the recipe's stages before the network pass, with their truth.

    They are kept in the training's folder while it lasts. Raises TrainingError where the session's detector is not the
    one that can be simulated, or where too few frames pass.
    """
    recipe = session.recipe()
    geometry = _geometry(session, recipe)
    path = run.folder / CACHE
    arrays = _cached(path) if run.goes_on else None
    if arrays is None:
        arrays = _simulate(recipe, preparation, geometry, count, seed)
        with atomic_file(path) as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)
    positive = arrays["categories"] == "single"
    if not positive.any() or positive.all():
        raise TrainingError(
            f"Could not learn from {count} simulated frames: {int(positive.sum())} of the {len(positive)} that pass "
            "the recipe's stages are single particles.",
            "Simulate more with --simulated.",
        )
    keys = tuple(
        FrameKey(f"{PLACE}{seed}/run_{run_number:04d}", "", index) for run_number, index in arrays["places"].tolist()
    )
    names = np.array([Path(key.file).name for key in keys])
    centers = np.tile(np.array(beam_in_region(geometry, recipe), np.float32), (len(keys), 1))
    return Examples(keys, arrays["counts"], positive, arrays["categories"], arrays["boxes"], names, 0, 0, centers)


def _geometry(session: Session, recipe: Recipe) -> Geometry:
    """Where the session's experiment stood; raises TrainingError where it cannot be simulated."""
    geometry, shape = recipe.geometry.geometry(), (HEIGHT, WIDTH)
    if session.results_path.exists():
        with closing(session.results()) as reader:
            if file := next(iter(reader.files()), None):
                geometry, shape = file.geometry.over(geometry), (file.height, file.width)
    x, y = geometry.beam_center_x, geometry.beam_center_y
    beside = x is None or y is None or max(abs(x - BEAM_X), abs(y - BEAM_Y)) > NEAR_PIXELS
    if shape != (HEIGHT, WIDTH) or q_map(geometry, 1.0) is None or beside:
        raise TrainingError(
            f"Could not simulate frames for {session.path}: its frames have {shape[0]} x {shape[1]} pixels, the beam "
            f"centre ({x}, {y}) and the photon energy {geometry.photon_energy_ev} eV.",
            f"What can be simulated is a half plane of {HEIGHT} x {WIDTH} pixels with the beam within {NEAR_PIXELS:g} "
            f"pixels of ({BEAM_X:g}, {BEAM_Y:g}); leave `simulated` out of --from.",
        )
    return geometry.over(NOMINAL)


def _simulate(
    recipe: Recipe, preparation: Preparation, geometry: Geometry, count: int, seed: int
) -> dict[str, NDArray[Any]]:
    """counts, categories, boxes and places (run, index) of the frames that pass."""
    stages = _stages_before_network(recipe)
    found: dict[str, list[Any]] = {"counts": [], "categories": [], "boxes": [], "places": []}
    for number, first, frames, truths, bad in _batches(geometry, count, seed):
        batch = Batch(
            tuple(FrameKey(PLACE, "", first + place) for place in range(len(frames))),
            torch.from_numpy(frames),
            torch.from_numpy(~bad),
            geometry,
        )
        outcomes = run_cascade(stages, batch)
        passed = [place for place, outcome in enumerate(outcomes) if outcome.passed == len(stages)]
        if not passed:
            continue
        found["counts"].append(preparation.region(batch.frames[passed], batch.valid).numpy().astype(np.int16))
        for place in passed:
            box = pattern_box(geometry, outcomes[place].measures.get("diameter_nm"), recipe, batch.shape)
            found["boxes"].append(preparation.from_frame(box, batch.shape))
            found["categories"].append(truths[place].category)
            found["places"].append((number, first + place))
    if not found["counts"]:
        raise TrainingError(
            f"Could not learn from {count} simulated frames: none passes the recipe's stages before the network.",
            "Simulate more with --simulated.",
        )
    return {
        "counts": np.concatenate(found["counts"]),
        "categories": np.array(found["categories"]),
        "boxes": np.array(found["boxes"], np.float32),
        "places": np.array(found["places"], np.int64),
    }


def _batches(
    geometry: Geometry, count: int, seed: int
) -> Iterator[tuple[int, int, NDArray[np.int16], list[FocusTruth], NDArray[np.bool_]]]:
    """Run, first index, frames, truths and bad pixels of batches, each of one run; runs differ by their drift."""
    for number in range(1, -(-count // FRAMES_A_RUN) + 1):
        run = SpiRun(SEED_OFFSET + seed, number, blanks=0.0, singles=SINGLES, geometry=geometry)
        indices = range(min(FRAMES_A_RUN, count - (number - 1) * FRAMES_A_RUN))
        for first in indices[::FRAMES_AT_ONCE]:
            drawn = [run.frame(index) for index in indices[first : first + FRAMES_AT_ONCE]]
            yield number, first, np.stack([frame for frame, _ in drawn]), [truth for _, truth in drawn], run.bad != 0


def _stages_before_network(recipe: Recipe) -> list[Stage]:
    roi = recipe.prepare.roi
    stages: list[Stage] = []
    for table in recipe.stages[: recipe.stages_before_network]:
        match table:
            case LitPixelsStage():
                stages.append(LitPixels(table, roi))
            case SpotsStage():
                stages.append(Spots(table))
            case SizeStage():
                stages.append(Size(table, roi))
    return stages


def _cached(path: Path) -> dict[str, NDArray[Any]] | None:
    try:
        with np.load(path, allow_pickle=False) as kept:
            return {name: kept[name] for name in ("counts", "categories", "boxes", "places")}
    except (OSError, ValueError, KeyError):
        return None
